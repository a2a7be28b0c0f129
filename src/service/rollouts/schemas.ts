// Schemas of rollouts.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { DisplayName, exampleIdentifier, Timestamp } from '../../protocol/identifiers.ts';
import { examplePolicy, SimilarityPolicy, VersionPolicy } from '../../protocol/load-report.ts';
import { hasCriteria, requireLabel, selectorShape } from '../devices/selection-schemas.ts';
import { ScheduleWindow } from '../groups/schedule-window.ts';
import { LoadedPatchSet } from '../history/schemas.ts';
import { count, DamagedItem, identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { moduleQuery, orderQuery, rangeQuery } from '../http/list-schemas.ts';
import {
  contentShape,
  forecastShape,
  holdShape,
  LoadOutcome,
  requireOneContent,
  UnreachableDevices,
  unreachable,
} from '../loads/schemas.ts';
import { Policy, requireDowngradeReason, requireDrainStrategy, termsShape, windowOverride } from '../loads/terms-schemas.ts';
import { Measurement } from './measurement.ts';
import { defaultThresholds, NewThresholds, OnConflict, OnFailure, rolloutLimits, Thresholds } from './plan.ts';
import { rolloutDeviceStates, rolloutStates, waitingReasons, waveStates } from './steps.ts';

export const rolloutParameter = z.object({ rollout: identifier('rollout') });

export const soakSeconds = z
  .number()
  .min(0)
  .max(rolloutLimits.soakSeconds)
  .describe('Time in seconds to measure the programs of a wave after its last load ended, before the next wave starts.');

export const NewWave = z
  .strictObject({
    devices: z
      .int()
      .min(1)
      .max(rolloutLimits.devices)
      .optional()
      .describe('Number of additional devices. Give either this or `upToPercent`.'),
    upToPercent: z
      .number()
      .min(0)
      .max(100)
      .optional()
      .describe('Cumulative percentage of all devices that have the build after this wave. Give either this or `devices`.'),
    soakSeconds: soakSeconds.optional(),
    approval: z.boolean().default(false).describe('Whether the wave starts only after an operator has approved it.'),
    thresholds: NewThresholds.optional().describe('Thresholds that override those of the rollout for this wave.'),
  })
  .refine(({ devices, upToPercent }) => (devices === undefined) !== (upToPercent === undefined), 'give either devices or upToPercent')
  .meta({ id: 'NewWave', examples: [{ devices: 5, soakSeconds: 300 }] });

/** A canary, a tenth, and the rest. */
export const defaultWaves = [
  { devices: 1, approval: false },
  { upToPercent: 10, approval: false },
  { upToPercent: 100, approval: false },
];

const day = 24 * 3_600;

export const NewRollout = requireLabel(
  requireDowngradeReason(
    requireDrainStrategy(
      requireOneContent(
        z.strictObject({
          name: DisplayName.optional()
            .describe('Display name.')
            .meta({ examples: ['tcp-1.1'] }),
          ...contentShape,
          devices: selectorShape.devices.describe(
            'Identifiers or names of the devices, in the order in which they get the build. Not allowed with `labels`, `selector` and `group`.',
          ),
          labels: selectorShape.labels,
          selector: selectorShape.selector,
          group: selectorShape.group.describe(
            'Selects the devices of the group with this identifier or name. The rollout keeps the selector that the group has at the request, also if it is dynamic.',
          ),
          runningVersion: z
            .string()
            .max(256)
            .optional()
            .describe(
              'Only devices whose installed version of the module is in this range (npm semver range). Not allowed with `patchSet`, whose modules have versions of their own.',
            )
            .meta({ examples: ['>=1.0.0 <1.1.0'] }),
          waves: z
            .array(NewWave)
            .min(1)
            .max(rolloutLimits.waves)
            .default(defaultWaves)
            .describe(
              'The waves, in order. The first is the canary; the last must be `"upToPercent": 100`. Devices selected by labels or version are assigned to waves in a shuffled order.',
            ),
          soakSeconds: soakSeconds.default(60),
          thresholds: NewThresholds.optional(),
          onFailure: OnFailure.default('pause'),
          devicesInFlight: z
            .int()
            .min(1)
            .max(rolloutLimits.devicesInFlight)
            .default(100)
            .describe('Maximum number of loads in progress at the same time.'),
          loadsPerMinute: z
            .int()
            .min(1)
            .max(rolloutLimits.loadsPerMinute)
            .optional()
            .describe('Maximum number of loads requested per minute, evenly spaced. Default: no limit.'),
          startAt: Timestamp.optional()
            .describe('Earliest start of the rollout (RFC 3339). Default: at once.')
            .meta({ examples: [exampleTimes.requested] }),
          window: ScheduleWindow.optional(),
          dynamic: z
            .boolean()
            .default(false)
            .describe('Whether devices that match later join the last wave. The last wave then stays open until `dynamicUntil`.'),
          dynamicUntil: Timestamp.optional()
            .describe('Until when devices join (RFC 3339). Default: until an operator closes the rollout.')
            .meta({ examples: [exampleTimes.deadline] }),
          onConflict: OnConflict.default('reject').describe(
            'What happens if an open rollout of the same modules includes some of the devices. `reject`: reject this request. `queue`: start this rollout after the other one has ended.',
          ),
          ...termsShape,
          deadlineSeconds: z
            .int()
            .min(1)
            .max(30 * day)
            .default(600)
            .describe('A load that has not completed after this many seconds ends as `expired`, and its device counts as failed.'),
          rollbackDeadlineSeconds: z
            .int()
            .min(1)
            .max(30 * day)
            .default(day)
            .describe('The same deadline for the loads of a rollback of this rollout.'),
          versionPolicy: VersionPolicy.default('newer').describe('As in `createLoads`.'),
          downgradeReason: z
            .string()
            .min(1)
            .max(1_000)
            .optional()
            .describe('Reason for the downgrade; required with, and only allowed with, `versionPolicy` `downgrade`.'),
          similarityPolicy: SimilarityPolicy.default('require').describe('As in `createLoads`.'),
          unreachable,
          dryRun: z.boolean().default(false).describe('Whether to return a preview and create nothing.'),
        }),
      ),
    ),
  ),
)
  .refine(({ devices, ...criteria }) => devices === undefined || !hasCriteria(criteria), {
    path: ['devices'],
    message: 'is not allowed with labels, selector and group: give either devices or the others',
  })
  .refine(({ patchSet, runningVersion }) => patchSet === undefined || runningVersion === undefined, {
    path: ['runningVersion'],
    message: 'is not allowed with patchSet, whose modules have versions of their own: select by devices, labels, selector or group',
  })
  .refine(({ devices, runningVersion, ...criteria }) => devices !== undefined || runningVersion !== undefined || hasCriteria(criteria), {
    message: 'give devices, labels, selector, group or runningVersion to select the devices',
  })
  .refine(({ waves }) => waves.at(-1)?.upToPercent === 100, {
    path: ['waves'],
    message: 'the last wave must be { "upToPercent": 100 }, so that it contains all remaining devices',
  })
  .refine(({ waves }) => isAscending(waves.flatMap(({ upToPercent }) => upToPercent ?? [])), {
    path: ['waves'],
    message: 'upToPercent must increase from wave to wave',
  })
  .refine(({ dynamic, devices }) => !dynamic || devices === undefined, {
    path: ['dynamic'],
    message: 'is not allowed with devices: select by labels, selector, group or runningVersion',
  })
  .refine(({ dynamic, dynamicUntil }) => dynamic || dynamicUntil === undefined, {
    path: ['dynamicUntil'],
    message: 'is only allowed with "dynamic": true',
  })
  .refine(({ dynamic, unreachable: choice }) => !dynamic || choice === 'wait', {
    path: ['unreachable'],
    message: 'must be "wait" with "dynamic": true: a skipped device would join later',
  })
  .meta({
    id: 'NewRollout',
    // The content and the devices are required, each in one of several members.
    minProperties: 2,
    examples: [
      {
        module: 'tcp',
        version: exampleVersions.new.version,
        labels: { zone: 'north' },
        waves: [{ devices: 1, soakSeconds: 300 }, { upToPercent: 20 }, { upToPercent: 100, approval: true }],
        thresholds: { failedCallsPercent: 1, latencyIncreasePercent: 50 },
        onFailure: 'rollback',
      },
      { patchSet: { name: 'net-2026-11', version: '1.0.0' }, labels: { zone: 'north' } },
    ],
  });
export type NewRollout = z.infer<typeof NewRollout>;

export function isAscending(values: readonly number[]): boolean {
  return values.every((value, index) => index === 0 || value > (values[index - 1] ?? 0));
}

const DeviceCounts = z
  .object({
    waiting: count.describe('Devices whose load is not requested yet.'),
    loading: count.describe('Devices whose load is in progress.'),
    loaded: count.describe('Devices that have the build.'),
    failed: count.describe('Devices whose load did not succeed.'),
    skipped: count.describe('Devices without a load: the rollout ended before, or the device had another version by then.'),
  })
  .meta({
    id: 'DeviceCounts',
    description: 'Number of devices by state.',
    examples: [{ waiting: 0, loading: 0, loaded: 1, failed: 0, skipped: 0 }],
  });

const Verdict = z
  .object({
    threshold: z.enum(['failedLoadsPercent', 'interruptedAccesses', 'failedCallsPercent', 'abiViolations', 'latencyIncreasePercent']),
    limit: z.number(),
    measured: z
      .number()
      .nullable()
      .describe(
        'The measured value, rounded to two decimals, or to more if it would otherwise equal the limit. `exceeded` compares the exact value. Null if there is not enough data yet.',
      ),
    exceeded: z.boolean().describe('Whether the measured value exceeds the limit. If so, the wave has failed.'),
  })
  .meta({ id: 'Verdict', examples: [{ threshold: 'failedCallsPercent', limit: 1, measured: 0, exceeded: false }] });

const exampleMeasured = {
  calls: 18_204,
  failedCalls: 0,
  p99Microseconds: 447,
  abiViolations: 0,
  worstMember: null,
  before: { calls: 90_112, failedCalls: 3, p99Microseconds: 431 },
};
const exampleDeviceCounts = { waiting: 0, loading: 0, loaded: 1, failed: 0, skipped: 0 };
const exampleWave = {
  number: 1,
  state: 'soaking',
  devices: 1,
  upToPercent: null,
  soakSeconds: 300,
  approval: false,
  thresholds: defaultThresholds,
  deviceCounts: exampleDeviceCounts,
  interruptedAccesses: 4,
  measured: exampleMeasured,
  verdicts: [{ threshold: 'failedCallsPercent', limit: 1, measured: 0, exceeded: false }],
  failure: null,
  failureIgnored: false,
  approvedBy: null,
  startedAt: exampleTimes.requested,
  soakUntil: exampleTimes.faulted,
  endedAt: null,
} as const;

const Wave = z
  .object({
    number: z.int().min(1),
    state: z
      .enum(waveStates)
      .describe(
        '`waiting`: an earlier wave is in progress. `awaiting-approval`: an operator must approve it. `loading`: its loads are in progress. `soaking`: its loads have ended and its programs are measured. `failed`: a threshold was exceeded. `passed`: it is complete, and the next wave starts.',
      )
      .meta({ id: 'WaveState' }),
    devices: count.describe('Number of devices in the wave, including skipped ones.'),
    upToPercent: z.number().nullable().describe('Cumulative percentage of the request. Null if the request gave a number of devices.'),
    soakSeconds: z.number(),
    approval: z.boolean(),
    thresholds: Thresholds,
    deviceCounts: DeviceCounts,
    interruptedAccesses: count.describe('Number of accesses inside the old version that the loads of the wave interrupted.'),
    measured: Measurement,
    verdicts: z.array(Verdict).describe('Each threshold that applies, with its limit and the measured value.'),
    failure: z.string().nullable().describe('The thresholds that were exceeded. Null if none was.'),
    failureIgnored: z
      .boolean()
      .describe(
        'Whether the rollout continues despite the failure, because `onFailure` is `continue` or an operator resumed it. The wave is no longer evaluated.',
      ),
    approvedBy: z.string().nullable().describe('Identifier of the API key or user that approved it. Null if not approved.'),
    startedAt: timestamp.nullable(),
    soakUntil: timestamp.nullable(),
    endedAt: timestamp.nullable(),
  })
  .meta({ id: 'Wave', examples: [exampleWave] });

const RolloutState = z
  .enum(rolloutStates)
  .describe(
    '`pending`: not started. `running`: in progress. `awaiting-approval`: an operator must approve its next wave. `paused`: by an operator or because a wave failed. `rolling-back`: a rollback rollout restores the previous versions. `completed`, `aborted` and `rolled-back` are final.',
  )
  .meta({ id: 'RolloutState' });

const exampleRollout = {
  id: exampleIdentifier('rollout'),
  name: 'tcp-1.1',
  patchSet: null,
  module: 'tcp',
  version: exampleVersions.new.version,
  selector: { devices: null, labels: { zone: 'north' }, selector: null, group: null, runningVersion: null },
  scope: null,
  state: 'running',
  waitingFor: 'soak',
  reason: null,
  wave: 1,
  waves: [exampleWave],
  deviceCounts: exampleDeviceCounts,
  unreachableDevices: { count: 0, skipped: 0, devices: [] },
  onFailure: 'rollback',
  ...examplePolicy,
  supersede: false,
  overrideMaintenanceWindow: null,
  deadlineSeconds: 600,
  rollbackDeadlineSeconds: day,
  devicesInFlight: 100,
  loadsPerMinute: null,
  startAt: null,
  window: null,
  windowOpensAt: null,
  acceptsDevicesUntil: null,
  acceptsDevices: false,
  onConflict: 'reject',
  rollbackOf: null,
  rolledBackBy: null,
  requestedAt: exampleTimes.requested,
  requestedBy: exampleIdentifier('key'),
  startedAt: exampleTimes.requested,
  endedAt: null,
};

export const Rollout = z
  .object({
    id: identifier('rollout'),
    name: z.string().nullable(),
    patchSet: LoadedPatchSet.nullable().describe('The patch set that devices get, or that a rollback reverts. Null for a build.'),
    module: z.string().describe('Name of the module or of the patch set.'),
    version: version.nullable().describe('Null in a rollback, which restores the previous version of each device.'),
    selector: z
      .object({
        devices: count.nullable().describe('Number of devices named in the request. Null if it named none.'),
        labels: z.record(z.string(), z.string()).nullable(),
        selector: z.string().nullable().describe('The label selector of the request.'),
        group: z
          .object({ id: identifier('group'), name: z.string(), selector: z.string() })
          .nullable()
          .describe('The group of the request, with its name and its label selector at that time. Null if it named none.')
          .meta({ id: 'RolloutGroup', examples: [{ id: exampleIdentifier('group'), name: 'north', selector: 'zone=north' }] }),
        runningVersion: z.string().nullable(),
      })
      .meta({
        id: 'RolloutSelector',
        description: 'The device selection of the request.',
        examples: [{ devices: null, labels: { zone: 'north' }, selector: null, group: null, runningVersion: null }],
      }),
    scope: z
      .string()
      .nullable()
      .describe('The scope of the key that requested it, which its devices match besides the selection. Null: none.'),
    state: RolloutState,
    waitingFor: z
      .enum(waitingReasons)
      .nullable()
      .describe('What the rollout waits for now. Null if it has ended or is executing a step.')
      .meta({ id: 'WaitingFor' }),
    reason: z.string().nullable().describe('Reason why it was paused, aborted or rolled back.'),
    wave: z.int().nullable().describe('Number of the current or next wave. Null if all waves have passed.'),
    waves: z.array(Wave),
    deviceCounts: DeviceCounts,
    unreachableDevices: UnreachableDevices,
    onFailure: OnFailure,
    ...Policy.shape,
    supersede: z.boolean(),
    overrideMaintenanceWindow: windowOverride,
    deadlineSeconds: count,
    rollbackDeadlineSeconds: count,
    devicesInFlight: count,
    loadsPerMinute: count.nullable(),
    startAt: timestamp.nullable(),
    window: ScheduleWindow.nullable(),
    windowOpensAt: timestamp.nullable().describe('When the schedule window next opens. Null if it is open or if there is none.'),
    acceptsDevicesUntil: timestamp
      .nullable()
      .describe('Until when matching devices join. Null if none join, or if they join until an operator closes the rollout.'),
    acceptsDevices: z.boolean().describe('Whether matching devices join now.'),
    onConflict: OnConflict,
    rollbackOf: identifier('rollout').nullable().describe('The rollout that this rollout rolls back.'),
    rolledBackBy: identifier('rollout').nullable().describe('The rollout that rolls this rollout back.'),
    requestedAt: timestamp,
    requestedBy: z
      .string()
      .describe('Identifier of the API key or user that requested it.')
      .meta({ examples: [exampleIdentifier('key')] }),
    startedAt: timestamp.nullable(),
    endedAt: timestamp.nullable().describe('When the rollout ended and all its loads had ended. Null until then.'),
  })
  .meta({ id: 'Rollout', description: 'Loads one build or patch set on many devices in waves.', examples: [exampleRollout] });
export type Rollout = z.infer<typeof Rollout>;
export const RolloutPage = pageSchema('RolloutPage', Rollout);

export const rolloutQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  module: moduleQuery.describe('Only rollouts of this module, or of the patch set with this name.'),
  state: RolloutState.optional()
    .describe('Only rollouts in this state.')
    .meta({ examples: ['running'] }),
});

const RolloutDeviceState = z.enum(rolloutDeviceStates).meta({ id: 'RolloutDeviceState' });

const exampleDevice = {
  device: exampleIdentifier('device'),
  deviceName: 'router-7',
  position: 1,
  wave: 1,
  version: exampleVersions.new.version,
  previousVersion: exampleVersions.old.version,
  state: 'loaded',
  attempts: 1,
  load: exampleIdentifier('load'),
  outcome: 'replaced-interrupting',
  reason: null,
  interruptedAccesses: 4,
  loadedAt: exampleTimes.completed,
  measured: exampleMeasured,
} as const;

export const RolloutDevice = z
  .object({
    device: identifier('device'),
    deviceName: z.string(),
    position: z.int().min(1).describe('Position in the order in which devices get the build, from 1.'),
    wave: z.int().min(1),
    version: version.describe(
      'The version that the device gets: of the module or of the patch set. Empty if a rollback found no previous version, or if it reverts a patch set.',
    ),
    previousVersion: version
      .nullable()
      .describe('The version that the device had before: of the module or of the patch set. Null if it had none or if unknown.'),
    state: RolloutDeviceState,
    attempts: count.describe('Number of loads that were requested for the device.'),
    load: identifier('load').nullable().describe('The newest load for the device.'),
    outcome: LoadOutcome.nullable().describe('Outcome of that load.'),
    reason: z.string().nullable().describe('Why the device failed or was skipped.'),
    interruptedAccesses: count.nullable(),
    loadedAt: timestamp.nullable(),
    measured: Measurement.nullable().describe(
      'Calls of its programs since it got the build, until the wave was evaluated or until now. Null if it has not got the build.',
    ),
  })
  .meta({ id: 'RolloutDevice', description: 'A device in a rollout and its state there.', examples: [exampleDevice] });
export const RolloutDevicePage = pageSchema('RolloutDevicePage', RolloutDevice);

export const rolloutDeviceQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  wave: z.coerce
    .number()
    .int()
    .min(1)
    .max(rolloutLimits.waves)
    .optional()
    .describe('Only devices of this wave.')
    .meta({ examples: [1] }),
  state: RolloutDeviceState.optional()
    .describe('Only devices in this state.')
    .meta({ examples: ['loaded'] }),
});

export const RolloutReport = z
  .object({
    rollout: Rollout,
    devices: z.array(RolloutDevice),
    damaged: z.array(DamagedItem).describe('Devices that cannot be shown because their stored rows are damaged.'),
  })
  .meta({
    id: 'RolloutReport',
    description: 'A rollout and the state of each of its devices.',
    examples: [{ rollout: exampleRollout, devices: [exampleDevice], damaged: [] }],
  });

export const reportQuery = z.strictObject({
  format: z
    .enum(['json', 'csv'])
    .default('json')
    .describe('`csv`: one line per device (RFC 4180), after a header line.')
    .meta({ examples: ['json'] }),
});

export const RolloutPreview = z
  .object({
    devices: count.describe('Number of selected devices.'),
    alreadyInstalled: count.describe(
      'Number of selected devices that already have the version, or all builds of the patch set. They are left out.',
    ),
    unreachable: count.describe(
      'Number of selected devices on unreachable hosts. Their loads wait until the host connects, unless they are skipped.',
    ),
    skipped: count.describe('Number of unreachable devices that the rollout would leave out.'),
    refused: count.describe(
      'Number of selected devices that would refuse the load, lack the memory or do not support patch sets, as far as the service knows.',
    ),
    held: count.describe(
      'Number of devices whose loads would be held if they were requested now, because their maintenance windows are closed.',
    ),
    waves: z.array(z.object({ number: z.int().min(1), devices: count }).meta({ id: 'PreviewedWave' })),
    conflicts: z
      .array(z.object({ rollout: identifier('rollout'), devices: count }).meta({ id: 'PreviewedConflict' }))
      .describe('Open rollouts of the same modules that include some of the devices.'),
    items: z.array(
      z
        .object({
          ...forecastShape,
          ...holdShape,
          wave: z
            .int()
            .min(1)
            .nullable()
            .describe('Number of its wave. Null if the device is left out: it has the version, or is unreachable and skipped.'),
        })
        .meta({ id: 'PreviewedDevice' }),
    ),
  })
  .meta({
    id: 'RolloutPreview',
    description: 'The expected result of a rollout.',
    examples: [
      {
        devices: 2,
        alreadyInstalled: 1,
        unreachable: 0,
        skipped: 0,
        refused: 0,
        held: 0,
        waves: [{ number: 1, devices: 1 }],
        conflicts: [],
        items: [
          {
            device: exampleIdentifier('device'),
            deviceName: 'router-7',
            wave: 1,
            currentVersion: exampleVersions.old.version,
            reachable: true,
            forecast: 'would-replace',
            reason: null,
            warnings: [],
            held: false,
            heldUntil: null,
          },
        ],
      },
    ],
  });

const why = z.string().min(1).max(1_000).optional().describe('Reason for the operation. The rollout and the audit trail contain it.');
const exampleReason = 'calls fail in the canary';

export const PauseRollout = z.strictObject({ reason: why }).meta({ id: 'PauseRollout', examples: [{ reason: exampleReason }] });
export const AbortRollout = z.strictObject({ reason: why }).meta({ id: 'AbortRollout', examples: [{ reason: exampleReason }] });
export const RollBackRollout = z
  .strictObject({
    reason: z.string().min(1).max(1_000).describe('Reason for the rollback. The load reports and the audit trail contain it.'),
  })
  .meta({ id: 'RollBackRollout', examples: [{ reason: exampleReason }] });
export const ApproveWave = z
  .strictObject({
    wave: z.int().min(1).max(rolloutLimits.waves).describe('Number of the wave to approve. It must be the wave that awaits approval.'),
  })
  .meta({ id: 'ApproveWave', examples: [{ wave: 2 }] });
