// How fast a rollout asks for loads, where it has a rate: one after another at even distances (the generic cell rate algorithm of ITU-T I.371).

import { clockSettings } from '../clock/service-clock.ts';

/** A rollout that was held up may ask at once for what it could have asked for in so many milliseconds. */
const burstMilliseconds = 1_000;

/** How many loads may be requested now. */
export function loadAllowance(loadsPerMinute: number | null, nextLoadAt: Date | null, now: Date): number {
  if (loadsPerMinute === null) return Number.MAX_SAFE_INTEGER;
  const late = now.getTime() - dueTime(loadsPerMinute, nextLoadAt, now);
  return late < 0 ? 0 : 1 + Math.floor((Math.min(late, burstMilliseconds) * loadsPerMinute) / minute);
}

/** When the next may be requested after so many; null where there is no rate. */
export function nextLoadTime(requested: number, loadsPerMinute: number | null, nextLoadAt: Date | null, now: Date): Date | null {
  if (loadsPerMinute === null) return null;
  const from = Math.max(dueTime(loadsPerMinute, nextLoadAt, now), now.getTime() - burstMilliseconds);
  return new Date(from + Math.ceil((requested * minute) / loadsPerMinute));
}

/**
 * When the next load is due, in milliseconds since 1970. No load is due later than what may be requested at once takes: where it seems to be, the clock
 * was ahead when that was reckoned, and it is due now.
 */
function dueTime(loadsPerMinute: number, nextLoadAt: Date | null, now: Date): number {
  const latest = now.getTime() + minute / loadsPerMinute + burstMilliseconds + clockSettings.tolerance;
  return nextLoadAt === null || nextLoadAt.getTime() > latest ? now.getTime() : nextLoadAt.getTime();
}

/** Milliseconds. Integers are multiplied before they are divided: the interval between two loads, 60,000 / 7 ms, is no number that can be written. */
const minute = 60_000;
