// How long hosts, clients and the dashboard wait before they try again: one rule for all.

/** Milliseconds: what the initial wait is bounded by, and what no wait exceeds. */
export type BackOffLimits = { readonly initial: number; readonly max: number };

/**
 * Returns the milliseconds to wait after so many failures in a row, from 1. The bound doubles with each failure, and the wait is between half the bound
 * and the bound at random, so that a service that comes back is not met by everybody at once.
 */
export function backOffMilliseconds(failures: number, { initial, max }: BackOffLimits): number {
  const bound = Math.min(initial * 2 ** (failures - 1), max);
  return bound / 2 + (Math.random() * bound) / 2;
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
