// Exponential back-off with jitter, for hosts, clients and the dashboard.

/** Upper bounds of the first wait and of all waits, in milliseconds. */
export type BackOffLimits = { readonly initial: number; readonly max: number };

/**
 * Returns the milliseconds to wait before the next attempt. The bound doubles with each failure. The wait is random between half the bound and the
 * bound, so that clients do not all return to a restarted service at once.
 * @param failures Consecutive failures, at least 1.
 */
export function backOffMilliseconds(failures: number, { initial, max }: BackOffLimits): number {
  const bound = Math.min(initial * 2 ** (failures - 1), max);
  return bound / 2 + (Math.random() * bound) / 2;
}

/** Resolves after the given time, or when the signal is aborted. */
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
