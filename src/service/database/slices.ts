// Processes many devices in slices, so that the event loop is not blocked.

import { setImmediate as nextEventLoopTurn } from 'node:timers/promises';
import { splitIntoChunks } from './chunks.ts';

/** Devices per slice; a slice takes some milliseconds. */
const sliceSize = 250;

/** Processes slices of a list one after another, and yields to the event loop in between. */
export async function processInSlices<Value>(values: readonly Value[], work: (slice: Value[]) => Promise<void>): Promise<void> {
  const [first = [], ...others] = splitIntoChunks(values, sliceSize);
  if (first.length > 0) await work(first);
  for (const slice of others) {
    await nextEventLoopTurn();
    await work(slice);
  }
}
