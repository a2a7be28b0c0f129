// Schemas of assignments, of promotions and of the desired state of devices.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { ChannelReference, DisplayName, exampleIdentifier, GroupReference, ModuleName, PatchSetName } from '../../protocol/identifiers.ts';
import { examplePromotion, promotionShape } from '../channels/schemas.ts';
import { ScheduleWindow } from '../groups/schedule-window.ts';
import { count, identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { orderQuery } from '../http/list-schemas.ts';
import { contentShape } from '../loads/schemas.ts';
import { defaultThresholds, OnFailure, rolloutLimits, Thresholds } from '../rollouts/plan.ts';
import { defaultWaves, isAscending, NewWave, soakSeconds } from '../rollouts/schemas.ts';
import { assignmentModes } from './assignments.ts';
import { deviceStates, pendingReasons, unsatisfiedReasons } from './evaluation.ts';

export const assignmentParameter = z.object({
  assignment: z
    .string()
    .max(64)
    .describe('Identifier or name of an assignment.')
    .meta({ examples: [exampleIdentifier('assignment')] }),
});

export const promotionParameters = z.object({
  channel: z
    .string()
    .max(64)
    .describe('Identifier or name of a channel.')
    .meta({ examples: [exampleIdentifier('channel')] }),
  promotion: identifier('promotion'),
});

export const desiredStateParameter = z.object({ device: identifier('device') });

export const AssignmentMode = z
  .enum(assignmentModes)
  .describe(
    '`off`: nothing happens. `report`: the state of each device is reported, and no load is requested. `enforce`: loads and rollouts bring devices to the desired version.',
  )
  .meta({ id: 'AssignmentMode' });

const priority = z.int().min(-1_000).max(1_000);
const devicesPerMinute = z.int().min(1).max(10_000);

const exampleAssignment = {
  name: 'edge-net',
  group: 'edge',
  channel: 'stable',
  patchSet: 'net',
  range: '^2.1',
  mode: 'enforce',
  priority: 10,
  devicesPerMinute: 60,
  waves: [{ devices: 1, soakSeconds: 300 }, { upToPercent: 100 }],
} as const;

export const NewAssignment = z
  .strictObject({
    name: DisplayName.describe('Name, unique among assignments. It must not have the form of an identifier.'),
    group: GroupReference.describe('Identifier or name of the group whose devices should have the version.'),
    channel: ChannelReference.describe('Identifier or name of the channel whose promoted versions count.'),
    module: ModuleName.optional().describe('The module whose version is desired. Give either this or `patchSet`.'),
    patchSet: PatchSetName.optional().describe('Name of the patch set whose version is desired. Give either this or `module`.'),
    range: z
      .string()
      .min(1)
      .max(256)
      .describe(
        'The range of versions (npm semver range). The desired version is the highest one in the range that the channel has. A prerelease counts only if the range names one.',
      )
      .meta({ examples: ['^2.1'] }),
    mode: AssignmentMode.default('report'),
    priority: priority
      .default(0)
      .describe(
        'Of overlapping assignments, the one with the highest priority decides; of the same priority, the one that was created first.',
      ),
    devicesPerMinute: devicesPerMinute
      .default(60)
      .describe('Maximum number of loads requested per minute for devices that join, return or drift. Rollouts have their waves instead.'),
    waves: z
      .array(NewWave)
      .min(1)
      .max(rolloutLimits.waves)
      .default(defaultWaves)
      .describe('The waves of the rollouts that promotions start, as in `createRollout`.'),
    soakSeconds: soakSeconds.default(60),
    onFailure: OnFailure.default('pause'),
    window: ScheduleWindow.optional(),
  })
  .refine(({ module, patchSet }) => (module === undefined) !== (patchSet === undefined), 'expected either module or patchSet')
  .refine(({ waves }) => waves.at(-1)?.upToPercent === 100, {
    path: ['waves'],
    message: 'the last wave must be { "upToPercent": 100 }, so that it contains all remaining devices',
  })
  .refine(({ waves }) => isAscending(waves.flatMap(({ upToPercent }) => upToPercent ?? [])), {
    path: ['waves'],
    message: 'upToPercent must increase from wave to wave',
  })
  .meta({ id: 'NewAssignment', examples: [exampleAssignment] });

const AssignmentWave = z
  .object({
    devices: count.nullable().describe('Number of additional devices. Null if the size is a percentage.'),
    upToPercent: z.number().nullable().describe('Cumulative percentage of all devices. Null if the size is a number of devices.'),
    soakSeconds: z.number(),
    approval: z.boolean(),
    thresholds: Thresholds,
  })
  .meta({
    id: 'AssignmentWave',
    examples: [{ devices: 1, upToPercent: null, soakSeconds: 300, approval: false, thresholds: defaultThresholds }],
  });

const assignmentShape = {
  id: identifier('assignment'),
  name: z.string(),
  group: identifier('group'),
  groupName: z.string(),
  channel: identifier('channel'),
  channelName: z.string(),
  module: z.string().nullable().describe('The module whose version is desired. Null for a patch set.'),
  patchSet: z.string().nullable().describe('Name of the patch set whose version is desired. Null for a module.'),
  range: z.string().describe('The range of versions.'),
  mode: AssignmentMode,
  priority: priority.describe('The assignment with the highest priority decides for a device.'),
  devicesPerMinute: devicesPerMinute.describe('Maximum number of loads requested per minute outside rollouts.'),
  waves: z.array(AssignmentWave).describe('The waves of the rollouts that promotions start.'),
  onFailure: OnFailure,
  window: ScheduleWindow.nullable(),
  createdAt: timestamp,
};

const exampleWaves = [
  { devices: 1, upToPercent: null, soakSeconds: 300, approval: false, thresholds: defaultThresholds },
  { devices: null, upToPercent: 100, soakSeconds: 60, approval: false, thresholds: defaultThresholds },
];
const exampleResponse = {
  id: exampleIdentifier('assignment'),
  name: 'edge-net',
  group: exampleIdentifier('group'),
  groupName: 'edge',
  channel: exampleIdentifier('channel'),
  channelName: 'stable',
  module: null,
  patchSet: 'net',
  range: '^2.1',
  mode: 'enforce',
  priority: 10,
  devicesPerMinute: 60,
  waves: exampleWaves,
  onFailure: 'pause',
  window: null,
  createdAt: exampleTimes.registered,
} as const;

export const Assignment = z.object(assignmentShape).meta({
  id: 'Assignment',
  description: 'The version of a module or a patch set that the devices of a group should have.',
  examples: [exampleResponse],
});
export const AssignmentPage = pageSchema('AssignmentPage', Assignment);
export const assignmentListQuery = z.strictObject({ ...pageQuery, ...orderQuery });

export const DeviceStateName = z
  .enum(deviceStates)
  .describe(
    '`satisfied`: the device has the desired version. `pending`: it will get the version. `unsatisfied`: it cannot have the version now.',
  )
  .meta({ id: 'DesiredStateName' });

const stateReason = z
  .string()
  .max(64)
  .describe(
    `Why the device does not have the desired version. If pending: ${named(pendingReasons)}. If unsatisfied: ${named(unsatisfiedReasons)}, or the outcome of its last load.`,
  )
  .meta({ examples: ['refused-image'] });

function named(reasons: readonly string[]): string {
  return reasons.map((reason) => `\`${reason}\``).join(', ');
}

const attemptShape = {
  detail: z.string().nullable().describe('More about the reason.'),
  load: identifier('load').nullable().describe('The last load that the assignment requested for the version. Null if there is none.'),
  attempts: count.describe('Number of these loads that did not succeed.'),
  nextAttemptAt: timestamp
    .nullable()
    .describe(
      'When the next load may be requested, after a load that failed or whose version the device lost. Null if there is no such load.',
    ),
};
const exampleAttempt = {
  detail: 'the signature policy released requires 1 of 1 publisher keys',
  load: exampleIdentifier('load'),
  attempts: 2,
  nextAttemptAt: exampleTimes.deadline,
};

const HeldVersion = z
  .object({
    version,
    rollout: identifier('rollout'),
    state: z
      .enum(['open', 'stopped'])
      .describe('`open`: the rollout is in progress. `stopped`: it was aborted or rolled back. Promote the version again, or withdraw it.'),
  })
  .meta({ id: 'HeldVersion', examples: [{ version: exampleVersions.new.version, rollout: exampleIdentifier('rollout'), state: 'open' }] });

export const UnmetState = z.enum(['pending', 'unsatisfied']).meta({ id: 'UnmetState' });

const UnmetDevices = z
  .object({
    state: UnmetState,
    reason: stateReason,
    devices: count.describe('Number of devices.'),
    first: z
      .array(
        z
          .object({ device: identifier('device'), deviceName: z.string(), ...attemptShape })
          .meta({ id: 'UnmetDevice', examples: [{ device: exampleIdentifier('device'), deviceName: 'router-7', ...exampleAttempt }] }),
      )
      .describe('The first 20 of these devices.'),
  })
  .meta({
    id: 'UnmetDevices',
    description: 'Devices that do not have the desired version, for the same reason.',
    examples: [
      {
        state: 'unsatisfied',
        reason: 'refused-image',
        devices: 1,
        first: [{ device: exampleIdentifier('device'), deviceName: 'router-7', ...exampleAttempt }],
      },
    ],
  });

export const AssignmentDetail = z
  .object({
    ...assignmentShape,
    desiredVersion: version
      .nullable()
      .describe('The version that devices get outside rollouts. Null if the assignment is off, or if the channel has no such version.'),
    held: z.array(HeldVersion).describe('Newer versions that their rollouts have not brought to all devices.'),
    deviceCounts: z
      .object({ satisfied: count, pending: count, unsatisfied: count })
      .describe('Number of devices in each state when they were last examined. Devices for which another assignment decides are left out.')
      .meta({ id: 'DesiredStateCounts', examples: [{ satisfied: 118, pending: 1, unsatisfied: 1 }] }),
    unmet: z.array(UnmetDevices).describe('The pending and unsatisfied devices, by reason.'),
  })
  .meta({
    id: 'AssignmentDetail',
    examples: [
      {
        ...exampleResponse,
        desiredVersion: '2.1.0',
        held: [],
        deviceCounts: { satisfied: 118, pending: 0, unsatisfied: 1 },
        unmet: [
          {
            state: 'unsatisfied',
            reason: 'refused-image',
            devices: 1,
            first: [{ device: exampleIdentifier('device'), deviceName: 'router-7', ...exampleAttempt }],
          },
        ],
      },
    ],
  });

export const NewPromotion = z
  .strictObject({
    module: contentShape.module.describe('The module of the build, with `version`. Give either this or `patchSet`.'),
    version: contentShape.version.describe('The version of the build. Required with `module`.'),
    patchSet: contentShape.patchSet.describe('The patch set. Give either this or `module` and `version`.'),
  })
  .refine(({ module, patchSet }) => (module === undefined) !== (patchSet === undefined), 'expected either module and version, or patchSet')
  .refine(({ module, version: given }) => (module === undefined) === (given === undefined), {
    path: ['version'],
    message: 'is required with module, and not allowed with patchSet',
  })
  .meta({
    id: 'NewPromotion',
    minProperties: 1,
    examples: [{ module: 'tcp', version: exampleVersions.new.version }, { patchSet: { name: 'net-2026-11', version: '1.0.0' } }],
  });

const PromotedAssignment = z
  .object({
    id: identifier('assignment'),
    name: z.string(),
    rollout: identifier('rollout').nullable().describe('The rollout that was started. Null if there is none.'),
    reason: z.string().nullable().describe('Why no rollout was started. Null if one was.'),
  })
  .meta({
    id: 'PromotedAssignment',
    examples: [{ id: exampleIdentifier('assignment'), name: 'edge-net', rollout: exampleIdentifier('rollout'), reason: null }],
  });

export const PromotionResult = z
  .object({
    ...promotionShape,
    assignments: z.array(PromotedAssignment).describe('The assignments that follow the channel and have the version in their range.'),
  })
  .meta({
    id: 'PromotionResult',
    description: 'A promotion and the rollouts that it started.',
    examples: [
      {
        ...examplePromotion,
        assignments: [{ id: exampleIdentifier('assignment'), name: 'edge-net', rollout: exampleIdentifier('rollout'), reason: null }],
      },
    ],
  });

const contentNames = {
  module: z.string().nullable().describe('The module. Null for a patch set.'),
  patchSet: z.string().nullable().describe('Name of the patch set. Null for a module.'),
};

const DesiredVersion = z
  .object({
    assignment: identifier('assignment'),
    assignmentName: z.string(),
    mode: AssignmentMode,
    ...contentNames,
    desiredVersion: version.nullable().describe('Null if the channel has no version for the assignment.'),
    installedVersion: version
      .nullable()
      .describe('Null if the module is not loaded; of a patch set: null unless the device has all its builds.'),
    state: DeviceStateName,
    reason: stateReason.nullable().describe('Why the device does not have the desired version. Null if it has.'),
    ...attemptShape,
  })
  .meta({
    id: 'DesiredVersion',
    description: 'The version that an assignment gives to a device, and the version that the device has.',
    examples: [
      {
        assignment: exampleIdentifier('assignment'),
        assignmentName: 'edge-tcp',
        mode: 'enforce',
        module: 'tcp',
        patchSet: null,
        desiredVersion: exampleVersions.new.version,
        installedVersion: exampleVersions.old.version,
        state: 'unsatisfied',
        reason: 'refused-image',
        ...exampleAttempt,
      },
    ],
  });

const OverriddenAssignment = z
  .object({
    assignment: identifier('assignment'),
    assignmentName: z.string(),
    by: identifier('assignment'),
    byName: z.string(),
  })
  .meta({
    id: 'OverriddenAssignment',
    description: 'An assignment of a group of the device that does not decide, and the one that precedes it.',
    examples: [
      {
        assignment: exampleIdentifier('assignment'),
        assignmentName: 'all-tcp',
        by: exampleIdentifier('assignment'),
        byName: 'edge-tcp',
      },
    ],
  });

export const DeviceDesiredState = z
  .object({
    device: identifier('device'),
    deviceName: z.string(),
    versions: z.array(DesiredVersion).describe('One for each assignment that decides, in the order of their precedence.'),
    overridden: z.array(OverriddenAssignment).describe('The other assignments of the groups of the device that are not off.'),
  })
  .meta({
    id: 'DeviceDesiredState',
    description: 'The desired versions of a device against its installed ones.',
    examples: [
      {
        device: exampleIdentifier('device'),
        deviceName: 'router-7',
        versions: [
          {
            assignment: exampleIdentifier('assignment'),
            assignmentName: 'edge-tcp',
            mode: 'enforce',
            module: 'tcp',
            patchSet: null,
            desiredVersion: exampleVersions.new.version,
            installedVersion: exampleVersions.new.version,
            state: 'satisfied',
            reason: null,
            detail: null,
            load: null,
            attempts: 0,
            nextAttemptAt: null,
          },
        ],
        overridden: [],
      },
    ],
  });
