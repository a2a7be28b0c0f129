// Latency histograms that devices report. Histograms can be summed over devices and subtracted over time.

import { z } from 'zod';

/** Maximum buckets of one histogram. */
const bucketLimit = 512;

const counts = z.array(z.int().nonnegative()).max(bucketLimit);

export const Latency = z
  .object({
    microseconds: counts.describe('Inclusive upper bounds of the histogram buckets in microseconds, ascending.'),
    calls: counts.describe('Number of calls in each bucket since the program started.'),
  })
  .refine(({ microseconds, calls }) => microseconds.length === calls.length, 'must have as many elements in calls as in microseconds')
  .refine(({ microseconds }) => microseconds.every((bound, index) => index === 0 || bound > (microseconds[index - 1] ?? 0)), {
    path: ['microseconds'],
    error: 'must be ascending',
  })
  .meta({ id: 'Latency', examples: [{ microseconds: [2, 3, 38], calls: [720, 490, 2] }] });
export type Latency = z.infer<typeof Latency>;

/** Merges histograms. If the result would exceed the bucket limit, its bounds are rounded up by at most an eighth. */
export function mergeLatencies(histograms: readonly Latency[]): Latency {
  const merged = sumBuckets(histograms.flatMap(bucketsOf));
  if (merged.length <= bucketLimit) return toLatency(merged);
  return toLatency(sumBuckets(merged.map(([bound, calls]) => [roundUp(bound), calls])));
}

/** Subtracts an earlier histogram of the same run of a program. Counts below zero become zero. */
export function subtractLatency(later: Latency, earlier: Latency): Latency {
  const before = new Map(bucketsOf(earlier));
  return toLatency(bucketsOf(later).map(([bound, calls]) => [bound, calls - (before.get(bound) ?? 0)]));
}

/**
 * Returns the latency at a quantile, in microseconds; null if there are no calls. The result is the upper bound of a bucket, so that the exact value may
 * be lower by the width of the bucket.
 * @param quantile From 0 (the fastest call) to 1 (the slowest).
 */
export function latencyQuantile(latency: Latency, quantile: number): number | null {
  const rank = Math.max(1, Math.ceil(quantile * latencyCalls(latency)));
  let calls = 0;
  for (const [bound, count] of bucketsOf(latency)) {
    calls += count;
    if (calls >= rank) return bound;
  }
  return null;
}

/** Returns the number of calls in a histogram. */
export function latencyCalls({ calls }: Latency): number {
  return sumCounts(calls);
}

/** Returns the sum of counts, capped at the largest integer that JSON represents exactly. */
export function sumCounts(counts: readonly number[]): number {
  return Math.min(
    Number.MAX_SAFE_INTEGER,
    counts.reduce((sum, count) => sum + count, 0),
  );
}

type Bucket = readonly [bound: number, calls: number];

const bucketsOf = ({ microseconds, calls }: Latency): Bucket[] => microseconds.map((bound, index) => [bound, calls[index] ?? 0]);

function sumBuckets(buckets: readonly Bucket[]): Bucket[] {
  const sums = new Map<number, number>();
  for (const [bound, calls] of buckets) sums.set(bound, sumCounts([sums.get(bound) ?? 0, calls]));
  return [...sums].toSorted(([left], [right]) => left - right);
}

/** Creates a histogram without empty buckets. */
function toLatency(buckets: readonly Bucket[]): Latency {
  const filled = buckets.filter(([, calls]) => calls > 0);
  return { microseconds: filled.map(([bound]) => bound), calls: filled.map(([, calls]) => calls) };
}

/** Rounds up to an integer with four significant bits, at most the largest safe integer. There are 408 such integers. */
function roundUp(bound: number): number {
  const width = Math.max(1, 2 ** (Math.floor(Math.log2(Math.max(1, bound))) - 3));
  return Math.min(Math.ceil(bound / width) * width, Number.MAX_SAFE_INTEGER);
}
