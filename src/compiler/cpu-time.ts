// Limits the CPU time of a worker thread: on a busy machine, elapsed time says little about the work of a compilation.

import type { Worker } from 'node:worker_threads';

/** Minimum time between two checks, in milliseconds. */
const minWait = 20;

/**
 * Calls `onExceeded` when a worker thread has used the given CPU time, counted from this call. Stops when the thread ends.
 * @param limit Milliseconds.
 * @returns A function that stops the watch.
 */
export function watchCpuTime(worker: Worker, limit: number, onExceeded: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;
  const checkFrom = async (start: number): Promise<void> => {
    const left = start + limit - (await readCpuTime(worker));
    if (isStopped) return;
    if (left <= 0) onExceeded();
    else timer = setTimeout(() => void checkFrom(start).catch(ignoreEndedThread), Math.max(minWait, left)).unref();
  };
  void readCpuTime(worker).then(checkFrom).catch(ignoreEndedThread);
  return () => {
    isStopped = true;
    clearTimeout(timer);
  };
}

/** Returns the CPU time of the thread since its start, in milliseconds. */
async function readCpuTime(worker: Worker): Promise<number> {
  const { user, system } = await worker.cpuUsage();
  return (user + system) / 1_000;
}

/** Ignores the error of a thread that has ended: its own events report the end. */
function ignoreEndedThread(): void {}
