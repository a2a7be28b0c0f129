// Waits of a host between attempts: exponential back-off, and the Retry-After of the service.

import { type BackOffLimits, backOffMilliseconds, delay } from '../protocol/back-off.ts';

const defaultLimits: BackOffLimits = { initial: 100, max: 5_000 };
/** Maximum Retry-After, in milliseconds, that a host accepts from the service or a proxy. */
const maxRetryAfterMilliseconds = 60_000;

/** Counts consecutive failures of one task, and waits after each. */
export class BackOff {
  readonly #limits: BackOffLimits;
  #failures = 0;

  constructor(limits = defaultLimits) {
    this.#limits = limits;
  }

  /**
   * Waits; returns early if the signal is aborted.
   * @param retryAfter `Retry-After` of the service in milliseconds, up to one minute: the wait is longer than that.
   * @param reachable Aborted when the service is reachable again: then a wait without `Retry-After` ends, and the back-off is reset.
   */
  async wait(signal: AbortSignal, retryAfter = 0, reachable?: AbortSignal): Promise<void> {
    this.#failures += 1;
    const milliseconds = clampRetryAfter(retryAfter) + backOffMilliseconds(this.#failures, this.#limits);
    if (reachable === undefined || retryAfter > 0) return delay(milliseconds, signal);
    await delay(milliseconds, AbortSignal.any([signal, reachable]));
    if (reachable.aborted) this.reset();
  }

  /** Resets the back-off after a success. */
  reset(): void {
    this.#failures = 0;
  }
}

/** Limits a `Retry-After` to one minute, in milliseconds. */
export function clampRetryAfter(retryAfter: number): number {
  return Math.min(retryAfter, maxRetryAfterMilliseconds);
}
