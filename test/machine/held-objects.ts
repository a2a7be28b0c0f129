// Finds objects that the garbage collector has not collected.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** Collects garbage several times and waits for finalizers. Returns how many of the objects are still alive. */
export async function countHeld(objects: readonly WeakRef<object>[]): Promise<number> {
  for (let round = 0; round < 5; round += 1) {
    // A WeakRef that was created or read in this turn of the event loop keeps its object alive until the turn ends.
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();
  }
  return objects.filter((object) => object.deref() !== undefined).length;
}
