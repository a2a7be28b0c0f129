// How long to wait before trying again: longer each time, and never the same for two hosts.

const firstMilliseconds = 100;
const longestMilliseconds = 5_000;
/** The longest that a service, or a proxy before it, may ask a host to wait. */
const longestAskedMilliseconds = 60_000;

/** Exponential back-off with full jitter: a service that comes back is not met by all hosts at once. */
export class BackOff {
  #attempts = 0;

  /**
   * Waits; returns early when the signal is aborted.
   * @param asked Milliseconds that the service asked to wait for (`Retry-After`), counted up to a minute: the wait is longer than that.
   * @param reachable Aborted when the service can be reached again: ends a wait for which the service did not ask, and resets the back-off.
   */
  async wait(signal: AbortSignal, asked = 0, reachable?: AbortSignal): Promise<void> {
    const ceiling = Math.min(firstMilliseconds * 2 ** this.#attempts, longestMilliseconds);
    this.#attempts = Math.min(this.#attempts + 1, 16);
    const milliseconds = boundedWait(asked) + Math.random() * ceiling;
    if (reachable === undefined || asked > 0) return delay(milliseconds, signal);
    await delay(milliseconds, AbortSignal.any([signal, reachable]));
    if (reachable.aborted) this.reset();
  }

  /** It worked: the next wait is a short one again. */
  reset(): void {
    this.#attempts = 0;
  }
}

/** What a service asked to wait for, in milliseconds, as far as a host does so: at most a minute. */
export function boundedWait(asked: number): number {
  return Math.min(asked, longestAskedMilliseconds);
}

/** Resolves after that time, or when the signal is aborted. */
export function delay(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
  });
}
