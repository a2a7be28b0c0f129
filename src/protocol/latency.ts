// How long calls took, as devices report it: a histogram, which may be added up over devices and taken apart over time.

import { z } from 'zod';

/** Buckets of one histogram. */
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

/** A histogram of all their calls. Where that takes more buckets than a histogram may have, bounds are rounded up by at most an eighth. */
export function mergeLatencies(histograms: readonly Latency[]): Latency {
  const merged = addUp(histograms.flatMap(bucketsOf));
  if (merged.length <= bucketLimit) return toLatency(merged);
  return toLatency(addUp(merged.map(([bound, calls]) => [roundedUp(bound), calls])));
}

/** The calls of a program's histogram that are not in an earlier one of the same life of the program; nothing is less than zero. */
export function subtractLatency(later: Latency, earlier: Latency): Latency {
  const before = new Map(bucketsOf(earlier));
  return toLatency(bucketsOf(later).map(([bound, calls]) => [bound, calls - (before.get(bound) ?? 0)]));
}

/**
 * Microseconds that so large a part of the calls did not exceed; null where no call is counted. It is the bound of a bucket, so that the truth may be
 * less by the width of one.
 * @param quantile From 0, the fastest call, to 1, the slowest.
 */
export function latencyQuantile(latency: Latency, quantile: number): number | null {
  const rank = Math.max(1, Math.ceil(quantile * latencyCalls(latency)));
  let calls = 0;
  for (const [bound, more] of bucketsOf(latency)) {
    calls += more;
    if (calls >= rank) return bound;
  }
  return null;
}

/** How many calls a histogram counts. */
export function latencyCalls({ calls }: Latency): number {
  return sumCounts(calls);
}

/** The sum of counts; at most the largest that JSON has exactly, whatever is reported. */
export function sumCounts(counts: readonly number[]): number {
  return Math.min(
    Number.MAX_SAFE_INTEGER,
    counts.reduce((sum, more) => sum + more, 0),
  );
}

type Bucket = readonly [bound: number, calls: number];

const bucketsOf = ({ microseconds, calls }: Latency): Bucket[] => microseconds.map((bound, index) => [bound, calls[index] ?? 0]);

function addUp(buckets: readonly Bucket[]): Bucket[] {
  const sums = new Map<number, number>();
  for (const [bound, calls] of buckets) sums.set(bound, sumCounts([sums.get(bound) ?? 0, calls]));
  return [...sums].toSorted(([left], [right]) => left - right);
}

/** Buckets without calls are left out. */
function toLatency(buckets: readonly Bucket[]): Latency {
  const filled = buckets.filter(([, calls]) => calls > 0);
  return { microseconds: filled.map(([bound]) => bound), calls: filled.map(([, calls]) => calls) };
}

/** The least integer of four significant bits that is not less, or the largest safe one; there are 408. */
function roundedUp(bound: number): number {
  const width = Math.max(1, 2 ** (Math.floor(Math.log2(Math.max(1, bound))) - 3));
  return Math.min(Math.ceil(bound / width) * width, Number.MAX_SAFE_INTEGER);
}
