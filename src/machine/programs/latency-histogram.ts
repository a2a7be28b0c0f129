// Latencies in buckets whose width grows with the value, so that the relative error is constant (as in HdrHistogram,
// https://github.com/HdrHistogram/HdrHistogram_c). Bucket bounds are integers of five significant bits: sixteen buckets per power of two.

/** A histogram as devices report it. `microseconds`: upper bounds of the buckets, ascending. `calls`: number of calls in each bucket. */
export type Latency = { microseconds: number[]; calls: number[] };

/** Bound of the last bucket, 9.5 hours; it also counts longer calls. There are 512 buckets up to it. */
const longest = 2 ** 35;

export class LatencyHistogram {
  /** Calls by the upper bound of their bucket in microseconds; only non-empty buckets. */
  readonly #calls = new Map<number, number>();

  /** Adds calls of one duration. */
  add(microseconds: number, calls: number): void {
    const bound = upperBound(microseconds);
    this.#calls.set(bound, (this.#calls.get(bound) ?? 0) + calls);
  }

  /** Adds the calls of another histogram. */
  addAll(other: LatencyHistogram): void {
    for (const [bound, calls] of other.#calls) this.add(bound, calls);
  }

  toLatency(): Latency {
    const buckets = [...this.#calls].toSorted(([left], [right]) => left - right);
    return { microseconds: buckets.map(([bound]) => bound), calls: buckets.map(([, calls]) => calls) };
  }
}

/** Returns the smallest bound that is not less than a duration; it exceeds the duration by at most a sixteenth or one microsecond. */
function upperBound(microseconds: number): number {
  const bounded = Math.min(Math.max(1, microseconds), longest);
  const width = Math.max(1, 2 ** (Math.floor(Math.log2(bounded)) - 4));
  return Math.ceil(bounded / width) * width;
}
