// Decides what happens after a failed attempt: another attempt with back-off, or parking.

import { backOffMilliseconds } from '../../protocol/back-off.ts';

export const retryLimits = {
  /** How long an event is attempted before it is parked, in milliseconds. */
  period: 24 * 3_600_000,
  /** The first and the longest wait between two attempts, in milliseconds; each is shortened by jitter to as little as half. */
  backOff: { initial: 5_000, max: 3_600_000 },
  /** The longest `Retry-After` that is honoured, in milliseconds. */
  retryAfter: 3_600_000,
} as const;

/** Failed attempts of an event, this one included. */
export type Failures = { readonly attempts: number; readonly firstAttemptAt: Date; readonly retryAfter: number | null };

/** Returns when the next attempt is due; null if the event has been attempted for long enough. The last attempt is at the end of the period. */
export function nextAttempt({ attempts, firstAttemptAt, retryAfter }: Failures, now: Date): Date | null {
  const end = firstAttemptAt.getTime() + retryLimits.period;
  if (now.getTime() >= end) return null;
  const wait = Math.max(backOffMilliseconds(attempts, retryLimits.backOff), Math.min(retryAfter ?? 0, retryLimits.retryAfter));
  return new Date(Math.min(now.getTime() + wait, end));
}
