// Which version a device goes back to: what loads brought into its module table, and what it was observed with, as a stack.

import type { LoadedVersion } from '../history/repository.ts';

/**
 * The versions of a module that a device has gone through and not gone back from; the last is the one that it has now, and the one before that
 * the one to go back to. An ordinary load puts its version on top. A rollback takes off what is above its version, or puts it on top where it is
 * not below: so that one rollback after another goes further back, and not forward again. A version that the device was observed with takes off what
 * is above it where it is below, as a rollback does, and is otherwise put on top, as a load does.
 * @param loaded What came in, in this order; put back after it was withdrawn or the host restarted, it counts once.
 * @param isWhole Whether that is all there ever was. Where it is not, nothing is known of what is below a version that a rollback went back to.
 */
export function buildVersionStack(
  loaded: readonly (Pick<LoadedVersion, 'version' | 'isRollback'> & Partial<Pick<LoadedVersion, 'isObserved'>>)[],
  isWhole: boolean,
): string[] {
  const stack: string[] = [];
  for (const { version, isRollback, isObserved = false } of loaded) {
    if (stack.at(-1) === version) continue;
    const place = isRollback || isObserved ? stack.lastIndexOf(version) : -1;
    if (place >= 0) stack.length = place;
    else if (isRollback && !isWhole) stack.length = 0;
    stack.push(version);
  }
  return stack;
}
