// Devices, their history and their hosts in the API.

import { z } from 'zod';
import { MemoryMap, ModuleTableEntry } from '../../protocol/device-state.ts';
import { DisplayName, Labels } from '../../protocol/identifiers.ts';
import { count, identifier, pageOf, pageQuery, timestamp, version } from './common.ts';
import { labelQuery, orderQuery, rangeQuery } from './lists.ts';

export const deviceParameter = z.object({ device: identifier('device') });
export const historyParameters = z.object({ device: identifier('device'), module: z.string() });

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
  .meta({ id: 'NewDevice', examples: [{ name: 'router-7', labels: { zone: 'north' }, ramPages: 256 }] });

const DeviceStatus = z
  .enum(['connected', 'attaching', 'unreachable'])
  .describe('`attaching`: its host is there and the device is coming up. `unreachable`: its host has not been heard of for too long.');

export const Device = z
  .object({
    id: identifier('device'),
    name: z.string(),
    labels: z.record(z.string(), z.string()),
    host: identifier('host'),
    status: DeviceStatus,
    ramPages: count,
    createdAt: timestamp,
  })
  .meta({ id: 'Device', description: 'One simulated computer.' });

export const DeviceDetail = Device.extend({
  reportedAt: timestamp.nullable().describe('When the device reported what follows; null where it has not since its host started.'),
  attachFailure: z.string().nullable().describe('What could not be brought back when its host restarted.'),
  moduleTable: z.array(ModuleTableEntry).describe('Module name → the version in memory.'),
  memoryMap: MemoryMap.nullable(),
}).meta({ id: 'DeviceDetail' });
export const DevicePage = pageOf('DevicePage', Device);

export const DeviceLabels = z.strictObject({ labels: Labels }).meta({ id: 'DeviceLabels', examples: [{ labels: { zone: 'north' } }] });

export const deviceQuery = z.strictObject({
  ...pageQuery,
  sort: z.enum(['createdAt', 'name']).default('createdAt'),
  ...orderQuery,
  ...rangeQuery,
  label: labelQuery.describe('Only devices with this label, as `key=value`; may be repeated.'),
  host: z.string().max(64).optional().describe('Only devices of the host with this identifier or name.'),
  status: DeviceStatus.optional(),
  module: z.string().max(64).optional().describe('Only devices with this module in memory.'),
  version: version.optional().describe('Only devices with this version in memory, of the module if one is given.'),
  name: DisplayName.optional().describe('Only devices whose names begin so.'),
});

export const HistoryEntry = z
  .object({
    version,
    image: z.string(),
    load: identifier('load')
      .nullable()
      .describe('The load that brought the version in; null where it was put back after its host restarted.'),
    address: z.string(),
    pages: count,
    enteredAt: timestamp,
    leftAt: timestamp.nullable().describe('Null while it is in memory.'),
    leftBy: z.enum(['replaced', 'replaced-interrupting', 'reboot']).nullable(),
    interrupted: count.nullable().describe('Accesses that were interrupted when it was replaced.'),
  })
  .meta({ id: 'HistoryEntry', description: 'One stay of a version in the memory of a device.' });
export const HistoryPage = pageOf('HistoryPage', HistoryEntry);
export const historyQuery = z.strictObject({ ...pageQuery, ...orderQuery, ...rangeQuery });

const Host = z
  .object({
    id: identifier('host'),
    name: z.string(),
    status: z.enum(['connected', 'unreachable']).describe('`unreachable`: it has not been heard of for too long.'),
    unreachableSince: timestamp.nullable(),
    devices: count,
    capacity: count,
    registeredAt: timestamp,
  })
  .meta({ id: 'Host', description: 'A process that runs devices.' });
export const HostPage = pageOf('HostPage', Host);

export const hostQuery = z.strictObject({
  ...pageQuery,
  sort: z
    .enum(['registeredAt', 'name'])
    .default('registeredAt')
    .describe('A host that registers again while a list by `registeredAt` is read goes to its newest end.'),
  ...orderQuery,
  status: Host.shape.status.optional(),
});
