// Whether a wave does well: what is measured of it against its thresholds.

import type { Measured } from './measurement.ts';
import type { Thresholds } from './plan.ts';

/** How a wave has gone so far. */
export type WaveResults = {
  readonly devices: number;
  readonly loaded: number;
  readonly failedLoads: number;
  readonly interruptedAccesses: number;
  readonly measured: Measured;
};

/** One threshold, what was measured, and whether it is passed; a threshold that there is too little to judge by has measured null. */
export type Verdict = {
  readonly threshold: 'failedLoadsPercent' | 'interruptedAccesses' | 'failedCallsPercent' | 'abiViolations' | 'latencyIncreasePercent';
  readonly limit: number;
  readonly measured: number | null;
  readonly isPassed: boolean;
};

/** What is said of each threshold that is judged. */
export function verdictsOf(thresholds: Thresholds, results: WaveResults): Verdict[] {
  const { devices, loaded, failedLoads, interruptedAccesses, measured } = results;
  const isJudged = measured.calls >= thresholds.minimumCalls && measured.calls > 0;
  const figures: Record<Verdict['threshold'], number | null> = {
    failedLoadsPercent: devices === 0 ? 0 : (failedLoads / devices) * 100,
    interruptedAccesses: loaded === 0 ? 0 : interruptedAccesses / loaded,
    failedCallsPercent: isJudged ? (shareOfFailed(measured) - shareOfFailed(measured.before)) * 100 : null,
    abiViolations: measured.abiViolations,
    latencyIncreasePercent: isJudged && measured.before.calls >= thresholds.minimumCalls ? latencyIncrease(measured) : null,
  };
  return order.flatMap((threshold) => {
    const limit = thresholds[threshold];
    const figure = figures[threshold];
    return limit === null ? [] : [{ threshold, limit, measured: figure, isPassed: figure !== null && figure > limit }];
  });
}

/** Why a wave has failed, in a sentence; null as long as it has not. */
export function failureOf(thresholds: Thresholds, results: WaveResults): string | null {
  const passed = verdictsOf(thresholds, results).filter(({ isPassed }) => isPassed);
  return passed.length === 0 ? null : passed.map((verdict) => sentenceOf(verdict, results)).join('; ');
}

/** Why a wave whose time is over has not shown enough, in a sentence; null where it has. */
export function shortfallOf({ requireCalls, minimumCalls }: Thresholds, { measured }: WaveResults): string | null {
  if (!requireCalls || measured.calls >= minimumCalls) return null;
  return `programs have made ${measured.calls} calls since their devices got the build, and ${minimumCalls} are required`;
}

const order = ['failedLoadsPercent', 'interruptedAccesses', 'failedCallsPercent', 'abiViolations', 'latencyIncreasePercent'] as const;

function shareOfFailed({ calls, failedCalls }: Pick<Measured, 'calls' | 'failedCalls'>): number {
  return calls === 0 ? 0 : failedCalls / calls;
}

function latencyIncrease({ p99Microseconds, before }: Measured): number | null {
  if (p99Microseconds === null || before.p99Microseconds === null || before.p99Microseconds === 0) return null;
  return (p99Microseconds / before.p99Microseconds - 1) * 100;
}

function sentenceOf({ threshold, limit, measured: figure }: Verdict, { devices, failedLoads, measured }: WaveResults): string {
  const { calls, failedCalls, abiViolations, p99Microseconds, before } = measured;
  switch (threshold) {
    case 'failedLoadsPercent':
      return `${failedLoads} of ${devices} loads have not succeeded, and ${limit} % may`;
    case 'interruptedAccesses':
      return `${rounded(figure)} accesses were interrupted on each device, and ${limit} may be`;
    case 'failedCallsPercent':
      return `${failedCalls} of ${calls} calls have failed since their devices got the build (${before.failedCalls} of ${before.calls} in the version before), and ${limit} percentage points more may`;
    case 'abiViolations':
      return `${abiViolations === 1 ? '1 program holds' : `${abiViolations} programs hold`} on to code that has gone, and ${limit} may`;
    case 'latencyIncreasePercent':
      return `99 % of the calls take up to ${p99Microseconds} µs, ${rounded(figure)} % more than the ${before.p99Microseconds} µs of the version before, and ${limit} % more are allowed`;
  }
}

const rounded = (figure: number | null) => (figure === null ? 'no' : String(Math.round(figure * 100) / 100));
