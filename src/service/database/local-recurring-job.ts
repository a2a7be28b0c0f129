// Work that the one process of an installation does by itself, again and again.

import type { RecurringJob } from './recurring-job.ts';

/** How soon a run follows when somebody asks for one, in milliseconds: those who ask at the same time get the same. */
const soon = 10;

/** Runs work at intervals, one run after another; a run that fails is followed by the next. */
export class LocalRecurringJob implements RecurringJob {
  readonly #work: () => Promise<void>;
  readonly #interval: number;
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;
  #isHastened = false;
  #isStopped = false;

  /** @param interval Milliseconds from the end of a run to the next. */
  constructor(interval: number, work: () => Promise<void>) {
    this.#interval = interval;
    this.#work = work;
    this.#schedule(interval);
  }

  /** There is something to be done: runs soon, or right after the run that is under way. */
  trigger(): void {
    if (this.#isHastened || this.#isStopped) return;
    this.#isHastened = true;
    if (this.#running === null) this.#schedule(soon);
  }

  /** There will be no other run; resolves when the last has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(delay: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#isHastened = false;
      // A database that cannot be written to is told by the readiness of the service; here is nobody to answer to.
      this.#running = this.#work().catch(() => {});
      this.#running.then(() => {
        this.#running = null;
        if (!this.#isStopped) this.#schedule(this.#isHastened ? soon : this.#interval);
      });
    }, delay);
  }
}
