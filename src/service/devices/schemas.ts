// Schemas of devices, their labels and their ABI violations.

import { z } from 'zod';
import { exampleDeviceState, exampleViolation, MemoryMap, ModuleTableEntry, PageFault } from '../../protocol/device-state.ts';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { DeviceId, DisplayName, exampleIdentifier, isDeviceId, LabelKey, Labels } from '../../protocol/identifiers.ts';
import { groupQuery } from '../groups/schemas.ts';
import { Decommissioned } from '../hosts/decommissioning-schemas.ts';
import { count, identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { identifierQuery, labelQuery, moduleQuery, orderQuery, rangeQuery, selectorQuery, versionQuery } from '../http/list-schemas.ts';
import { deviceLinks, exampleLinks } from './module-graph-schemas.ts';
import { deviceStatuses } from './repository.ts';
import { requireSelector, selectorShape } from './selection-schemas.ts';

/** The device in a path. A path with a malformed text gets 404. */
export const pathDevice = z
  .string()
  .max(64)
  .describe('Identifier or name of a device. A text in the form of an identifier is an identifier; a name finds no decommissioned device.')
  .meta({ examples: [exampleIdentifier('device')] });
export const deviceParameter = z.object({ device: pathDevice });

/** A name without the form of an identifier, so that paths and requests can name the device. Hosts may register devices with other names. */
const NewDeviceName = DisplayName.refine((name) => !isDeviceId(name), 'has the form of an identifier: choose another name');
export const NewDevice = z
  .strictObject({
    name: NewDeviceName,
    labels: Labels.default({}),
    ramPages: z.int().min(16).max(65_536).default(256).describe('Executable memory in pages of 4 KiB.'),
    host: z
      .string()
      .max(64)
      .optional()
      .describe('Identifier or name of the host to place the device on. Default: the connected host with the largest free capacity.'),
  })
  .meta({ id: 'NewDevice', examples: [{ name: 'router-8', labels: { zone: 'north' }, ramPages: 256 }] });

/** Stored labels. Older versions of the service accepted labels that requests may no longer contain. */
const CurrentLabelValues = z.record(z.string(), z.string());

const DeviceStatus = z
  .enum(deviceStatuses)
  .describe(
    '`connected`: its host is connected and the device is attached. `attaching`: its host is connected and the device is booting. `unreachable`: the service received nothing from its host within the timeout. `decommissioned`: an operator has removed it from the fleet.',
  )
  .meta({ id: 'DeviceStatus' });

/** A module whose reported version differs from the version that the service expected. */
const Drift = z
  .object({
    module: z.string(),
    expected: version.nullable().describe('The version that the service expected. Null if it expected none.'),
    observed: version.nullable().describe('The version that the device reported. Null if the module is not in its module table.'),
    since: timestamp.describe('When the service received the report that differs.'),
  })
  .meta({
    id: 'Drift',
    examples: [
      { module: 'tcp', expected: exampleVersions.old.version, observed: exampleVersions.new.version, since: exampleTimes.completed },
    ],
  });

const exampleDevice = {
  id: exampleIdentifier('device'),
  name: 'router-7',
  registeredName: null,
  labels: { zone: 'north' },
  host: exampleIdentifier('host'),
  status: 'connected',
  modules: { tcp: exampleVersions.new.version },
  drift: [],
  ramPages: 256,
  createdAt: exampleTimes.registered,
  movingTo: null,
  decommissioned: null,
};

export const Device = z
  .object({
    id: identifier('device'),
    name: z.string(),
    registeredName: z
      .string()
      .nullable()
      .describe('The name that its host registers it with, if it was renamed. Null if that is its name.'),
    labels: CurrentLabelValues,
    host: identifier('host'),
    status: DeviceStatus,
    modules: z
      .record(z.string(), version)
      .describe('Installed version by module name, from the last report. Empty if the device has not reported since its host started.'),
    drift: z
      .array(Drift)
      .describe(
        'Modules whose reported version differs from the expected one, for example after the database was restored from a backup. An entry is removed when a load of the module succeeds or is refused because the device already has the version, when the device reports the expected version, or when the module is restored after a restart of the host.',
      ),
    ramPages: count,
    createdAt: timestamp,
    movingTo: identifier('host').nullable().describe('The host that it moves to when its host has dropped it. Null if it does not move.'),
    decommissioned: Decommissioned.nullable().describe('Null if it is not decommissioned.'),
  })
  .meta({ id: 'Device', description: 'A simulated computer with its own memory, processor and module table.', examples: [exampleDevice] });

export const DeviceDetail = Device.extend({
  reportedAt: timestamp
    .nullable()
    .describe(
      'When the device took the state that it last reported, by its own clock, but not later than the service received it. Null if it has not reported since its host started.',
    ),
  attachFailure: z
    .string()
    .nullable()
    .describe('Why the device could not be restored completely when its host last restarted. Null if it was.'),
  moduleTable: z.array(ModuleTableEntry).describe('The installed version of each module, its address and its reference count.'),
  ...deviceLinks,
  memoryMap: MemoryMap.nullable(),
  abiViolations: count.describe(
    'Number of ABI violations since the host of the device started. `GET /v1/devices/{device}/abi-violations` lists them.',
  ),
}).meta({
  id: 'DeviceDetail',
  examples: [
    {
      ...exampleDevice,
      reportedAt: exampleDeviceState.at,
      attachFailure: null,
      moduleTable: exampleDeviceState.moduleTable,
      ...exampleLinks,
      memoryMap: exampleDeviceState.memoryMap,
      abiViolations: exampleDeviceState.abiViolations.total,
    },
  ],
});
export const DeviceChanges = z.strictObject({ name: NewDeviceName }).meta({ id: 'DeviceChanges', examples: [{ name: 'router-north-7' }] });
export const DevicePage = pageSchema('DevicePage', Device);

export const NewDeviceLabels = z
  .strictObject({ labels: Labels })
  .meta({ id: 'NewDeviceLabels', examples: [{ labels: { zone: 'north' } }] });

export const DeviceLabels = z
  .object({ labels: CurrentLabelValues })
  .meta({ id: 'DeviceLabels', description: 'The labels of a device.', examples: [{ labels: { zone: 'north' } }] });

/** Maximum number of label keys that one request removes. */
const removalLimit = 100;

export const LabelEdit = requireSelector(
  z.strictObject({
    ...selectorShape,
    set: Labels.default({}).describe('Labels to set on each device: new ones, and new values of existing ones.'),
    remove: z
      .array(LabelKey)
      .max(removalLimit)
      .default([])
      .describe('Keys of labels to remove from each device. Devices without them are not changed.'),
    dryRun: z.boolean().default(false).describe('Whether to return which devices would change, and change nothing.'),
  }),
)
  .refine(({ set, remove }) => Object.keys(set).length + remove.length > 0, 'expected a label or more in set or remove')
  .refine(({ set, remove }) => remove.every((key) => set[key] === undefined), {
    path: ['remove'],
    message: 'must not contain a key of set',
  })
  .meta({
    id: 'LabelEdit',
    // The devices and the labels are required, each in one of several members.
    minProperties: 2,
    examples: [{ selector: 'rack=seven', set: { zone: 'north' }, remove: ['beta'] }],
  });

export const LabelEditResult = z
  .object({
    devices: z.array(identifier('device')).describe('The devices whose labels changed, or would change with `dryRun`.'),
    unchanged: count.describe('Number of other selected devices: they have these labels already.'),
    dryRun: z.boolean(),
  })
  .meta({ id: 'LabelEditResult', examples: [{ devices: [exampleIdentifier('device')], unchanged: 1, dryRun: false }] });

/** Maximum number of device identifiers in one query. */
const namedLimit = 100;

export const deviceQuery = z.strictObject({
  ...pageQuery,
  id: z
    .union(
      [DeviceId.transform((one): string[] => [one]), z.array(DeviceId).max(namedLimit)],
      `must be the identifier of a device, given up to ${namedLimit} times`,
    )
    .optional()
    .describe(`Only the device with this identifier. Repeatable up to ${namedLimit} times.`)
    .meta({ 'x-examples': { device: { value: [exampleIdentifier('device')] } } }),
  sort: z
    .enum(['createdAt', 'name'])
    .default('createdAt')
    .describe('Property that the list is sorted by.')
    .meta({ examples: ['name'] }),
  ...orderQuery,
  ...rangeQuery,
  label: labelQuery.describe('Only devices with this label, as `key=value`. If repeated, only devices with all of the labels.'),
  selector: selectorQuery.describe(
    'Only devices that match this label selector. Combined with `label` or `group`, devices that match all.',
  ),
  group: groupQuery.describe('Only devices of the group with this identifier or name.'),
  host: DisplayName.optional()
    .describe('Only devices of the host with this identifier or name.')
    .meta({ examples: ['rack-1'] }),
  status: DeviceStatus.optional()
    .describe(
      'Only devices with this status. Default: all but decommissioned ones; with `id`, all. Lists of decommissioned devices are sorted by `createdAt`.',
    )
    .meta({ examples: ['connected'] }),
  module: moduleQuery.describe('Only devices with this module in the module table.'),
  version: versionQuery.describe('Only devices with this version in the module table; of `module`, if given.'),
  name: DisplayName.optional()
    .describe('Only the device with this name.')
    .meta({ examples: ['router-7'] }),
  namePrefix: DisplayName.optional()
    .describe('Only devices whose name starts with this text.')
    .meta({ examples: ['router-'] }),
});

const { at: firstFaultAt, lastAt: lastFaultAt, ...facts } = exampleViolation;

export const AbiViolation = z
  .object({
    program: identifier('program'),
    programName: z.string(),
    module: z.string(),
    version: version.describe('The version that the stale address belonged to.'),
    address: z.string().describe('The stale address, hexadecimal.'),
    page: count.describe('Number of the page that contains the address.'),
    flag: PageFault.describe(
      'Why the fetch faulted. `not-present`: the page was deleted. `invalid`: it was marked invalid. `nx`: it was marked NX.',
    ),
    firstFaultAt: timestamp.describe('When the program first faulted at the address.'),
    lastFaultAt: timestamp.describe('When the program last faulted at the address, from the last report.'),
    faults: count.describe('Number of faults of the program at the address.'),
  })
  .meta({
    id: 'AbiViolation',
    description: 'A finding of the ABI test: a program called removed code at a stale address.',
    examples: [{ ...facts, programName: 'abi-test', firstFaultAt, lastFaultAt }],
  });
export const AbiViolationPage = pageSchema('AbiViolationPage', AbiViolation);
export const abiViolationQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  program: identifierQuery('program').describe('Only violations of this program.'),
  module: moduleQuery.describe('Only violations of calls to this module.'),
});
