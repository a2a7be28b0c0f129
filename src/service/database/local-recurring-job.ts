// A recurring job of one process.

import type { RecurringJob } from './recurring-job.ts';

/** Delay of a triggered run, in milliseconds: triggers within it are combined. */
const triggerDelay = 10;

/** Runs work at intervals, one run at a time. A failed run is ignored. */
export class LocalRecurringJob implements RecurringJob {
  readonly #work: () => Promise<void>;
  readonly #interval: number;
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;
  #isTriggered = false;
  #isStopped = false;

  /** @param interval Milliseconds from the end of a run to the start of the next. */
  constructor(interval: number, work: () => Promise<void>) {
    this.#interval = interval;
    this.#work = work;
    this.#schedule(interval);
  }

  /** Starts a run soon, or right after the current run. */
  trigger(): void {
    if (this.#isTriggered || this.#isStopped) return;
    this.#isTriggered = true;
    if (this.#running === null) this.#schedule(triggerDelay);
  }

  /** Stops the job; resolves when its last run has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(delay: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#isTriggered = false;
      // There is no caller to report an error to; the readiness probe reports an unavailable database.
      this.#running = this.#work().catch(() => {});
      this.#running.then(() => {
        this.#running = null;
        if (!this.#isStopped) this.#schedule(this.#isTriggered ? triggerDelay : this.#interval);
      });
    }, delay);
  }
}
