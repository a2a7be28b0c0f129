// Compares programs' calls since a version was loaded with their calls of the version before.

import { z } from 'zod';
import type { DeviceState, ProgramStatistics } from '../../protocol/device-state.ts';
import { Latency, latencyQuantile, mergeLatencies, subtractLatency, sumCounts } from '../../protocol/latency.ts';
import type { Callers } from './callers.ts';

const count = z.int().nonnegative();
const Calls = z.object({ completed: count, failed: count, latency: Latency });
type Calls = z.infer<typeof Calls>;

/** The counters of a device's programs when the device loaded the new version. */
export const Baseline = z.object({
  /** Calls of each affected program since the program started. Later counts minus these are the calls since the load. */
  programs: z.record(z.string(), Calls),
  /** Programs that existed and do not call the module. */
  others: z.array(z.string()),
  /** All calls served by the version before. For programs that call the module indirectly: the calls of the version that they call themselves. */
  before: Calls,
  /** ABI violations of the module: programs with a stale address. */
  abiViolations: count,
});
export type Baseline = z.infer<typeof Baseline>;

/** Calls of programs since their devices loaded the new version, and of the version before. */
export type Activity = { readonly since: Calls; readonly before: Calls; readonly abiViolations: number };

const figures = {
  calls: count.describe('Number of calls that ended, including failed ones.'),
  failedCalls: count.describe('Number of calls that ended with a trap or an error.'),
  p99Microseconds: z.number().nullable().describe('99th percentile of call latency, in microseconds. Null if no call was measured.'),
};

/** The measurement as the API shows it and thresholds use it. */
export const Measurement = z
  .object({
    ...figures,
    abiViolations: count.describe('Number of ABI violations: programs that called removed code at a stale address.'),
    before: z.object(figures).meta({
      id: 'BaselineMeasurement',
      description: 'The same figures for the previous version. They include only calls that the programs counted.',
    }),
  })
  .meta({
    id: 'Measurement',
    description: 'Calls of programs since their devices got the build.',
    examples: [
      {
        calls: 18_204,
        failedCalls: 0,
        p99Microseconds: 447,
        abiViolations: 0,
        before: { calls: 90_112, failedCalls: 3, p99Microseconds: 431 },
      },
    ],
  });
export type Measurement = z.infer<typeof Measurement>;

const noCalls: Calls = { completed: 0, failed: 0, latency: { microseconds: [], calls: [] } };
export const noMeasurement: Measurement = toMeasured({ since: noCalls, before: noCalls, abiViolations: 0 });

/** A successful load of a version. */
export type Swap = {
  readonly module: string;
  readonly version: string;
  /** The replaced version; null if the module was not loaded before. */
  readonly previousVersion: string | null;
  /** The state that the device reported before the load; null if unknown. */
  readonly before: DeviceState | null;
};

/**
 * Returns the counters of a device's programs at the swap, from the state that the device reports after the load. By then the new version has served
 * calls already, so its own counts are taken from the state before the load: they stem from an earlier residency.
 */
export function captureBaseline(state: DeviceState, swap: Swap, { direct, indirect }: Callers): Baseline {
  const isAffected = ({ program }: ProgramStatistics) => direct.has(program) || indirect.has(program);
  const programs = state.programs.filter(isAffected);
  const replaced = programs.map(({ program, versions }) =>
    direct.has(program) ? versions.filter(({ version }) => version === swap.previousVersion) : versions.slice(-1),
  );
  const atSwap = ({ program, versions }: ProgramStatistics) => {
    if (!direct.has(program)) return versions;
    const earlier = swap.before?.programs.find((statistics) => statistics.program === program)?.versions ?? [];
    const isNewVersion = ({ version }: { readonly version: string }) => version === swap.version;
    return [...versions.filter((statistics) => !isNewVersion(statistics)), ...earlier.filter(isNewVersion)];
  };
  return {
    programs: Object.fromEntries(programs.map((statistics) => [statistics.program, sumVersions(atSwap(statistics))])),
    others: state.programs.filter((statistics) => !isAffected(statistics)).map(({ program }) => program),
    before: sumVersions(replaced.flat()),
    abiViolations: findEarlierViolations(state, swap).length,
  };
}

/**
 * Returns the violations that the load did not cause: those reported before the load, and those by an address of a version other than the replaced
 * one. Independent of the device's clock.
 */
function findEarlierViolations(state: DeviceState, { module, previousVersion, before }: Swap) {
  const known = new Set(before?.abiViolations.newest.map(violationKey));
  return state.abiViolations.newest.filter(
    (violation) => violation.module === module && (violation.version !== previousVersion || known.has(violationKey(violation))),
  );
}

const violationKey = ({ program, version, address }: DeviceState['abiViolations']['newest'][number]) => `${program} ${address} ${version}`;

/**
 * Returns the calls since the baseline. All calls of a program that restarted with its device count.
 * @param callers The programs that call the module now; includes programs started since the baseline.
 */
export function measureActivity(
  { programs, before, abiViolations }: Baseline,
  state: DeviceState,
  module: string,
  callers: Callers,
): Activity {
  const affected = state.programs.filter(
    ({ program }) => Object.hasOwn(programs, program) || callers.direct.has(program) || callers.indirect.has(program),
  );
  const since = affected.map(({ program, versions }) => {
    const current = sumVersions(versions);
    const start = programs[program];
    const hasRestarted = start === undefined || current.completed < start.completed || current.failed < start.failed;
    return hasRestarted ? current : subtractCalls(current, start);
  });
  const found = countViolations(state, module);
  return { since: sumCalls(since), before, abiViolations: found < abiViolations ? found : found - abiViolations };
}

function countViolations({ abiViolations }: DeviceState, module: string): number {
  return abiViolations.newest.filter((violation) => violation.module === module).length;
}

/** Returns the measurement of several devices together. */
export function aggregate(activities: readonly Activity[]): Measurement {
  return toMeasured({
    since: sumCalls(activities.map(({ since }) => since)),
    before: sumCalls(activities.map(({ before }) => before)),
    abiViolations: activities.reduce((total, { abiViolations }) => total + abiViolations, 0),
  });
}

function toMeasured({ since, before, abiViolations }: Activity): Measurement {
  return { ...toFigures(since), abiViolations, before: toFigures(before) };
}

function toFigures({ completed, failed, latency }: Calls) {
  return { calls: sumCounts([completed, failed]), failedCalls: failed, p99Microseconds: latencyQuantile(latency, 0.99) };
}

function sumVersions(versions: ProgramStatistics['versions']): Calls {
  return sumCalls(
    versions.map(({ callsCompleted, callsFailed, latency }) => ({ completed: callsCompleted, failed: callsFailed, latency })),
  );
}

function sumCalls(calls: readonly Calls[]): Calls {
  return {
    completed: sumCounts(calls.map(({ completed }) => completed)),
    failed: sumCounts(calls.map(({ failed }) => failed)),
    latency: mergeLatencies(calls.map(({ latency }) => latency)),
  };
}

function subtractCalls(later: Calls, earlier: Calls): Calls {
  return {
    completed: later.completed - earlier.completed,
    failed: later.failed - earlier.failed,
    latency: subtractLatency(later.latency, earlier.latency),
  };
}
