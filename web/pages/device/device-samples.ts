// What a device did of late: accesses inside its modules, its programs' calls per second of each version, and latencies; made of what it reports
// again and again.

import type { Schemas } from '../../../src/client/client.ts';
import { chartSpan, type Point, type Series } from '../../parts/chart.tsx';

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

/** Kept for as long as the page of the device is open; two minutes of it. */
export class DeviceSamples {
  readonly #programs = new Map<string, Kept>();
  readonly #references = new Map<string, Point[]>();

  of(program: string): ProgramSeries {
    return this.#programs.get(program) ?? nothing;
  }

  /** Accesses that were inside each module. */
  get references(): Series[] {
    return [...this.#references].map(([name, points], colour) => ({ name, points, colour: colour + 1 }));
  }

  addReferences(moduleTable: Schemas['DeviceDetail']['moduleTable'], at: number): void {
    for (const { module, referenceCount } of moduleTable) append(pointsOf(this.#references, module), { at, value: referenceCount });
  }

  /** @param reportedAt When the device reported this, milliseconds. @param now The present, on the same clock. */
  addPrograms(programs: readonly Program[], reportedAt: number, now: number): void {
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

function pointsOf(series: Map<string, Point[]>, name: string): Point[] {
  const points = series.get(name) ?? [];
  series.set(name, points);
  return points;
}

/** Adds a point, and forgets those that no chart shows any more. */
function append(points: Point[], point: Point): void {
  points.push(point);
  while (points.length > 1 && (points[1]?.at ?? 0) < point.at - chartSpan) points.shift();
}
