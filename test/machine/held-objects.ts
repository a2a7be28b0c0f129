// What the garbage collector has left of some objects.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** Collects garbage several times; finalizers have run when it resolves. Returns how many of the objects are still held. */
export async function countHeld(objects: readonly WeakRef<object>[]): Promise<number> {
  for (let round = 0; round < 5; round += 1) {
    // A WeakRef that was made or read in this turn of the event loop holds its object until the turn ends.
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();
  }
  return objects.filter((object) => object.deref() !== undefined).length;
}
