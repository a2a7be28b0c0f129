// The values of the enums of the API, from the OpenAPI document.

import type { Schemas } from './client.ts';
import * as values from './generated/values.ts';

export type EventType = Schemas['EventType'];

export const strategies = values.Strategy;
export const invalidations = values.Invalidation;
export const versionPolicies = values.VersionPolicy;
export const similarityPolicies = values.SimilarityPolicy;
export const linkPolicies = values.LinkPolicy;
export const recoveries = values.Recovery;
export const addressings = values.Addressing;
export const loadStates = values.LoadState;
export const outcomes = values.LoadOutcome;
export const deviceStatuses = values.DeviceStatus;
export const hostStatuses = values.HostStatus;
export const rolloutStates = values.RolloutState;
export const rolloutDeviceStates = values.RolloutDeviceState;
export const unreachableChoices = values.UnreachableChoice;
export const failureReactions = values.OnFailure;
export const assignmentModes = values.AssignmentMode;
export const eventTypes = values.EventType;
export const auditOutcomes = values.AuditOutcome;
export const roles = values.Role;
export const webhookFormats = values.WebhookFormat;
export const sourceLanguages = values.SourceLanguage;
export const buildLanguages = values.BuildLanguage;

const [sunday, ...otherDays] = values.Weekday;
/** From Monday to Sunday. */
export const weekdays = [...otherDays, sunday] as const;

/** The category of each outcome of a load. */
export const outcomeCategories = {
  installed: 'succeeded',
  replaced: 'succeeded',
  'replaced-interrupting': 'succeeded',
  unloaded: 'succeeded',
  'unloaded-interrupting': 'succeeded',
  'refused-not-newer': 'refused',
  'refused-dissimilar': 'refused',
  'refused-unresolved': 'refused',
  'refused-image': 'refused',
  'refused-not-loaded': 'refused',
  'refused-imported': 'refused',
  failed: 'failed',
  expired: 'failed',
  cancelled: 'failed',
  superseded: 'failed',
} as const satisfies Record<Schemas['LoadOutcome'], 'succeeded' | 'refused' | 'failed'>;

/** Whether each forecast means that the device would refuse the load or unload, or could not perform it. */
export const forecastRefuses = {
  'would-install': false,
  'would-replace': false,
  'already-installed': false,
  'refused-not-newer': true,
  'refused-dissimilar': true,
  'refused-unresolved': true,
  'refused-image': true,
  'out-of-memory': true,
  'unsupported-by-host': true,
  'would-unload': false,
  'refused-not-loaded': true,
  'refused-imported': true,
} as const satisfies Record<Schemas['LoadForecast'] | Schemas['UnloadForecast'], boolean>;
