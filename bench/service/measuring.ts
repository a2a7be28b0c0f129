// Times of calls, and what is said of many of them.

import { setTimeout } from 'node:timers/promises';

/** The middle of several numbers; of none, 0. */
export function median(numbers: readonly number[]): number {
  return percentile(numbers, 0.5);
}

/** The number that this share of them is at most; of none, 0. */
export function percentile(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

export function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / Math.max(1, numbers.length);
}

/** How long a work takes, in milliseconds. */
export async function timeOf(work: () => unknown): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** Asks again after so many milliseconds until the answer is true. @throws {Error} after ten minutes. */
export async function until(what: string, interval: number, ask: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 600_000;
  while (!(await ask())) {
    if (Date.now() > deadline) throw new Error(`did not come about in ten minutes: ${what}`);
    await setTimeout(interval);
  }
}
