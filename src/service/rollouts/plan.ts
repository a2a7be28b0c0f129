// The plan of a rollout: waves, thresholds, rate, schedule, and the reaction to a failed wave.

import { z } from 'zod';
import { ceilingOf, divideFractions, fractionOf, multiplyFractions } from '../../protocol/fraction.ts';
import { DisplayName } from '../../protocol/identifiers.ts';
import { Traceparent } from '../../protocol/traceparent.ts';
import { ScheduleWindow } from '../groups/schedule-window.ts';
import { LoadTerms } from '../loads/batches.ts';
import { noUnreachableTargets, UnreachableTargets } from '../loads/unreachable-targets.ts';

export const rolloutLimits = {
  waves: 50,
  /** Devices selected by labels or versions. A request names at most 10,000. */
  devices: 50_000,
  /** Rollouts that have not ended, in the whole installation. */
  open: 100,
  devicesInFlight: 10_000,
  loadsPerMinute: 1_000_000,
  soakSeconds: 7 * 24 * 3_600,
  /** Attempts to load the build, per device. */
  attempts: 100,
} as const;

const percent = z.number().min(0).max(100);
const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

const thresholdShape = {
  failedLoadsPercent: percent.nullable().describe('Maximum percentage of devices of the wave whose loads end without success.'),
  interruptedAccesses: z
    .number()
    .min(0)
    .nullable()
    .describe('Maximum number of interrupted accesses inside the old version, averaged over the devices that have the new version.'),
  failedCallsPercent: percent
    .nullable()
    .describe(
      'Maximum increase of the share of failed calls over the previous version, in percentage points. Evaluated from `minimumCalls` calls.',
    ),
  abiViolations: count
    .nullable()
    .describe('Maximum number of ABI violations on all devices of the wave: programs that call removed code at a stale address.'),
  latencyIncreasePercent: z
    .number()
    .min(0)
    .nullable()
    .describe(
      'Maximum increase of the 99th percentile of call latency over the previous version, in percent. Evaluated from `minimumCalls` calls of each version.',
    ),
  minimumCalls: count.describe('Number of calls from which calls and latency are evaluated.'),
  requireCalls: z.boolean().describe('Whether a wave fails if fewer than `minimumCalls` calls were made by the end of its soak time.'),
};

export const defaultThresholds = {
  failedLoadsPercent: 0,
  interruptedAccesses: null,
  failedCallsPercent: 1,
  abiViolations: 0,
  latencyIncreasePercent: null,
  minimumCalls: 20,
  requireCalls: false,
} as const;

const exampleThresholds = { failedLoadsPercent: 5, latencyIncreasePercent: 50 };

export const Thresholds = z.object(thresholdShape).meta({
  id: 'Thresholds',
  description: 'Limits that fail a wave when exceeded. Null: the limit is not evaluated.',
  examples: [{ ...defaultThresholds, ...exampleThresholds }],
});
export type Thresholds = z.infer<typeof Thresholds>;

/** Thresholds in a request. An omitted threshold has its default, or in a wave the rollout's value. */
export const NewThresholds = z
  .strictObject(thresholdShape)
  .partial()
  .meta({
    id: 'NewThresholds',
    description: `Limits that fail a wave when exceeded. Null: the limit is not evaluated. Defaults: ${Object.entries(defaultThresholds)
      .map(([name, value]) => `\`${name}\` ${value}`)
      .join(', ')}.`,
    examples: [exampleThresholds],
  });

export const OnFailure = z
  .enum(['pause', 'rollback', 'continue'])
  .describe(
    'What happens if a wave fails. `pause`: request no more loads until an operator decides. `rollback`: create a rollout that restores the previous version of each device that has the build. `continue`: report the failure and continue.',
  )
  .meta({ id: 'OnFailure' });
export type OnFailure = z.infer<typeof OnFailure>;

/** The reaction when another open rollout of the module has some of the devices. */
export const OnConflict = z.enum(['reject', 'queue']);

/** Selects devices by name, or those that match labels, a label selector and a group, or all; `runningVersion` restricts them further. */
export const RolloutSelector = z.object({
  /** Number of named devices; their identifiers are stored as the rollout's devices. */
  devices: z.int().nullable(),
  labels: z.record(z.string(), z.string()).nullable(),
  /** A label selector. Plans that older versions of the service have stored have none. */
  selector: z.string().nullable().default(null),
  /** A group, with its selector at the request: a later change of the group does not change the rollout. */
  group: z.object({ id: z.string(), name: z.string(), selector: z.string() }).nullable().default(null),
  /** A range of semantic versions. */
  runningVersion: z.string().nullable(),
});
export type RolloutSelector = z.infer<typeof RolloutSelector>;

export const WavePlan = z.object({
  /** Additional devices, or a cumulative percentage of all devices. */
  size: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('devices'), devices: z.int().min(1) }),
    z.object({ kind: z.literal('up-to-percent'), percent }),
  ]),
  soakSeconds: z.number().min(0),
  approval: z.boolean(),
  thresholds: Thresholds,
});
export type WavePlan = z.infer<typeof WavePlan>;

export const RolloutPlan = z.object({
  name: DisplayName.nullable(),
  selector: RolloutSelector,
  waves: z.array(WavePlan).min(1).max(rolloutLimits.waves),
  terms: LoadTerms,
  devicesInFlight: z.int().min(1),
  loadsPerMinute: z.int().min(1).nullable(),
  onFailure: OnFailure,
  rollbackDeadlineSeconds: z.int(),
  startAt: z.iso.datetime().nullable(),
  window: ScheduleWindow.nullable(),
  /** The selected devices that were unreachable at the request. Plans that older versions of the service have stored have none. */
  unreachable: UnreachableTargets.default(noUnreachableTargets),
  onConflict: OnConflict,
  /** The span of the request, if it was traced: the traces of the loads link to it. */
  traceparent: Traceparent.optional(),
});
export type RolloutPlan = z.infer<typeof RolloutPlan>;

/**
 * Returns the wave number (from 1) of each device, in loading order. A wave sized in devices takes that many additional devices. A wave sized in
 * percent fills the rollout up to that percentage, rounded up; it is empty if earlier waves reach that. The last wave takes all remaining devices.
 */
export function assignWaves(waves: readonly Pick<WavePlan, 'size'>[], devices: number): number[] {
  const numbers: number[] = [];
  for (const [index, { size }] of waves.entries()) {
    const isLast = index === waves.length - 1;
    const wanted = size.kind === 'devices' ? numbers.length + size.devices : countAtPercent(size.percent, devices);
    const end = isLast ? devices : Math.min(devices, wanted);
    while (numbers.length < end) numbers.push(index + 1);
  }
  return numbers;
}

/** Returns the percentage of all devices as a number of devices, rounded up. */
function countAtPercent(percentage: number, devices: number): number {
  return ceilingOf(divideFractions(multiplyFractions(fractionOf(percentage), fractionOf(devices)), fractionOf(100)));
}
