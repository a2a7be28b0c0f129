// Durations of calls, and their statistics.

import { setTimeout } from 'node:timers/promises';

/** Returns the median of numbers; 0 if there are none. */
export function median(numbers: readonly number[]): number {
  return percentile(numbers, 0.5);
}

/** Returns a quantile of numbers; 0 if there are none. */
export function percentile(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

export function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / Math.max(1, numbers.length);
}

/** Returns the duration of work in milliseconds. */
export async function timeOf(work: () => unknown): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** Polls at an interval in milliseconds until the condition is true. @throws {Error} after ten minutes. */
export async function until(what: string, interval: number, ask: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 600_000;
  while (!(await ask())) {
    if (Date.now() > deadline) throw new Error(`timeout after ten minutes: ${what}`);
    await setTimeout(interval);
  }
}
