// Whether a wave does well: what is measured of it against its thresholds.

import {
  compareFractions,
  divideFractions,
  type Fraction,
  fractionOf,
  multiplyFractions,
  roundBesideLimit,
  subtractFractions,
} from '../../protocol/fraction.ts';
import type { Measurement } from './measurement.ts';
import type { Thresholds } from './plan.ts';

/** How a wave has gone so far. */
export type WaveResults = {
  readonly devices: number;
  readonly loaded: number;
  readonly failedLoads: number;
  readonly interruptedAccesses: number;
  readonly measured: Measurement;
};

/** One threshold, what was measured, and whether it is passed; a threshold that there is too little to judge by has measured null. */
export type Verdict = {
  readonly threshold: 'failedLoadsPercent' | 'interruptedAccesses' | 'failedCallsPercent' | 'abiViolations' | 'latencyIncreasePercent';
  readonly limit: number;
  readonly measured: number | null;
  readonly exceeded: boolean;
};

/** What is said of each threshold that is judged. */
export function evaluateThresholds(thresholds: Thresholds, results: WaveResults): Verdict[] {
  const { devices, loaded, failedLoads, interruptedAccesses, measured } = results;
  const isJudged = measured.calls >= thresholds.minimumCalls && measured.calls > 0;
  const figures: Record<Verdict['threshold'], Fraction | null> = {
    failedLoadsPercent: percent(ratio(failedLoads, devices)),
    interruptedAccesses: ratio(interruptedAccesses, loaded),
    failedCallsPercent: isJudged ? percent(subtractFractions(failedShare(measured), failedShare(measured.before))) : null,
    abiViolations: fractionOf(measured.abiViolations),
    latencyIncreasePercent: isJudged && measured.before.calls >= thresholds.minimumCalls ? latencyIncrease(measured) : null,
  };
  return order.flatMap((threshold) => {
    const limit = thresholds[threshold];
    return limit === null ? [] : [evaluateThreshold(threshold, limit, figures[threshold])];
  });
}

/** Compares exactly; only what is shown is rounded, so that it shows the same. */
function evaluateThreshold(threshold: Verdict['threshold'], limit: number, figure: Fraction | null): Verdict {
  if (figure === null) return { threshold, limit, measured: null, exceeded: false };
  const exactLimit = fractionOf(limit);
  return {
    threshold,
    limit,
    measured: roundBesideLimit(figure, exactLimit),
    exceeded: compareFractions(figure, exactLimit) > 0,
  };
}

/** Why a wave has failed, in a sentence; null as long as it has not. */
export function describeFailure(thresholds: Thresholds, results: WaveResults): string | null {
  const passed = evaluateThresholds(thresholds, results).filter(({ exceeded }) => exceeded);
  return passed.length === 0 ? null : passed.map((verdict) => describeExceeded(verdict, results)).join('; ');
}

/** Why a wave whose time is over has not shown enough, in a sentence; null where it has. */
export function describeShortfall({ requireCalls, minimumCalls }: Thresholds, { measured }: WaveResults): string | null {
  if (!requireCalls || measured.calls >= minimumCalls) return null;
  return `programs have made ${measured.calls} calls since their devices got the build, and ${minimumCalls} are required`;
}

const order = ['failedLoadsPercent', 'interruptedAccesses', 'failedCallsPercent', 'abiViolations', 'latencyIncreasePercent'] as const;

/** Returns the part of the whole; 0 where the whole is 0. */
const ratio = (part: number, whole: number) => (whole === 0 ? fractionOf(0) : divideFractions(fractionOf(part), fractionOf(whole)));
const percent = (fraction: Fraction) => multiplyFractions(fraction, fractionOf(100));

function failedShare({ calls, failedCalls }: Pick<Measurement, 'calls' | 'failedCalls'>): Fraction {
  return ratio(failedCalls, calls);
}

function latencyIncrease({ p99Microseconds, before }: Measurement): Fraction | null {
  if (p99Microseconds === null || before.p99Microseconds === null || before.p99Microseconds === 0) return null;
  return percent(subtractFractions(ratio(p99Microseconds, before.p99Microseconds), fractionOf(1)));
}

function describeExceeded({ threshold, limit, measured: figure }: Verdict, { devices, failedLoads, measured }: WaveResults): string {
  const { calls, failedCalls, abiViolations, p99Microseconds, before } = measured;
  switch (threshold) {
    case 'failedLoadsPercent':
      return `${failedLoads} of ${devices} loads have not succeeded, and ${limit} % may`;
    case 'interruptedAccesses':
      return `${figure} accesses were interrupted on each device, and ${limit} may be`;
    case 'failedCallsPercent':
      return `${failedCalls} of ${calls} calls have failed since their devices got the build (${before.failedCalls} of ${before.calls} in the version before), and ${limit} percentage points more may`;
    case 'abiViolations':
      return `${abiViolations === 1 ? '1 program holds' : `${abiViolations} programs hold`} on to code that has gone, and ${limit} may`;
    case 'latencyIncreasePercent':
      return `99 % of the calls take up to ${p99Microseconds} µs, ${figure} % more than the ${before.p99Microseconds} µs of the version before, and ${limit} % more are allowed`;
  }
}
