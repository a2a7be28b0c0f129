// The time by which it is decided what is old enough to be removed: answers to repeated requests, events, images. A clock that is wrong must never make
// the service forget: this time lasts over restarts, and never runs faster than twice as fast as real time passes while a service runs.

/** Of real time, while the time of the service is ahead or behind. */
export const retentionSpeeds = { fastest: 2, slowest: 0.5 } as const;

/**
 * The retention time after some time has passed: it runs as fast as that, or catches up with the time of the service.
 * @param at Before, in milliseconds since 1970.
 * @param elapsed Milliseconds of real time.
 * @param target The time of the service.
 */
export function advanceRetentionTime(at: number, elapsed: number, target: number): number {
  if (target > at + elapsed) return Math.min(target, at + elapsed * retentionSpeeds.fastest);
  return Math.max(target, at + elapsed * retentionSpeeds.slowest);
}
