// The versions of a module to which devices roll back.

import type { Connection } from '../database/connection.ts';
import type { SelectedDevice } from '../devices/selection.ts';
import { HistoryRecords } from '../history/repository.ts';
import { readVersionStacks, searchedVersions, versionsOf } from '../history/version-stack.ts';
import { BuildRecords } from '../modules/repository.ts';
import type { Choice } from './choice.ts';

/** Returns the rollback target of each device. @param to A version that the devices had; null: the version before each device's current one. */
export async function chooseModuleTargets(
  connection: Connection,
  devices: readonly SelectedDevice[],
  { module, to }: { readonly module: string; readonly to: string | null },
): Promise<Choice[]> {
  const ids = devices.map(({ id }) => id);
  const changes =
    to === null ? await findPreviousVersions(connection, ids, module) : await findRequestedVersion(connection, ids, module, to);
  const versions = [...new Set([...changes.values()].map(({ target }) => target))];
  const builds = new Map((await new BuildRecords(connection).findMany(module, versions)).map((build) => [build.version, build]));
  const reason =
    to === null ? `no previous version of ${module} among the last ${searchedVersions} loads` : `${module}@${to} was never installed`;
  return devices.map((device): Choice => {
    const change = changes.get(device.id);
    const build = builds.get(change?.target ?? '');
    if (change === undefined || build === undefined) return { kind: 'missing', device, reason };
    const { current, target } = change;
    if (target === current) return { kind: 'unchanged', device, version: target };
    return { kind: 'target', device, content: { kind: 'build', build }, changes: [{ module, current, target }] };
  });
}

/** `current` is null if the module was unloaded. */
type VersionChange = { readonly current: string | null; readonly target: string };

/** Returns the previous version of each device that has one: after an unload, the version that was unloaded. */
async function findPreviousVersions(connection: Connection, ids: readonly string[], module: string): Promise<Map<string, VersionChange>> {
  const stacks = await readVersionStacks(connection, ids, module);
  return new Map(
    [...stacks].flatMap(([id, { versions: stack }]): (readonly [string, VersionChange])[] => {
      const [latest, previous] = versionsOf(stack).toReversed();
      if (latest === undefined) return [];
      if (stack.at(-1) === null) return [[id, { current: null, target: latest }]];
      return previous === undefined ? [] : [[id, { current: latest, target: previous }]];
    }),
  );
}

/** Returns the requested version for each device that had it. */
async function findRequestedVersion(
  connection: Connection,
  ids: readonly string[],
  module: string,
  target: string,
): Promise<Map<string, VersionChange>> {
  const had = new Set(await new HistoryRecords(connection).findDevicesThatHad(ids, module, target));
  const current = await new HistoryRecords(connection).loadedVersions(ids, module, 1);
  return new Map(
    current.flatMap(({ deviceId, version, isUnloaded }) => {
      return had.has(deviceId) ? [[deviceId, { current: isUnloaded ? null : version, target }] as const] : [];
    }),
  );
}
