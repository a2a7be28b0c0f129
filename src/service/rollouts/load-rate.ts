// Rate limit of a rollout's loads: evenly spaced, by the generic cell rate algorithm (ITU-T I.371).

import { clockSettings } from '../clock/service-clock.ts';

/** A delayed rollout may request at once the loads of this period. */
const burstMilliseconds = 1_000;

/** Returns how many loads may be requested now. */
export function loadAllowance(loadsPerMinute: number | null, nextLoadAt: Date | null, now: Date): number {
  if (loadsPerMinute === null) return Number.MAX_SAFE_INTEGER;
  const late = now.getTime() - dueTime(loadsPerMinute, nextLoadAt, now);
  return late < 0 ? 0 : 1 + Math.floor((Math.min(late, burstMilliseconds) * loadsPerMinute) / minute);
}

/** Returns when the next load may be requested after `requested` loads now; null without a rate. */
export function nextLoadTime(requested: number, loadsPerMinute: number | null, nextLoadAt: Date | null, now: Date): Date | null {
  if (loadsPerMinute === null) return null;
  const from = Math.max(dueTime(loadsPerMinute, nextLoadAt, now), now.getTime() - burstMilliseconds);
  return new Date(from + Math.ceil((requested * minute) / loadsPerMinute));
}

/**
 * Returns when the next load is due, in milliseconds since 1970. A time later than the longest possible wait was computed while the clock was ahead;
 * the load is then due now.
 */
function dueTime(loadsPerMinute: number, nextLoadAt: Date | null, now: Date): number {
  const latest = now.getTime() + minute / loadsPerMinute + burstMilliseconds + clockSettings.tolerance;
  return nextLoadAt === null || nextLoadAt.getTime() > latest ? now.getTime() : nextLoadAt.getTime();
}

/** Milliseconds. Multiply before dividing: an interval such as 60,000 / 7 ms has no exact floating-point value. */
const minute = 60_000;
