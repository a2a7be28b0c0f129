// The retention time decides what is old enough to be deleted: stored responses, events, images. A wrong clock must never cause data loss: the retention
// time is persistent, and runs at most twice as fast as real time, only while a service runs.

/** The speed of the retention time relative to real time, while it lags behind or is ahead of the service clock. */
export const retentionSpeeds = { max: 2, min: 0.5 } as const;

/**
 * Returns the retention time after some real time has passed. It approaches the time of the service within `retentionSpeeds`.
 * @param at The retention time before, in milliseconds since 1970.
 * @param elapsed Real time that has passed, in milliseconds.
 * @param target The time of the service, in milliseconds since 1970.
 */
export function advanceRetentionTime(at: number, elapsed: number, target: number): number {
  if (target > at + elapsed) return Math.min(target, at + elapsed * retentionSpeeds.max);
  return Math.max(target, at + elapsed * retentionSpeeds.min);
}
