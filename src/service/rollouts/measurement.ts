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
  /** ABI violations of the modules: programs with a stale address. */
  abiViolations: count,
  /** The member of the patch set that each program calls. Empty for a build, and for programs that call no member themselves. */
  members: z.record(z.string(), z.string()).default({}),
});
export type Baseline = z.infer<typeof Baseline>;

/** Calls of programs since their devices loaded the new version, and of the version before. */
export type Activity = {
  readonly since: Calls;
  readonly before: Calls;
  readonly abiViolations: number;
  /** Failed calls since then, by the called member of a patch set. Empty for a build. */
  readonly failedByMember: Readonly<Record<string, number>>;
};

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
    worstMember: z
      .string()
      .nullable()
      .default(null)
      .describe(
        'The member of a patch set with the highest number of failed calls, counting the programs that call it themselves. Null without such calls, and for a build.',
      ),
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
        worstMember: null,
        before: { calls: 90_112, failedCalls: 3, p99Microseconds: 431 },
      },
    ],
  });
export type Measurement = z.infer<typeof Measurement>;

const noCalls: Calls = { completed: 0, failed: 0, latency: { microseconds: [], calls: [] } };
export const noMeasurement: Measurement = toMeasured({ since: noCalls, before: noCalls, abiViolations: 0, failedByMember: {} });

/** The versions of a module that a load swapped; null: the module was or is not loaded. */
export type SwappedVersions = { readonly version: string | null; readonly previousVersion: string | null };

/** A successful load. */
export type Swap = {
  /** The modules that the rollout changes. */
  readonly modules: readonly string[];
  /** The swapped versions by module; without the members of a patch set that the device had already. */
  readonly versions: ReadonlyMap<string, SwappedVersions>;
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
  const swappedFor = (program: string) => swap.versions.get(direct.get(program) ?? '');
  const replaced = programs.map(({ program, versions }) => {
    const swapped = swappedFor(program);
    return swapped === undefined ? versions.slice(-1) : versions.filter(({ version }) => version === swapped.previousVersion);
  });
  const atSwap = ({ program, versions }: ProgramStatistics) => {
    const swapped = swappedFor(program);
    if (swapped === undefined) return versions;
    const earlier = swap.before?.programs.find((statistics) => statistics.program === program)?.versions ?? [];
    const isNewVersion = ({ version }: { readonly version: string }) => version === swapped.version;
    return [...versions.filter((statistics) => !isNewVersion(statistics)), ...earlier.filter(isNewVersion)];
  };
  return {
    programs: Object.fromEntries(programs.map((statistics) => [statistics.program, sumVersions(atSwap(statistics))])),
    others: state.programs.filter((statistics) => !isAffected(statistics)).map(({ program }) => program),
    before: sumVersions(replaced.flat()),
    abiViolations: findEarlierViolations(state, swap).length,
    members: swap.modules.length === 1 ? {} : Object.fromEntries(direct),
  };
}

/**
 * Returns the violations that the load did not cause: those reported before the load, and those by an address of a version other than the replaced
 * one. Independent of the device's clock.
 */
function findEarlierViolations(state: DeviceState, { modules, versions, before }: Swap) {
  const known = new Set(before?.abiViolations.newest.map(violationKey));
  return state.abiViolations.newest.filter((violation) => {
    if (!modules.includes(violation.module)) return false;
    return violation.version !== versions.get(violation.module)?.previousVersion || known.has(violationKey(violation));
  });
}

type Violation = DeviceState['abiViolations']['newest'][number];

/** Identifies a violation: addresses are not reused while a program holds them. */
const violationKey = ({ program, version, address }: Violation) => `${program} ${address} ${version}`;

/**
 * Returns the calls since the baseline. All calls of a program that restarted with its device count.
 * @param callers The programs that call one of the modules now; includes programs started since the baseline.
 */
export function measureActivity(
  { programs, before, abiViolations, members }: Baseline,
  state: DeviceState,
  modules: readonly string[],
  callers: Callers,
): Activity {
  const affected = state.programs.filter(
    ({ program }) => Object.hasOwn(programs, program) || callers.direct.has(program) || callers.indirect.has(program),
  );
  const since = affected.map(({ program, versions }) => {
    const current = sumVersions(versions);
    const start = programs[program];
    const hasRestarted = start === undefined || current.completed < start.completed || current.failed < start.failed;
    return { program, calls: hasRestarted ? current : subtractCalls(current, start) };
  });
  const found = countViolations(state, modules);
  const memberOf = (program: string) => (modules.length === 1 ? undefined : (members[program] ?? callers.direct.get(program)));
  return {
    since: sumCalls(since.map(({ calls }) => calls)),
    before,
    abiViolations: found < abiViolations ? found : found - abiViolations,
    failedByMember: sumByMember(since.map(({ program, calls }) => ({ member: memberOf(program), failed: calls.failed }))),
  };
}

function countViolations({ abiViolations }: DeviceState, modules: readonly string[]): number {
  return abiViolations.newest.filter((violation) => modules.includes(violation.module)).length;
}

type FailedCalls = { readonly member: string | undefined; readonly failed: number };

function sumByMember(calls: readonly FailedCalls[]): Record<string, number> {
  const sums = new Map<string, number>();
  for (const { member, failed } of calls)
    if (member !== undefined && failed > 0) sums.set(member, sumCounts([sums.get(member) ?? 0, failed]));
  return Object.fromEntries(sums);
}

/** Returns the measurement of several devices together. */
export function aggregate(activities: readonly Activity[]): Measurement {
  return toMeasured({
    since: sumCalls(activities.map(({ since }) => since)),
    before: sumCalls(activities.map(({ before }) => before)),
    abiViolations: activities.reduce((total, { abiViolations }) => total + abiViolations, 0),
    failedByMember: sumByMember(
      activities.flatMap(({ failedByMember }) => Object.entries(failedByMember).map(([member, failed]) => ({ member, failed }))),
    ),
  });
}

function toMeasured({ since, before, abiViolations, failedByMember }: Activity): Measurement {
  const byFailures = Object.entries(failedByMember).toSorted(([left, most], [right, more]) => more - most || (left < right ? -1 : 1));
  return { ...toFigures(since), abiViolations, worstMember: byFailures[0]?.[0] ?? null, before: toFigures(before) };
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
