// The problem of a request that fails because the database is unavailable: what happened, and when to try again.

import { Problem } from '../problem.ts';
import { findUnavailability } from './unavailable.ts';

/** The problem of a request that failed because the database is locked, full, read-only, away or lost; null where it failed for another reason. */
export function toDatabaseProblem(error: unknown): Problem | null {
  const unavailable = findUnavailability(error);
  if (unavailable === null) return null;
  const { detail, retryAfterSeconds, isLost } = unavailable;
  const advice = isLost ? '' : '; try again when Retry-After has passed';
  return new Problem('database-unavailable', `${detail}${advice}`, { retryAfterSeconds });
}
