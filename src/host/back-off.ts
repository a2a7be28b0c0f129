// How long a host waits before it tries again: by the rule for all clients, and as long as the service asks.

import { backOffMilliseconds, delay } from '../protocol/back-off.ts';

const limits = { initial: 100, max: 5_000 };
/** The longest that a service, or a proxy before it, may ask a host to wait. */
const maxRetryAfterMilliseconds = 60_000;

/** Counts the failures of one connection, and waits after each. */
export class BackOff {
  #failures = 0;

  /**
   * Waits; returns early when the signal is aborted.
   * @param asked Milliseconds that the service asked to wait for (`Retry-After`), counted up to a minute: the wait is longer than that.
   * @param reachable Aborted when the service can be reached again: ends a wait for which the service did not ask, and resets the back-off.
   */
  async wait(signal: AbortSignal, asked = 0, reachable?: AbortSignal): Promise<void> {
    this.#failures += 1;
    const milliseconds = clampRetryAfter(asked) + backOffMilliseconds(this.#failures, limits);
    if (reachable === undefined || asked > 0) return delay(milliseconds, signal);
    await delay(milliseconds, AbortSignal.any([signal, reachable]));
    if (reachable.aborted) this.reset();
  }

  /** It worked: the next wait is a short one again. */
  reset(): void {
    this.#failures = 0;
  }
}

/** What a service asked to wait for, in milliseconds, as far as a host does so: at most a minute. */
export function clampRetryAfter(asked: number): number {
  return Math.min(asked, maxRetryAfterMilliseconds);
}
