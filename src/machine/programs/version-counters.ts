// What came of a program's calls, by the version of the module that served them.

import { type Latency, LatencyHistogram } from './latency-histogram.ts';

export type VersionStatistics = {
  /** Empty: of calls that failed before any version had served one. */
  version: string;
  callsCompleted: number;
  callsFailed: number;
  /** Of completed calls. */
  latency: Latency;
};

type Tally = { completed: number; failed: number; readonly latency: LatencyHistogram };

/** Versions that are told apart; what came of the calls of older ones is counted with the oldest kept. */
const versionLimit = 100;

export class VersionCounters {
  /** In the order of the versions' coming. */
  readonly #tallies = new Map<string, Tally>();

  /** The version that came last; empty where none has. */
  get newest(): string {
    return [...this.#tallies.keys()].at(-1) ?? '';
  }

  /** The tally of a version, to be added to at once: it may go when others come. */
  forVersion(version: string): Tally {
    const known = this.#tallies.get(version);
    if (known !== undefined) return known;
    const tally: Tally = { completed: 0, failed: 0, latency: new LatencyHistogram() };
    this.#tallies.set(version, tally);
    if (this.#tallies.size > versionLimit) this.#mergeOldest();
    return tally;
  }

  /** The versions that calls have come to, in the order of their coming. */
  statistics(): VersionStatistics[] {
    return [...this.#tallies]
      .filter(([, { completed, failed }]) => completed + failed > 0)
      .map(([version, { completed, failed, latency }]) => ({
        version,
        callsCompleted: completed,
        callsFailed: failed,
        latency: latency.toLatency(),
      }));
  }

  #mergeOldest(): void {
    const [oldest, second] = this.#tallies;
    if (oldest === undefined || second === undefined) return;
    const [version, { completed, failed, latency }] = oldest;
    const [, kept] = second;
    this.#tallies.delete(version);
    kept.completed += completed;
    kept.failed += failed;
    kept.latency.addAll(latency);
  }
}
