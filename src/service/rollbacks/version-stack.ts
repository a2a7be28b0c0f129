// The stack of a module's versions on a device, from which a rollback takes its target.

import type { LoadedVersion } from '../history/repository.ts';

/**
 * Returns the stack of versions: the last is installed now, and the one before it is the rollback target.
 * - A load pushes its version.
 * - A rollback pops the versions above its version, or pushes its version if it is not in the stack. So consecutive rollbacks go further back.
 * - A version observed without a load pops like a rollback if it is in the stack, and is pushed like a load otherwise.
 * @param loaded Installed versions, oldest first. Consecutive entries of one version count once.
 * @param isComplete Whether `loaded` is the whole history. If not, the versions below a rollback target outside the stack are unknown.
 */
export function buildVersionStack(
  loaded: readonly (Pick<LoadedVersion, 'version' | 'isRollback'> & Partial<Pick<LoadedVersion, 'isObserved'>>)[],
  isComplete: boolean,
): string[] {
  const stack: string[] = [];
  for (const { version, isRollback, isObserved = false } of loaded) {
    if (stack.at(-1) === version) continue;
    const index = isRollback || isObserved ? stack.lastIndexOf(version) : -1;
    if (index >= 0) stack.length = index;
    else if (isRollback && !isComplete) stack.length = 0;
    stack.push(version);
  }
  return stack;
}
