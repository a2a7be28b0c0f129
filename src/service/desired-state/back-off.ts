// Delays between the attempts to bring a device to its desired version.

import { clockSettings } from '../clock/service-clock.ts';

/** Delay after the first failed attempt, and maximum delay, in milliseconds. Each delay is twice the one before. */
const firstDelay = 60_000;
const maxDelay = 3_600_000;

/** Loads that brought a version which the device lost later count for this time, in milliseconds. */
export const revertedWithin = 86_400_000;

/** Returns the time of the next attempt. @param attempts Number of failed attempts, or of loads whose version the device lost, from 1. @param now End of the last one. */
export function nextAttemptTime(attempts: number, now: Date): Date {
  return new Date(now.getTime() + Math.min(maxDelay, firstDelay * 2 ** (attempts - 1)));
}

/** Returns whether the next attempt is due. A time later than the longest delay was computed while the clock was ahead: the attempt is then due now. */
export function isDue(nextAttemptAt: Date, now: Date): boolean {
  const wait = nextAttemptAt.getTime() - now.getTime();
  return wait <= 0 || wait > maxDelay + clockSettings.tolerance;
}
