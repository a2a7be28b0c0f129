// The loads of patch sets that devices have not rolled back yet, from the version stacks of the modules.

import type { Connection } from '../database/connection.ts';
import { HistoryRecords } from '../history/repository.ts';
import { readVersionStacks, type VersionStack } from '../history/version-stack.ts';

/** The stacks of a device, by module. */
export type DeviceStacks = ReadonlyMap<string, VersionStack>;

/** A load of a patch set on a device, of which a version or more is in the stacks of its modules. */
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

/** Returns the loads of patch sets that have versions in the stacks of a device, latest first. */
export function setLoadsOf(stacks: DeviceStacks): SetLoad[] {
  const loads = new Map<string, SetLoad>();
  for (const { versions } of stacks.values())
    for (const version of versions) {
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
