// Waiting for conditions, and for the random moments that are the chaos itself.

import { setTimeout } from 'node:timers/promises';

/** How often a condition is looked at, in milliseconds. */
const interval = 100;

/** Asks until the answer is true; answers whether it came in time. An ask that fails, for the service is away, is asked again. */
export async function cameAbout(ask: () => Promise<boolean>, milliseconds: number): Promise<boolean> {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    if (await ask().catch(() => false)) return true;
    if (Date.now() > deadline) return false;
    await setTimeout(interval);
  }
}

/** Waits for a moment that chance has chosen. */
export async function pause(milliseconds: number): Promise<void> {
  await setTimeout(milliseconds);
}

/** Does the same with many things, a few of them at a time; answers in their order. */
export async function inParallel<Item, Result>(
  items: readonly Item[],
  atOnce: number,
  action: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const left = items.entries();
  const worker = async () => {
    for (const [index, item] of left) results[index] = await action(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}
