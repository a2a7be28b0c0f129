// Waits for conditions and times, and runs actions concurrently.

import { setTimeout } from 'node:timers/promises';

/** Milliseconds between checks of a condition. */
const interval = 100;

/** Polls a condition. Returns whether it was met in time. A check that fails because the service is unreachable counts as false. */
export async function waitUntil(check: () => Promise<boolean>, milliseconds: number): Promise<boolean> {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    if (await check().catch(() => false)) return true;
    if (Date.now() > deadline) return false;
    await setTimeout(interval);
  }
}

export async function pause(milliseconds: number): Promise<void> {
  await setTimeout(milliseconds);
}

/** Runs an action for each item with limited concurrency. Returns the results in the order of the items. */
export async function inParallel<Item, Result>(
  items: readonly Item[],
  concurrency: number,
  action: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const remaining = items.entries();
  const worker = async () => {
    for (const [index, item] of remaining) results[index] = await action(item);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return results;
}
