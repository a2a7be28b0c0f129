// Schemas of the module history.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { exampleIdentifier, ModuleName } from '../../protocol/identifiers.ts';
import { Invalidation } from '../../protocol/load-report.ts';
import { actor, count, identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { orderQuery, rangeQuery, timeQuery } from '../http/list-schemas.ts';

/** The patch set of a load. */
export const LoadedPatchSet = z.object({ id: identifier('patch set'), name: z.string(), version }).meta({ id: 'LoadedPatchSet' });

export const historyParameters = z.object({
  device: identifier('device'),
  module: ModuleName.describe('Name of the module.'),
});

export const HistoryEntry = z
  .object({
    module: z.string().meta({ examples: ['tcp'] }),
    version,
    image: z.string().describe('SHA-256 of the image.'),
    load: identifier('load').nullable().describe('The load that installed the version. Null if `source` is not `load`.'),
    patchSet: LoadedPatchSet.nullable().describe(
      'The patch set that the load installed; of a rollback, the patch set that it reverted. Null if the load is of another kind, or none.',
    ),
    source: z
      .enum(['load', 'restored', 'observed'])
      .describe(
        '`load`: a load installed the version. `restored`: the version was restored after the host restarted. `observed`: the device reported the version, and no load installed it (drift).',
      )
      .meta({ id: 'HistorySource' }),
    requestedBy: actor,
    address: z.string().describe('Address of the first byte of its first page.'),
    lastAddress: z.string().describe('Address of the last byte of its last page.'),
    pages: count.describe('Number of pages of 4096 bytes.'),
    installedAt: timestamp.describe(
      'When the version was installed, by the clock of the device. Adjusted to be no later than the receipt of the report, and no earlier than the request of the load and the residency before.',
    ),
    removedAt: timestamp.nullable().describe('When the version was removed from the module table. Null if it is installed.'),
    removalCause: z
      .enum(['replaced', 'replaced-interrupting', 'unloaded', 'reverted', 'reboot', 'drifted', 'moved', 'decommissioned'])
      .nullable()
      .describe(
        '`replaced`: another version replaced it, and no access was interrupted. `replaced-interrupting`: another version replaced it and interrupted the accesses inside it. `unloaded`: a load removed it. `reverted`: its load failed after the swap, and the previous version was restored. `reboot`: the host restarted. `drifted`: the device reported another version or none; `removedAt` is when the service received the report. Null if it is installed.',
      ),
    replacedByLoad: identifier('load').nullable().describe('The load that replaced or unloaded the version. Null if no load did.'),
    invalidation: Invalidation.nullable().describe(
      'How its pages were invalidated when it was removed. Null if they were not, or if unknown.',
    ),
    interrupted: count
      .nullable()
      .describe(
        'Number of accesses that were interrupted when it was replaced or unloaded. Null if it is installed, or if unknown, as for a member of a patch set that interrupted accesses.',
      ),
  })
  .meta({
    id: 'HistoryEntry',
    description:
      'One residency: a period in which a version was in the module table of a device. Residencies of a module on a device never overlap.',
    examples: [
      {
        module: 'tcp',
        ...exampleVersions.old,
        load: exampleIdentifier('load'),
        patchSet: { id: exampleIdentifier('patch set'), name: 'net-2026-11', version: '1.0.0' },
        source: 'load',
        requestedBy: exampleIdentifier('key'),
        lastAddress: '0x1fff',
        installedAt: exampleTimes.installed,
        removedAt: exampleTimes.completed,
        removalCause: 'replaced-interrupting',
        replacedByLoad: exampleIdentifier('load'),
        invalidation: 'nx',
        interrupted: 4,
      },
    ],
  });
export const HistoryPage = pageSchema('HistoryPage', HistoryEntry);
export const historyQuery = z.strictObject({ ...pageQuery, ...orderQuery, ...rangeQuery });

/** Times in the history are whole milliseconds, so `at` is rounded down to one. */
export const modulesAtQuery = z.strictObject({
  ...pageQuery,
  at: timeQuery('earlier').optional().describe('Point in time (RFC 3339). Default: now.'),
});

export const DeviceOfBuild = z
  .object({
    device: identifier('device'),
    deviceName: z.string(),
    firstInstalledAt: timestamp.describe('When the build was first installed on the device.'),
    lastInstalledAt: timestamp.describe('When the build was last installed on the device.'),
    removedAt: timestamp.nullable().describe('When the build was last removed. Null if it is installed.'),
    residencies: z
      .int()
      .positive()
      .describe('Number of residencies of the build on the device. Each restart of the host begins a new one.'),
  })
  .meta({
    id: 'DeviceOfBuild',
    description: 'A device that a build is or was installed on.',
    examples: [
      {
        device: exampleIdentifier('device'),
        deviceName: 'router-7',
        firstInstalledAt: exampleTimes.completed,
        lastInstalledAt: exampleTimes.completed,
        removedAt: null,
        residencies: 1,
      },
    ],
  });
export const DeviceOfBuildPage = pageSchema('DeviceOfBuildPage', DeviceOfBuild);

export const devicesOfBuildQuery = z.strictObject({
  ...pageQuery,
  running: z
    .string()
    .refine((text) => text === 'true' || text === 'false', 'must be true or false')
    .transform((text) => text === 'true')
    .meta({ type: 'boolean', 'x-examples': { running: { value: true } } })
    .optional()
    .describe('`true`: only devices that have the build installed now. `false`: only devices that had it and no longer do. Default: both.'),
});
