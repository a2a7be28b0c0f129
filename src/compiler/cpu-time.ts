// The processor time of a worker thread: on a busy machine the clock says little of how much work a compilation is.

import type { Worker } from 'node:worker_threads';

/** Checks are at least so many milliseconds apart. */
const shortestWait = 20;

/**
 * Calls `onExceeded` when a worker thread has used a given processor time from now on. Ends by itself when the thread ends.
 * @param limit Milliseconds.
 * @returns A function that ends the watch.
 */
export function watchCpuTime(worker: Worker, limit: number, onExceeded: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  let isEnded = false;
  const checkFrom = async (start: number): Promise<void> => {
    const left = start + limit - (await processorTime(worker));
    if (isEnded) return;
    if (left <= 0) onExceeded();
    else timer = setTimeout(() => void checkFrom(start).catch(ignoreEndedThread), Math.max(shortestWait, left)).unref();
  };
  void processorTime(worker).then(checkFrom).catch(ignoreEndedThread);
  return () => {
    isEnded = true;
    clearTimeout(timer);
  };
}

/** Milliseconds that the thread has used since it was started. */
async function processorTime(worker: Worker): Promise<number> {
  const { user, system } = await worker.cpuUsage();
  return (user + system) / 1_000;
}

/** Whoever waits for the thread gets its end from the thread's own events. */
function ignoreEndedThread(): void {}
