// Devices in the API.

import { z } from 'zod';
import { exampleDeviceState, exampleViolation, MemoryMap, ModuleTableEntry, PageFault } from '../../protocol/device-state.ts';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { DeviceId, DisplayName, exampleIdentifier, Labels } from '../../protocol/identifiers.ts';
import { count, identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { identifierQuery, labelQuery, moduleQuery, orderQuery, rangeQuery, versionQuery } from '../http/list-schemas.ts';
import { deviceStatuses } from './repository.ts';

export const deviceParameter = z.object({ device: identifier('device') });
export const NewDevice = z
  .strictObject({
    name: DisplayName,
    labels: Labels.default({}),
    ramPages: z.int().min(16).max(65_536).default(256).describe('Executable memory, in pages of 4 KiB.'),
    host: z
      .string()
      .max(64)
      .optional()
      .describe('Identifier or name of the host to place the device on; without it, the connected host with the most room.'),
  })
  .meta({ id: 'NewDevice', examples: [{ name: 'router-8', labels: { zone: 'north' }, ramPages: 256 }] });

/** Labels as they are stored: older versions of the service accepted some that requests may not have any more. */
const CurrentLabelValues = z.record(z.string(), z.string());

const DeviceStatus = z
  .enum(deviceStatuses)
  .describe('`attaching`: its host is there and the device is coming up. `unreachable`: its host has not been heard of for too long.')
  .meta({ id: 'DeviceStatus' });

/** One module of a device that is not what the service knew of. */
const Drift = z
  .object({
    module: z.string(),
    expected: version.nullable().describe('The version that the service knew of; null where it knew of none.'),
    observed: version.nullable().describe('The version that the device reported; null where its module table does not name the module.'),
    since: timestamp.describe('When the service received the report.'),
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
  labels: { zone: 'north' },
  host: exampleIdentifier('host'),
  status: 'connected',
  modules: { tcp: exampleVersions.new.version },
  drift: [],
  ramPages: 256,
  createdAt: exampleTimes.registered,
};

export const Device = z
  .object({
    id: identifier('device'),
    name: z.string(),
    labels: CurrentLabelValues,
    host: identifier('host'),
    status: DeviceStatus,
    modules: z
      .record(z.string(), version)
      .describe('The version of each module in its module table, as it last reported; empty where it has not since its host started.'),
    drift: z
      .array(Drift)
      .describe(
        'Modules of which the device reported something else than the service knew, as after a restored backup. An entry goes when a load of the module succeeds, when a load is refused because the device has its version, when the device is again as expected, or when the module is put back after a restart of the host.',
      ),
    ramPages: count,
    createdAt: timestamp,
  })
  .meta({ id: 'Device', description: 'One simulated computer.', examples: [exampleDevice] });

export const DeviceDetail = Device.extend({
  reportedAt: timestamp
    .nullable()
    .describe(
      'When the device reported what follows, by its own clock, but no later than the report arrived; null where it has not reported since its host started.',
    ),
  attachFailure: z.string().nullable().describe('What could not be brought back when its host restarted.'),
  moduleTable: z.array(ModuleTableEntry).describe('Module name → the version in memory.'),
  memoryMap: MemoryMap.nullable(),
  abiViolations: count.describe('Programs that were found to hold on to code that had gone, since the host of the device started.'),
}).meta({
  id: 'DeviceDetail',
  examples: [
    {
      ...exampleDevice,
      reportedAt: exampleDeviceState.at,
      attachFailure: null,
      moduleTable: exampleDeviceState.moduleTable,
      memoryMap: exampleDeviceState.memoryMap,
      abiViolations: exampleDeviceState.abiViolations.total,
    },
  ],
});
export const DevicePage = pageSchema('DevicePage', Device);

export const NewDeviceLabels = z
  .strictObject({ labels: Labels })
  .meta({ id: 'NewDeviceLabels', examples: [{ labels: { zone: 'north' } }] });

export const DeviceLabels = z
  .object({ labels: CurrentLabelValues })
  .meta({ id: 'DeviceLabels', description: 'The labels of a device.', examples: [{ labels: { zone: 'north' } }] });

/** Devices that one query may name. */
const namedLimit = 100;

export const deviceQuery = z.strictObject({
  ...pageQuery,
  id: z
    .union(
      [DeviceId.transform((one): string[] => [one]), z.array(DeviceId).max(namedLimit)],
      `must be the identifier of a device, at most ${namedLimit} times`,
    )
    .optional()
    .describe(`Only the devices with these identifiers; may be repeated, up to ${namedLimit} times.`)
    .meta({ 'x-examples': { device: { value: [exampleIdentifier('device')] } } }),
  sort: z
    .enum(['createdAt', 'name'])
    .default('createdAt')
    .describe('What the list is in the order of.')
    .meta({ examples: ['name'] }),
  ...orderQuery,
  ...rangeQuery,
  label: labelQuery.describe('Only devices with this label, as `key=value`; may be repeated.'),
  host: DisplayName.optional()
    .describe('Only devices of the host with this identifier or name.')
    .meta({ examples: ['rack-1'] }),
  status: DeviceStatus.optional()
    .describe('Only devices of this status.')
    .meta({ examples: ['connected'] }),
  module: moduleQuery.describe('Only devices with this module in memory.'),
  version: versionQuery.describe('Only devices with this version in memory, of the module if one is given.'),
  name: DisplayName.optional()
    .describe('Only devices whose names begin so.')
    .meta({ examples: ['router-'] }),
});

export const AbiViolation = z
  .object({
    program: identifier('program'),
    programName: z.string(),
    module: z.string(),
    version: version.describe('The version whose address the program keeps.'),
    address: z.string(),
    page: count.describe('Number of the page at the address.'),
    flag: PageFault.describe('Why the fetch faulted: the page was deleted, marked invalid, or marked NX.'),
    firstFaultAt: timestamp.describe('When the program first faulted there.'),
    lastFaultAt: timestamp.describe('When it last did, as the device last reported.'),
    faults: count.describe('How often it has.'),
  })
  .meta({
    id: 'AbiViolation',
    description: 'A finding of the ABI test: a program has called code that had gone, by an address that it keeps.',
    examples: [{ ...exampleViolation, programName: 'abi-test' }],
  });
export const AbiViolationPage = pageSchema('AbiViolationPage', AbiViolation);
export const abiViolationQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  program: identifierQuery('program').describe('Only violations of this program.'),
  module: moduleQuery.describe('Only violations that called this module.'),
});
