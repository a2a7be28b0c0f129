// Rollouts in the API.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { DisplayName, exampleIdentifier, Labels, ModuleName, Timestamp } from '../../protocol/identifiers.ts';
import { examplePolicy, SimilarityPolicy, VersionPolicy } from '../../protocol/load-report.ts';
import { count, DamagedItem, identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { moduleQuery, orderQuery, rangeQuery } from '../http/list-schemas.ts';
import { verdicts } from '../loads/forecast.ts';
import { LoadOutcome } from '../loads/schemas.ts';
import { Policy, requireDowngradeReason, requireDrainStrategy, requireLabel, selectorShape, termsShape } from '../loads/terms-schemas.ts';
import { Measurement } from './measurement.ts';
import { defaultThresholds, NewThresholds, OnConflict, OnFailure, rolloutLimits, ScheduleWindow, Thresholds } from './plan.ts';
import { rolloutDeviceStates, rolloutStates, waitingReasons, waveStates } from './steps.ts';

export const rolloutParameter = z.object({ rollout: identifier('rollout') });

const soakSeconds = z
  .number()
  .min(0)
  .max(rolloutLimits.soakSeconds)
  .describe('How long the programs of a wave are watched after its last load, before the next wave.');

const NewWave = z
  .strictObject({
    devices: z.int().min(1).max(rolloutLimits.devices).optional().describe('So many devices more. Either this or `upToPercent`.'),
    upToPercent: z
      .number()
      .min(0)
      .max(100)
      .optional()
      .describe('Devices until so many in percent of all have the build. Either this or `devices`.'),
    soakSeconds: soakSeconds.optional(),
    approval: z.boolean().default(false).describe('Whether the wave begins only when an operator approves it.'),
    thresholds: NewThresholds.optional().describe('What is other than the thresholds of the rollout.'),
  })
  .refine(({ devices, upToPercent }) => (devices === undefined) !== (upToPercent === undefined), 'give either devices or upToPercent')
  .meta({ id: 'NewWave', examples: [{ devices: 5, soakSeconds: 300 }] });

/** A canary, a tenth, and the rest. */
const usualWaves = [
  { devices: 1, approval: false },
  { upToPercent: 10, approval: false },
  { upToPercent: 100, approval: false },
];

const day = 24 * 3_600;

export const NewRollout = requireLabel(
  requireDowngradeReason(
    requireDrainStrategy(
      z.strictObject({
        name: DisplayName.optional()
          .describe('What people call it.')
          .meta({ examples: ['tcp-1.1'] }),
        module: ModuleName,
        version,
        devices: selectorShape.devices.describe('The devices, in the order in which they get the build. Not with `labels`.'),
        labels: Labels.optional().describe('Every device that has all of these labels. Not with `devices`.'),
        runningVersion: z
          .string()
          .max(256)
          .optional()
          .describe('Only devices that have a version of the module in this range now (semver, as npm writes it).')
          .meta({ examples: ['>=1.0.0 <1.1.0'] }),
        waves: z
          .array(NewWave)
          .min(1)
          .max(rolloutLimits.waves)
          .default(usualWaves)
          .describe(
            'Which devices get the build one after another. The first is the canary; the last must be `"upToPercent": 100`. Where devices are not named, they are taken in an order that mixes them.',
          ),
        soakSeconds: soakSeconds.default(60),
        thresholds: NewThresholds.optional(),
        onFailure: OnFailure.default('pause'),
        devicesInFlight: z.int().min(1).max(rolloutLimits.devicesInFlight).default(100).describe('Loads that are under way at once.'),
        loadsPerMinute: z
          .int()
          .min(1)
          .max(rolloutLimits.loadsPerMinute)
          .optional()
          .describe('Loads that are requested in a minute, at even distances.'),
        startAt: Timestamp.optional()
          .describe('Not before this time, RFC 3339.')
          .meta({ examples: [exampleTimes.requested] }),
        window: ScheduleWindow.optional(),
        dynamic: z
          .boolean()
          .default(false)
          .describe('Whether devices that match later join the last wave, which then does not end by itself before `dynamicUntil`.'),
        dynamicUntil: Timestamp.optional()
          .describe('Until when devices join, RFC 3339; left out: until an operator closes the rollout to devices.')
          .meta({ examples: [exampleTimes.deadline] }),
        onConflict: OnConflict.default('reject').describe(
          'Where a rollout of the module that has not ended has some of the devices: whether this one is refused, or waits for it.',
        ),
        ...termsShape,
        deadlineSeconds: z
          .int()
          .min(1)
          .max(30 * day)
          .default(600)
          .describe('A load that has not completed after so many seconds counts as failed: no device holds its wave up for longer.'),
        rollbackDeadlineSeconds: z
          .int()
          .min(1)
          .max(30 * day)
          .default(day)
          .describe('The same of a rollback: how long a device that is away is waited for to be taken back.'),
        versionPolicy: VersionPolicy.default('newer').describe('As of a load.'),
        downgradeReason: z.string().min(1).max(1_000).optional().describe('Why, where `versionPolicy` is `downgrade`.'),
        similarityPolicy: SimilarityPolicy.default('require').describe('As of a load.'),
        dryRun: z.boolean().default(false).describe('Whether nothing is to be done, and what it would come to be told.'),
      }),
    ),
  ),
)
  .refine(({ devices, labels }) => devices === undefined || labels === undefined, {
    path: ['labels'],
    message: 'give either devices or labels',
  })
  .refine(({ devices, labels, runningVersion }) => devices !== undefined || labels !== undefined || runningVersion !== undefined, {
    message: 'give devices, labels or runningVersion: which devices get the build',
  })
  .refine(({ waves }) => waves.at(-1)?.upToPercent === 100, {
    path: ['waves'],
    message: 'the last wave must be { "upToPercent": 100 }: it takes all that are left',
  })
  .refine(({ waves }) => isAscending(waves.flatMap(({ upToPercent }) => upToPercent ?? [])), {
    path: ['waves'],
    message: 'upToPercent must rise from wave to wave',
  })
  .refine(({ dynamic, devices }) => !dynamic || devices === undefined, {
    path: ['dynamic'],
    message: 'devices that are named one by one are these and no others: select by labels or runningVersion',
  })
  .refine(({ dynamic, dynamicUntil }) => dynamic || dynamicUntil === undefined, {
    path: ['dynamicUntil'],
    message: 'is for "dynamic": true',
  })
  .meta({
    id: 'NewRollout',
    examples: [
      {
        module: 'tcp',
        version: exampleVersions.new.version,
        labels: { zone: 'north' },
        waves: [{ devices: 1, soakSeconds: 300 }, { upToPercent: 20 }, { upToPercent: 100, approval: true }],
        thresholds: { failedCallsPercent: 1, latencyIncreasePercent: 50 },
        onFailure: 'rollback',
      },
    ],
  });
export type NewRollout = z.infer<typeof NewRollout>;

function isAscending(values: readonly number[]): boolean {
  return values.every((value, index) => index === 0 || value > (values[index - 1] ?? 0));
}

const DeviceCounts = z
  .object({
    waiting: count.describe('They wait for their loads.'),
    loading: count.describe('Their loads are under way.'),
    loaded: count.describe('They have got the build.'),
    failed: count.describe('Their loads have not succeeded.'),
    skipped: count.describe('They were left alone: the rollout ended before, or they had another version by then.'),
  })
  .meta({
    id: 'DeviceCounts',
    description: 'How many devices are at what.',
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
        'Rounded to two decimals, or to as many as it takes to tell it from the limit; the verdict compares the exact value. Null: there is too little yet to judge by.',
      ),
    exceeded: z.boolean().describe('Whether more was measured than the limit: then the wave has failed.'),
  })
  .meta({ id: 'Verdict', examples: [{ threshold: 'failedCallsPercent', limit: 1, measured: 0, exceeded: false }] });

const exampleMeasured = {
  calls: 18_204,
  failedCalls: 0,
  p99Microseconds: 447,
  abiViolations: 0,
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
        '`waiting`: its turn has not come. `awaiting-approval`: an operator is to approve it. `loading`: its loads are under way. `soaking`: its programs are watched. `failed`: a threshold was passed. `passed`: the next has its turn.',
      )
      .meta({ id: 'WaveState' }),
    devices: count.describe('How many devices it has, those that were skipped included.'),
    upToPercent: z.number().nullable().describe('As it was asked for; null where so many devices were.'),
    soakSeconds: z.number(),
    approval: z.boolean(),
    thresholds: Thresholds,
    deviceCounts: DeviceCounts,
    interruptedAccesses: count.describe('Accesses inside the old version that its loads have interrupted.'),
    measured: Measurement,
    verdicts: z.array(Verdict).describe('Each threshold that is judged.'),
    failure: z.string().nullable().describe('Which threshold was passed; null as long as none is.'),
    failureIgnored: z
      .boolean()
      .describe('Whether it is not judged any more: `onFailure` is `continue`, or an operator has resumed the rollout.'),
    approvedBy: z.string().nullable().describe('Who has approved it, by the identifier of their key.'),
    startedAt: timestamp.nullable(),
    soakUntil: timestamp.nullable(),
    endedAt: timestamp.nullable(),
  })
  .meta({ id: 'Wave', examples: [exampleWave] });

const RolloutState = z
  .enum(rolloutStates)
  .describe(
    '`pending`: it has not begun. `awaiting-approval`: its next wave is to be approved. `paused`: by an operator, or because a wave has failed. `rolling-back`: its devices go back to what they had. `completed`, `aborted` and `rolled-back` are ends.',
  )
  .meta({ id: 'RolloutState' });

const exampleRollout = {
  id: exampleIdentifier('rollout'),
  name: 'tcp-1.1',
  module: 'tcp',
  version: exampleVersions.new.version,
  selector: { devices: null, labels: { zone: 'north' }, runningVersion: null },
  state: 'running',
  waitingFor: 'soak',
  reason: null,
  wave: 1,
  waves: [exampleWave],
  deviceCounts: exampleDeviceCounts,
  onFailure: 'rollback',
  ...examplePolicy,
  supersede: false,
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
    module: z.string(),
    version: version.nullable().describe('Null in a rollback, where each device goes back to what it had.'),
    selector: z
      .object({
        devices: count.nullable().describe('How many were named; null where none were.'),
        labels: z.record(z.string(), z.string()).nullable(),
        runningVersion: z.string().nullable(),
      })
      .meta({
        id: 'RolloutSelector',
        description: 'Which devices were asked for.',
        examples: [{ devices: null, labels: { zone: 'north' }, runningVersion: null }],
      }),
    state: RolloutState,
    waitingFor: z
      .enum(waitingReasons)
      .nullable()
      .describe('What it waits for at this moment; null where it has ended, or is taking its next step.')
      .meta({ id: 'WaitingFor' }),
    reason: z.string().nullable().describe('Why it was paused, aborted or rolled back.'),
    wave: z.int().nullable().describe('Number of the wave that is under way or next; null when all have passed.'),
    waves: z.array(Wave),
    deviceCounts: DeviceCounts,
    onFailure: OnFailure,
    ...Policy.shape,
    supersede: z.boolean(),
    deadlineSeconds: count,
    rollbackDeadlineSeconds: count,
    devicesInFlight: count,
    loadsPerMinute: count.nullable(),
    startAt: timestamp.nullable(),
    window: ScheduleWindow.nullable(),
    windowOpensAt: timestamp.nullable().describe('When loads may be requested again. Null where the window is open, or there is none.'),
    acceptsDevicesUntil: timestamp
      .nullable()
      .describe('Until when devices that match join; null where none do, or as long as the rollout is open.'),
    acceptsDevices: z.boolean().describe('Whether devices that match now join it.'),
    onConflict: OnConflict,
    rollbackOf: identifier('rollout').nullable().describe('The rollout whose devices it takes back.'),
    rolledBackBy: identifier('rollout').nullable().describe('The rollout that takes its devices back.'),
    requestedAt: timestamp,
    requestedBy: z
      .string()
      .describe('Who asked for it, by the identifier of their key.')
      .meta({ examples: [exampleIdentifier('key')] }),
    startedAt: timestamp.nullable(),
    endedAt: timestamp.nullable().describe('When nothing was left to be done.'),
  })
  .meta({ id: 'Rollout', description: 'One build to many devices, in waves.', examples: [exampleRollout] });
export type Rollout = z.infer<typeof Rollout>;
export const RolloutPage = pageSchema('RolloutPage', Rollout);

export const rolloutQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  module: moduleQuery.describe('Only rollouts of this module.'),
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
    position: z.int().min(1).describe('Its place in the order in which devices get the build.'),
    wave: z.int().min(1),
    version: version.describe('The version that it gets; empty where there is none.'),
    previousVersion: version.nullable().describe('What it had before; null where it had none of the module.'),
    state: RolloutDeviceState,
    attempts: count.describe('How often its load was requested.'),
    load: identifier('load').nullable().describe('Its newest load.'),
    outcome: LoadOutcome.nullable().describe('Of that load.'),
    reason: z.string().nullable().describe('Why it has failed or was skipped.'),
    interruptedAccesses: count.nullable(),
    loadedAt: timestamp.nullable(),
    measured: Measurement.nullable().describe(
      'What its programs have done since, when the wave was judged or until now; null where it has not got the build.',
    ),
  })
  .meta({ id: 'RolloutDevice', description: 'What has become of one device of a rollout.', examples: [exampleDevice] });
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
    damaged: z.array(DamagedItem).describe('Devices that cannot be shown, because their stored rows are damaged.'),
  })
  .meta({
    id: 'RolloutReport',
    description: 'A rollout, and what has become of each of its devices.',
    examples: [{ rollout: exampleRollout, devices: [exampleDevice], damaged: [] }],
  });

export const reportQuery = z.strictObject({
  format: z
    .enum(['json', 'csv'])
    .default('json')
    .describe('`csv`: a line for each device, as RFC 4180 has it, the first with the names of the columns.')
    .meta({ examples: ['json'] }),
});

export const RolloutPreview = z
  .object({
    devices: count.describe('Devices that are selected.'),
    alreadyInstalled: count.describe('Of those, how many have the version, and are left out.'),
    unreachable: count.describe('Of those, how many are on hosts that are not heard of: their loads would wait for them.'),
    refused: count.describe('Of those, how many would not load the build as far as can be told.'),
    waves: z.array(z.object({ number: z.int().min(1), devices: count }).meta({ id: 'PreviewedWave' })),
    conflicts: z
      .array(z.object({ rollout: identifier('rollout'), devices: count }).meta({ id: 'PreviewedConflict' }))
      .describe('Rollouts of the module that have not ended and have some of the devices.'),
    items: z.array(
      z
        .object({
          device: identifier('device'),
          deviceName: z.string(),
          wave: z.int().min(1).nullable().describe('Null: it has the version, and is left out.'),
          currentVersion: version.nullable(),
          reachable: z.boolean(),
          forecast: z.enum(verdicts).describe('What its load would come to, as far as the service knows.').meta({ id: 'LoadForecast' }),
          reason: z.string().nullable().describe('Why it would be refused, in the words of the device.'),
        })
        .meta({ id: 'PreviewedDevice' }),
    ),
  })
  .meta({
    id: 'RolloutPreview',
    description: 'What a rollout would come to.',
    examples: [
      {
        devices: 2,
        alreadyInstalled: 1,
        unreachable: 0,
        refused: 0,
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
          },
        ],
      },
    ],
  });

const why = z.string().min(1).max(1_000).optional().describe('Why; it is told in the rollout and in the audit trail.');
const exampleReason = 'calls fail in the canary';

export const PauseRollout = z.strictObject({ reason: why }).meta({ id: 'PauseRollout', examples: [{ reason: exampleReason }] });
export const AbortRollout = z.strictObject({ reason: why }).meta({ id: 'AbortRollout', examples: [{ reason: exampleReason }] });
export const RollBackRollout = z
  .strictObject({ reason: z.string().min(1).max(1_000).describe('Why; it is in the reports and in the audit trail.') })
  .meta({ id: 'RollBackRollout', examples: [{ reason: exampleReason }] });
export const ApproveWave = z
  .strictObject({
    wave: z.int().min(1).max(rolloutLimits.waves).describe('The wave that may begin, so that nobody approves another than they have seen.'),
  })
  .meta({ id: 'ApproveWave', examples: [{ wave: 2 }] });
