// The module history in the API.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from '../../protocol/examples.ts';
import { exampleIdentifier, ModuleName } from '../../protocol/identifiers.ts';
import { Invalidation } from '../../protocol/load-report.ts';
import { actor, count, identifier, pageQuery, pageSchema, timestamp, version } from '../http/common-schemas.ts';
import { orderQuery, rangeQuery, timeQuery } from '../http/list-schemas.ts';

export const historyParameters = z.object({
  device: identifier('device'),
  module: ModuleName.describe('Name of the module.'),
});

export const HistoryEntry = z
  .object({
    module: z.string().meta({ examples: ['tcp'] }),
    version,
    image: z.string().describe('SHA-256 of the image.'),
    load: identifier('load').nullable().describe('The load that brought the version in; null where none did, see `source`.'),
    source: z
      .enum(['load', 'restored', 'observed'])
      .describe(
        '`load`: a load brought the version in. `restored`: it was put back after its host restarted. `observed`: the device reported it, and the service knows of no load that brought it in (drift).',
      )
      .meta({ id: 'HistorySource' }),
    requestedBy: actor,
    address: z.string().describe('Its first address.'),
    lastAddress: z.string().describe('The address of the last byte of its last page.'),
    pages: count.describe('Pages of 4096 bytes.'),
    installedAt: timestamp.describe(
      'When the module table has named it, RFC 3339, UTC: by the clock of the device, where it tells, and not after its report came, before the load was requested, or before the version that it replaced had entered.',
    ),
    removedAt: timestamp.nullable().describe('When the module table named it no more; null while it does.'),
    removalCause: z
      .enum(['replaced', 'replaced-interrupting', 'reverted', 'reboot', 'drifted'])
      .nullable()
      .describe(
        '`replaced`: by another version, when nobody was inside. `replaced-interrupting`: those who were inside were interrupted. `reverted`: those inside the version before had not left in time, so that one was put back. `reboot`: its host restarted. `drifted`: the device reported another version, or none; `removedAt` is when the service received that.',
      ),
    replacedByLoad: identifier('load').nullable().describe('The load whose version took its place; null where there is none.'),
    invalidation: Invalidation.nullable().describe(
      'How its pages were invalidated when it left; null where they were not, or it is not known.',
    ),
    interrupted: count.nullable().describe('Accesses that were interrupted when it was replaced.'),
  })
  .meta({
    id: 'HistoryEntry',
    description: 'One stay of a version in the module table of a device. Stays of one module on one device never overlap.',
    examples: [
      {
        module: 'tcp',
        ...exampleVersions.old,
        load: exampleIdentifier('load'),
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

/** Times of the history are whole milliseconds: what was there within one was there at its beginning. */
export const modulesAtQuery = z.strictObject({
  ...pageQuery,
  at: timeQuery('earlier').optional().describe('The moment that is asked for, RFC 3339; now where it is left out.'),
});

export const DeviceOfBuild = z
  .object({
    device: identifier('device'),
    deviceName: z.string(),
    firstInstalledAt: timestamp.describe('When its module table first named the build.'),
    lastInstalledAt: timestamp.describe('When it last began to.'),
    removedAt: timestamp.nullable().describe('When it last ceased to; null where it names the build now.'),
    residencies: z.int().positive().describe('How often the build has been in its module table, restarts of the host counted.'),
  })
  .meta({
    id: 'DeviceOfBuild',
    description: 'A device that has, or has had, a build in its module table.',
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
    .describe('`true`: only devices that have it in their module tables now. `false`: only those that had it and do not now.'),
});
