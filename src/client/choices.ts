// The values that options may have, held against the generated types: one that is missing or unknown there does not compile.

import type { Schemas } from './client.ts';
import type { paths } from './generated/api.ts';

type EveryValue<Value, Given extends readonly Value[]> = [Exclude<Value, Given[number]>] extends [never] ? Given : never;

/** All values of a type, each named. */
const every =
  <Value extends string>() =>
  <const Given extends readonly Value[]>(...values: EveryValue<Value, Given>): Given =>
    values;

type Query<Path extends keyof paths> = paths[Path] extends { get: { parameters: { query?: infer Found } } } ? NonNullable<Found> : never;
export type EventType = NonNullable<Query<'/v1/events'>['types']>[number];

export const strategies = every<Schemas['Load']['strategy']>()('inject', 'drain', 'drain-then-inject');
export const invalidations = every<Schemas['Load']['invalidation']>()('none', 'mark-invalid', 'nx', 'delete');
export const versionPolicies = every<Schemas['Load']['versionPolicy']>()('newer', 'different', 'downgrade');
export const similarityPolicies = every<Schemas['Load']['similarityPolicy']>()('require', 'warn', 'off');
export const recoveries = every<Schemas['Program']['recovery']>()('module', 'percolate');
export const addressings = every<Schemas['Program']['addressing']>()('via-table', 'hard-coded');
export const loadStates = every<Schemas['Load']['state']>()('queued', 'dispatched', 'completed');
export const deviceStatuses = every<Schemas['Device']['status']>()('connected', 'attaching', 'unreachable');
export const rolloutStates = every<Schemas['RolloutState']>()(
  'pending',
  'running',
  'awaiting-approval',
  'paused',
  'rolling-back',
  'completed',
  'aborted',
  'rolled-back',
);
export const rolloutDeviceStates = every<Schemas['RolloutDeviceState']>()('waiting', 'loading', 'loaded', 'failed', 'skipped');
export const failureReactions = every<Schemas['OnFailure']>()('pause', 'rollback', 'continue');
export const weekdays = every<Schemas['Weekday']>()('monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday');
export const eventTypes = every<EventType>()(
  'load',
  'rollout',
  'device',
  'host',
  'program',
  'build',
  'key',
  'signing-key',
  'publisher-key',
  'signature-policy',
  'audit',
);
export const auditOutcomes = every<Schemas['AuditOutcome']>()('succeeded', 'refused', 'failed');
export const roles = every<Schemas['Role']>()('viewer', 'operator', 'publisher', 'admin', 'agent');

/** What each outcome of a load means for who asked for it. */
export const outcomeMeanings = {
  installed: 'loaded',
  replaced: 'loaded',
  'replaced-interrupting': 'loaded',
  'refused-not-newer': 'refused',
  'refused-dissimilar': 'refused',
  'refused-image': 'refused',
  failed: 'failed',
  expired: 'failed',
  cancelled: 'failed',
  superseded: 'failed',
} as const satisfies Record<Schemas['LoadOutcome'], 'loaded' | 'refused' | 'failed'>;
export const outcomes = every<Schemas['LoadOutcome']>()(
  'installed',
  'replaced',
  'replaced-interrupting',
  'refused-not-newer',
  'refused-dissimilar',
  'refused-image',
  'failed',
  'expired',
  'cancelled',
  'superseded',
);

/** Whether what is foreseen of a load is that its device refuses it, or cannot carry it out. */
export const verdictRefuses = {
  'would-install': false,
  'would-replace': false,
  'already-there': false,
  'refused-not-newer': true,
  'refused-dissimilar': true,
  'refused-image': true,
  'out-of-memory': true,
} as const satisfies Record<Schemas['ForecastVerdict'], boolean>;
