// The stack of a module's versions on a device, from which a rollback takes its target.

import type { Connection } from '../database/connection.ts';
import { HistoryRecords, type LoadedVersion } from './repository.ts';

/** Number of latest installed versions searched per device and module. */
export const searchedVersions = 50;

/** The stack of one module on one device. */
export type VersionStack = {
  readonly versions: readonly (LoadedVersion | null)[];
  /** Whether the whole history was searched, and none of it was pruned. */
  readonly isComplete: boolean;
};

/** Returns the stacks of a module by device; without an entry for devices that never had it. */
export async function readVersionStacks(
  connection: Connection,
  deviceIds: readonly string[],
  module: string,
): Promise<Map<string, VersionStack>> {
  const loaded = await new HistoryRecords(connection).loadedVersions(deviceIds, module, searchedVersions);
  const byDevice = [...Map.groupBy(loaded, ({ deviceId }) => deviceId)];
  return new Map(
    byDevice.map(([deviceId, versions]) => {
      const isComplete = versions.length < searchedVersions && !versions.some(({ isHistoryPruned }) => isHistoryPruned);
      const stack = buildVersionStack(versions, isComplete);
      // The device lost the module before a load was to unload it.
      if (versions.at(-1)?.isUnloaded === true && stack.at(-1) !== null) stack.push(null);
      return [deviceId, { versions: stack, isComplete }];
    }),
  );
}

/** What the stack needs to know of an installed version. */
type StackedVersion = Pick<LoadedVersion, 'version' | 'isRollback'> &
  Partial<Pick<LoadedVersion, 'isObserved' | 'loadId' | 'patchSet' | 'unloadedBy'>>;

/**
 * Returns the stack of versions: the last is installed now. A null is a period without the module.
 * - A load pushes its version, unless that version is the latest one in the stack: then the stack ends there again. A load of a patch set always pushes.
 * - A rollback pops the versions above its version, or pushes its version if it is not in the stack. So consecutive rollbacks go further back.
 * - A version observed without a load pops like a rollback if it is in the stack, and is pushed like a load otherwise.
 * - An unload pushes null. The rollback of a patch set that unloads a module pops everything above the latest null.
 * @param loaded Installed versions, oldest first.
 * @param isComplete Whether `loaded` is the whole history. If not, what is below a rollback target outside the stack is unknown.
 */
export function buildVersionStack<Version extends StackedVersion>(loaded: readonly Version[], isComplete: boolean): (Version | null)[] {
  const stack: (Version | null)[] = isComplete ? [null] : [];
  for (const version of loaded) {
    const { loadId, isObserved = false, unloadedBy } = version;
    // A restored version is in the stack already.
    if (loadId !== null || isObserved) install(stack, version, isComplete);
    if (unloadedBy === 'rollback') stack.length = Math.max(0, stack.lastIndexOf(null));
    if (unloadedBy && stack.at(-1) !== null) stack.push(null);
  }
  return stack;
}

function install<Version extends StackedVersion>(stack: (Version | null)[], version: Version, isComplete: boolean): void {
  const index = findInStack(stack, version);
  if (index >= 0) {
    stack.length = index + 1;
    return;
  }
  if (version.isRollback && !isComplete) stack.length = 0;
  stack.push(version);
}

/** Returns the position at which the stack ends again; -1 if the version is pushed. */
function findInStack(stack: readonly (StackedVersion | null)[], added: StackedVersion): number {
  const { version, isRollback, isObserved = false, loadId } = added;
  if (isRollback || isObserved) return stack.findLastIndex((entry) => entry?.version === version);
  // The version of a load is recorded again after a swap was reverted.
  if (added.patchSet && stack.at(-1)?.loadId !== loadId) return -1;
  const latest = stack.findLastIndex((entry) => entry !== null);
  return stack[latest]?.version === version ? latest : -1;
}

/** Returns the versions of a stack, without periods without the module. Consecutive entries of one version count once. */
export function versionsOf(stack: readonly (StackedVersion | null)[]): string[] {
  const versions = stack.flatMap((entry) => (entry === null ? [] : [entry.version]));
  return versions.filter((version, index) => version !== versions[index - 1]);
}
