// Counts a program's calls by the version of the module that served them.

import { type Latency, LatencyHistogram } from './latency-histogram.ts';

export type VersionStatistics = {
  /** Empty for calls that failed before any version had served one. */
  version: string;
  callsCompleted: number;
  callsFailed: number;
  /** Latency of completed calls. */
  latency: Latency;
};

type Counters = { completed: number; failed: number; readonly latency: LatencyHistogram };

/** Maximum versions with separate counters; older ones are merged into the oldest listed version. */
const versionLimit = 100;

export class VersionCounters {
  /** In order of first use. */
  readonly #counters = new Map<string, Counters>();

  /** The version used last for the first time; empty if there is none. */
  get newest(): string {
    return [...this.#counters.keys()].at(-1) ?? '';
  }

  /** Returns a version's counters. Use them immediately: a later call may merge them. */
  forVersion(version: string): Counters {
    const known = this.#counters.get(version);
    if (known !== undefined) return known;
    const counters: Counters = { completed: 0, failed: 0, latency: new LatencyHistogram() };
    this.#counters.set(version, counters);
    if (this.#counters.size > versionLimit) this.#mergeOldest();
    return counters;
  }

  /** Returns the statistics of the versions that served or failed calls, in order of first use. */
  statistics(): VersionStatistics[] {
    return [...this.#counters]
      .filter(([, { completed, failed }]) => completed + failed > 0)
      .map(([version, { completed, failed, latency }]) => ({
        version,
        callsCompleted: completed,
        callsFailed: failed,
        latency: latency.toLatency(),
      }));
  }

  #mergeOldest(): void {
    const [oldest, second] = this.#counters;
    if (oldest === undefined || second === undefined) return;
    const [version, { completed, failed, latency }] = oldest;
    const [, kept] = second;
    this.#counters.delete(version);
    kept.completed += completed;
    kept.failed += failed;
    kept.latency.addAll(latency);
  }
}
