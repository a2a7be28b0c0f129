// Compares the measured results of a wave with its thresholds.

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

/** The results of a wave so far. */
export type WaveResults = {
  readonly devices: number;
  readonly loaded: number;
  readonly failedLoads: number;
  readonly interruptedAccesses: number;
  readonly measured: Measurement;
};

/** The comparison of one threshold. `measured` is null while there is too little data. */
export type Verdict = {
  readonly threshold: 'failedLoadsPercent' | 'interruptedAccesses' | 'failedCallsPercent' | 'abiViolations' | 'latencyIncreasePercent';
  readonly limit: number;
  readonly measured: number | null;
  readonly exceeded: boolean;
};

/** Returns a verdict for each threshold that is set. */
export function evaluateThresholds(thresholds: Thresholds, results: WaveResults): Verdict[] {
  const { devices, loaded, failedLoads, interruptedAccesses, measured } = results;
  const hasEnoughCalls = measured.calls >= thresholds.minimumCalls && measured.calls > 0;
  const figures: Record<Verdict['threshold'], Fraction | null> = {
    failedLoadsPercent: percent(ratio(failedLoads, devices)),
    interruptedAccesses: ratio(interruptedAccesses, loaded),
    failedCallsPercent: hasEnoughCalls ? percent(subtractFractions(failedShare(measured), failedShare(measured.before))) : null,
    abiViolations: fractionOf(measured.abiViolations),
    latencyIncreasePercent: hasEnoughCalls && measured.before.calls >= thresholds.minimumCalls ? latencyIncrease(measured) : null,
  };
  return order.flatMap((threshold) => {
    const limit = thresholds[threshold];
    return limit === null ? [] : [evaluateThreshold(threshold, limit, figures[threshold])];
  });
}

/** Compares exact fractions. `measured` is rounded so that it stays on its side of the limit. */
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

/** Returns why a wave failed; null if no threshold is exceeded. */
export function describeFailure(thresholds: Thresholds, results: WaveResults): string | null {
  const exceeded = evaluateThresholds(thresholds, results).filter(({ exceeded }) => exceeded);
  return exceeded.length === 0 ? null : exceeded.map((verdict) => describeExceeded(verdict, results)).join('; ');
}

/** Returns why a wave did not reach its required number of calls by the end of its soak time; null if it did or none are required. */
export function describeShortfall({ requireCalls, minimumCalls }: Thresholds, { measured }: WaveResults): string | null {
  if (!requireCalls || measured.calls >= minimumCalls) return null;
  return `${measured.calls} calls since the load; required: ${minimumCalls}`;
}

const order = ['failedLoadsPercent', 'interruptedAccesses', 'failedCallsPercent', 'abiViolations', 'latencyIncreasePercent'] as const;

/** Returns part / whole; 0 if the whole is 0. */
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
  const { calls, failedCalls, abiViolations, p99Microseconds, worstMember, before } = measured;
  switch (threshold) {
    case 'failedLoadsPercent':
      return `${failedLoads} of ${devices} loads failed; limit: ${limit}%`;
    case 'interruptedAccesses':
      return `${figure} accesses interrupted per device; limit: ${limit}`;
    case 'failedCallsPercent':
      return `${failedCalls} of ${calls} calls failed (before: ${before.failedCalls} of ${before.calls})${worstMember === null ? '' : `, most of them in ${worstMember}`}; limit: +${limit} percentage ${limit === 1 ? 'point' : 'points'}`;
    case 'abiViolations':
      return `${abiViolations} ${abiViolations === 1 ? 'program' : 'programs'} with a stale address; limit: ${limit}`;
    case 'latencyIncreasePercent':
      return `p99 latency is ${p99Microseconds} µs, ${figure}% above ${before.p99Microseconds} µs before; limit: +${limit}%`;
  }
}
