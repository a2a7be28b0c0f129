// Work on many devices in slices, so that the service does something else in between.

import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import { splitIntoChunks } from './chunks.ts';

/** Devices of one slice: it takes some milliseconds. */
const sliceSize = 250;

/** Does work on slices of a list, one after another, with a turn of the event loop in between. */
export async function processInSlices<Value>(values: readonly Value[], work: (slice: Value[]) => Promise<void>): Promise<void> {
  const [first = [], ...others] = splitIntoChunks(values, sliceSize);
  if (first.length > 0) await work(first);
  for (const slice of others) {
    await turnOfTheEventLoop();
    await work(slice);
  }
}
