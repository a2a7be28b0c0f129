// Time series of a device, derived from its reports: accesses inside its modules, calls per second by version, and latencies.

import type { Schemas } from '../../../src/client/client.ts';
import { chartSpanMilliseconds, type Point, type Series } from '../../components/chart.tsx';

type Program = Schemas['Program'];

/** Milliseconds without a report after which a program counts as idle. */
const maxReportGapMilliseconds = 5_000;

export type ProgramSeries = {
  /** Calls per second by version, in order of first appearance. */
  readonly rates: ReadonlyMap<string, readonly Point[]>;
  /** Median and 99th percentile in microseconds, of the version that served the last call. */
  readonly p50: readonly Point[];
  readonly p99: readonly Point[];
};

type ProgramSamples = { at: number; calls: Map<string, number>; rates: Map<string, Point[]>; p50: Point[]; p99: Point[] };

const nothing: ProgramSeries = { rates: new Map(), p50: [], p99: [] };

/** Samples of the last two minutes, kept while the device's page is open. */
export class DeviceSamples {
  readonly #programs = new Map<string, ProgramSamples>();
  readonly #references = new Map<string, Point[]>();

  of(program: string): ProgramSeries {
    return this.#programs.get(program) ?? nothing;
  }

  /** Accesses inside each module over time. */
  get references(): Series[] {
    return [...this.#references].map(([name, points], colour) => ({ name, points, colour: colour + 1 }));
  }

  addReferences(moduleTable: Schemas['DeviceDetail']['moduleTable'], at: number): void {
    for (const { module, referenceCount } of moduleTable) append(pointsOf(this.#references, module), { at, value: referenceCount });
  }

  /** @param reportedAt Time of the device's report in milliseconds. @param now The current time on the same clock. */
  addPrograms(programs: readonly Program[], reportedAt: number, now: number): void {
    for (const { id, statistics } of programs) {
      if (statistics === null) continue;
      const calls = new Map(statistics.versions.map(({ version, callsCompleted }) => [version, callsCompleted]));
      const kept = this.#programs.get(id);
      if (kept === undefined) {
        this.#programs.set(id, { at: reportedAt, calls, rates: new Map(), p50: [], p99: [] });
        continue;
      }
      const at = reportedAt > kept.at ? reportedAt : now - kept.at > maxReportGapMilliseconds ? now : null;
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

/** Adds a point and removes points older than the chart. */
function append(points: Point[], point: Point): void {
  points.push(point);
  while (points.length > 1 && (points[1]?.at ?? 0) < point.at - chartSpanMilliseconds) points.shift();
}
