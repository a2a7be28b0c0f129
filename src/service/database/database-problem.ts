// The problem of a request that fails because the database is unavailable.

import { Problem } from '../problem.ts';
import { findUnavailability } from './unavailable.ts';

/** Returns the problem of an error that was caused by an unavailable database: locked, full, read-only, unreachable or lost. Null for any other error. */
export function toDatabaseProblem(error: unknown): Problem | null {
  const unavailable = findUnavailability(error);
  if (unavailable === null) return null;
  const { detail, retryAfterSeconds, isLost } = unavailable;
  const advice = isLost ? '' : '; retry after the time in Retry-After';
  return new Problem('database-unavailable', `${detail}${advice}`, { retryAfterSeconds });
}
