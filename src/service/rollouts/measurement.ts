// What a new version does on live programs: how their calls have gone since it came, against how they went in the version before.

import { z } from 'zod';
import type { DeviceState, ProgramStatistics } from '../../protocol/device-state.ts';
import { Latency, latencyQuantile, mergeLatencies, subtractLatency, sumCounts } from '../../protocol/latency.ts';
import type { Callers } from './callers.ts';

const count = z.int().nonnegative();
const Calls = z.object({ completed: count, failed: count, latency: Latency });
type Calls = z.infer<typeof Calls>;

/** What the programs of a device had done when it got the new version. */
export const Baseline = z.object({
  /** Calls of each program that the new version concerns, since it began: how many there are more of later is what has been done since. */
  programs: z.record(z.string(), Calls),
  /** Programs that there were, and that it does not concern. */
  others: z.array(z.string()),
  /** All calls of these that the version before has served; of those that call it through other modules, those of the version that they call. */
  before: Calls,
  /** Programs that were found to hold on to code of the module that has gone. */
  abiViolations: count,
});
export type Baseline = z.infer<typeof Baseline>;

/** What the programs of some devices have done since they got the new version. */
export type Activity = { readonly since: Calls; readonly before: Calls; readonly abiViolations: number };

const figures = {
  calls: count.describe('Number of calls that ended, including failed ones.'),
  failedCalls: count.describe('Number of calls that ended with a trap or an error.'),
  p99Microseconds: z.number().nullable().describe('99th percentile of call latency, in microseconds. Null if no call was measured.'),
};

/** The same, for people and for thresholds. */
export const Measurement = z
  .object({
    ...figures,
    abiViolations: count.describe('Number of ABI violations: programs that called removed code at a stale address.'),
    before: z
      .object(figures)
      .meta({ id: 'BaselineMeasurement', description: 'The same figures for the version before, as far as the programs counted them.' }),
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

/** A load that has brought a version in. */
export type Swap = {
  readonly module: string;
  readonly version: string;
  /** The version that it has replaced; null where there was none. */
  readonly previousVersion: string | null;
  /** What the device had reported before the load; null where that is not known. */
  readonly before: DeviceState | null;
};

/**
 * What a device's programs had done when a load brought a version in, from what the device reports right after it. By then the version has served
 * calls already: what it had served before, in an earlier stay, the device has told before.
 */
export function captureBaseline(state: DeviceState, swap: Swap, { direct, indirect }: Callers): Baseline {
  const isConcerned = ({ program }: ProgramStatistics) => direct.has(program) || indirect.has(program);
  const programs = state.programs.filter(isConcerned);
  const replaced = programs.map(({ program, versions }) =>
    direct.has(program) ? versions.filter(({ version }) => version === swap.previousVersion) : versions.slice(-1),
  );
  const atSwap = ({ program, versions }: ProgramStatistics) => {
    if (!direct.has(program)) return versions;
    const earlier = swap.before?.programs.find((one) => one.program === program)?.versions ?? [];
    const ofVersion = (one: { readonly version: string }) => one.version === swap.version;
    return [...versions.filter((one) => !ofVersion(one)), ...earlier.filter(ofVersion)];
  };
  return {
    programs: Object.fromEntries(programs.map((statistics) => [statistics.program, sumVersions(atSwap(statistics))])),
    others: state.programs.filter((statistics) => !isConcerned(statistics)).map(({ program }) => program),
    before: sumVersions(replaced.flat()),
    abiViolations: findEarlierViolations(state, swap).length,
  };
}

/**
 * The violations that the load has not made, whatever the clock of the device says of them: those that the device had told before, and those by the
 * address of another version than the one that the load has replaced.
 */
function findEarlierViolations(state: DeviceState, { module, previousVersion, before }: Swap) {
  const known = new Set(before?.abiViolations.newest.map(violationKey));
  return state.abiViolations.newest.filter(
    (violation) => violation.module === module && (violation.version !== previousVersion || known.has(violationKey(violation))),
  );
}

const violationKey = ({ program, version, address }: DeviceState['abiViolations']['newest'][number]) => `${program} ${address} ${version}`;

/**
 * What has been done on a device since then. Of a program that has begun anew with its device, all that it has done counts.
 * @param callers Whom the new version concerns now: programs that have been started since count too.
 */
export function measureActivity(
  { programs, before, abiViolations }: Baseline,
  state: DeviceState,
  module: string,
  callers: Callers,
): Activity {
  const concerned = state.programs.filter(
    ({ program }) => Object.hasOwn(programs, program) || callers.direct.has(program) || callers.indirect.has(program),
  );
  const since = concerned.map(({ program, versions }) => {
    const now = sumVersions(versions);
    const then = programs[program];
    return then === undefined || now.completed < then.completed || now.failed < then.failed ? now : subtractCalls(now, then);
  });
  const found = countViolations(state, module);
  return { since: sumCalls(since), before, abiViolations: found < abiViolations ? found : found - abiViolations };
}

function countViolations({ abiViolations }: DeviceState, module: string): number {
  return abiViolations.newest.filter((violation) => violation.module === module).length;
}

/** What has been done on some devices together. */
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

function sumCalls(several: readonly Calls[]): Calls {
  return {
    completed: sumCounts(several.map(({ completed }) => completed)),
    failed: sumCounts(several.map(({ failed }) => failed)),
    latency: mergeLatencies(several.map(({ latency }) => latency)),
  };
}

function subtractCalls(later: Calls, earlier: Calls): Calls {
  return {
    completed: later.completed - earlier.completed,
    failed: later.failed - earlier.failed,
    latency: subtractLatency(later.latency, earlier.latency),
  };
}
