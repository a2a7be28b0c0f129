// What the programs of a device did of late: calls per second of each version, and latencies, made of what it reports again and again.

import type { Schemas } from '../../../src/cli/client/client.ts';
import { chartSpan, type Point } from '../../parts/chart.tsx';

type Program = Schemas['Program'];

/** Milliseconds without a report after which a program is taken to stand still. */
const longestSilence = 5_000;

export type ProgramSeries = {
  /** Calls per second, by version, in the order of their coming. */
  readonly rates: ReadonlyMap<string, readonly Point[]>;
  /** Microseconds, of the version that served the last call: half of the calls, and 99 of 100, took no longer. */
  readonly p50: readonly Point[];
  readonly p99: readonly Point[];
};

type Kept = { at: number; calls: Map<string, number>; rates: Map<string, Point[]>; p50: Point[]; p99: Point[] };

const nothing: ProgramSeries = { rates: new Map(), p50: [], p99: [] };

/** Kept for as long as the page of the device is open; two minutes of each program. */
export class ProgramSamples {
  readonly #programs = new Map<string, Kept>();

  of(program: string): ProgramSeries {
    return this.#programs.get(program) ?? nothing;
  }

  /** @param reportedAt When the device reported this, milliseconds. @param now The present, on the same clock. */
  add(programs: readonly Program[], reportedAt: number, now: number): void {
    for (const { id, statistics } of programs) {
      if (statistics === null) continue;
      const calls = new Map(statistics.versions.map(({ version, callsCompleted }) => [version, callsCompleted]));
      const kept = this.#programs.get(id);
      if (kept === undefined) {
        this.#programs.set(id, { at: reportedAt, calls, rates: new Map(), p50: [], p99: [] });
        continue;
      }
      const at = reportedAt > kept.at ? reportedAt : now - kept.at > longestSilence ? now : null;
      if (at === null) continue;
      const seconds = (at - kept.at) / 1_000;
      let served: string | null = null;
      for (const [version, count] of calls) {
        const rate = Math.max(0, count - (kept.calls.get(version) ?? 0)) / seconds;
        if (rate > 0) served = version;
        append(pointsOf(kept.rates, version), { at, value: rate });
      }
      const latency = statistics.versions.find(({ version }) => version === served)?.latency ?? null;
      if (latency !== null) {
        append(kept.p50, { at, value: latency.p50Microseconds });
        append(kept.p99, { at, value: latency.p99Microseconds });
      }
      kept.at = at;
      kept.calls = calls;
    }
  }
}

function pointsOf(rates: Map<string, Point[]>, version: string): Point[] {
  const points = rates.get(version) ?? [];
  rates.set(version, points);
  return points;
}

/** Adds a point, and forgets those that no chart shows any more. */
function append(points: Point[], point: Point): void {
  points.push(point);
  while (points.length > 1 && (points[1]?.at ?? 0) < point.at - chartSpan) points.shift();
}
