// How long calls took, in buckets whose width grows with the time, so that each is told with the same relative error (as HdrHistogram does,
// https://github.com/HdrHistogram/HdrHistogram_c): a bucket's bounds are integers of five significant bits, sixteen for each doubling.

/** A histogram as devices report it: `microseconds` are the buckets' upper bounds, ascending, `calls` how many calls lie in each. */
export type Latency = { microseconds: number[]; calls: number[] };

/** The last bucket's bound, 9.5 hours: what took longer is counted there. With it there are 512 buckets. */
const longest = 2 ** 35;

export class LatencyHistogram {
  /** Calls by their bucket's upper bound, in microseconds; only of buckets that have any. */
  readonly #calls = new Map<number, number>();

  /** Counts calls that took so long. */
  add(microseconds: number, calls: number): void {
    const bound = upperBound(microseconds);
    this.#calls.set(bound, (this.#calls.get(bound) ?? 0) + calls);
  }

  /** Counts the calls of another histogram too. */
  addAll(other: LatencyHistogram): void {
    for (const [bound, calls] of other.#calls) this.add(bound, calls);
  }

  toLatency(): Latency {
    const buckets = [...this.#calls].toSorted(([left], [right]) => left - right);
    return { microseconds: buckets.map(([bound]) => bound), calls: buckets.map(([, calls]) => calls) };
  }
}

/** The least bound that is not less: more than the time by at most a sixteenth of it, or by a microsecond. */
function upperBound(microseconds: number): number {
  const bounded = Math.min(Math.max(1, microseconds), longest);
  const width = Math.max(1, 2 ** (Math.floor(Math.log2(bounded)) - 4));
  return Math.ceil(bounded / width) * width;
}
