// The loads of patch sets that devices have not rolled back yet, from the version stacks of the modules.

import type { Connection } from '../database/connection.ts';
import { HistoryRecords, type LoadedVersion } from '../history/repository.ts';
import { readVersionStacks, type VersionStack } from '../history/version-stack.ts';
import { PatchSetRecords } from '../patch-sets/repository.ts';

/** The stacks of a device, by module. */
export type DeviceStacks = ReadonlyMap<string, VersionStack>;

/** A load of a patch set on a device, of which a version or more is not reverted. */
export type SetLoad = {
  readonly deviceId: string;
  readonly loadId: string;
  readonly patchSet: { readonly id: string; readonly name: string; readonly version: string };
  readonly installedAt: Date;
};

/** A module that a load of a patch set changed. */
export type SetChange = {
  readonly module: string;
  /** The version that the load installed. */
  readonly version: string;
  /** The version before; null: the module was not in memory. */
  readonly previous: string | null;
};

/** Returns the stacks of these modules, by device. */
export async function readDeviceStacks(
  connection: Connection,
  deviceIds: readonly string[],
  modules: readonly string[],
): Promise<Map<string, DeviceStacks>> {
  const stacks = new Map<string, Map<string, VersionStack>>(deviceIds.map((id) => [id, new Map()]));
  for (const module of modules)
    for (const [id, stack] of await readVersionStacks(connection, deviceIds, module)) stacks.get(id)?.set(module, stack);
  return stacks;
}

/** Returns the versions of a stack that are not reverted. The first version of a module is reverted once it is unloaded. */
export function effectiveVersions({ versions }: VersionStack): readonly (LoadedVersion | null)[] {
  const [top, version, below] = versions.toReversed();
  const isFirstUnloaded = top === null && version !== undefined && version !== null && below === null;
  return isFirstUnloaded ? versions.slice(0, -2) : versions;
}

/** Returns the loads of patch sets of which a version or more is not reverted on a device, latest first. */
export function setLoadsOf(stacks: DeviceStacks): SetLoad[] {
  const loads = new Map<string, SetLoad>();
  for (const stack of stacks.values())
    for (const version of effectiveVersions(stack)) {
      if (version === null || version.loadId === null || version.patchSet === null) continue;
      const { deviceId, loadId, patchSet, installedAt } = version;
      const known = loads.get(loadId);
      if (known === undefined || installedAt < known.installedAt) loads.set(loadId, { deviceId, loadId, patchSet, installedAt });
    }
  return [...loads.values()].toSorted(
    (left, right) => right.installedAt.getTime() - left.installedAt.getTime() || (left.loadId < right.loadId ? 1 : -1),
  );
}

/** Returns the changes of loads of patch sets, by load, sorted by module. Members that a load left as they were are omitted. */
export async function readSetChanges(
  connection: Connection,
  loads: readonly SetLoad[],
  modules: readonly string[],
): Promise<Map<string, SetChange[]>> {
  const changes = new Map<string, SetChange[]>(loads.map(({ loadId }) => [loadId, []]));
  for (const module of modules) {
    const versions = await new HistoryRecords(connection).loadedOrRemoved(loads, module);
    const removed = new Map(versions.map(({ replacedByLoadId, version }) => [replacedByLoadId, version]));
    const loaded = new Map(versions.flatMap(({ loadId, version }) => (loadId === null ? [] : [[loadId, version] as const])));
    for (const [loadId, version] of loaded) changes.get(loadId)?.push({ module, version, previous: removed.get(loadId) ?? null });
  }
  return changes;
}

/** Returns the versions to which these devices may return by the next rollbacks of each patch set. @param rollbacks Number of rollbacks. */
export async function findVersionsBeforeSets(
  connection: Connection,
  deviceIds: readonly string[],
  rollbacks: number,
): Promise<{ readonly module: string; readonly version: string }[]> {
  const modules = await new PatchSetRecords(connection).modulesOf(null);
  const stacks = await readDeviceStacks(connection, deviceIds, modules);
  const loads = [...stacks.values()].flatMap((ofDevice) => {
    const bySet = Map.groupBy(setLoadsOf(ofDevice), ({ patchSet }) => patchSet.name);
    return [...bySet.values()].flatMap((ofSet) => ofSet.slice(0, rollbacks));
  });
  const changes = [...(await readSetChanges(connection, loads, modules)).values()].flat();
  return changes.flatMap(({ module, previous }) => (previous === null ? [] : [{ module, version: previous }]));
}
