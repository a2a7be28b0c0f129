// Work that the service does by itself, again and again.

/** Runs work at intervals, one run after another; a run that fails is followed by the next. */
export class Repeated {
  readonly #work: () => Promise<void>;
  readonly #interval: number;
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> = Promise.resolve();

  /** @param interval Milliseconds from the end of a run to the next. */
  constructor(interval: number, work: () => Promise<void>) {
    this.#interval = interval;
    this.#work = work;
    this.#schedule();
  }

  /** There will be no other run; resolves when the last has ended. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    await this.#running;
  }

  #schedule(): void {
    const timer = setTimeout(() => {
      // A database that cannot be written to is told by the readiness of the service; here is nobody to answer to.
      this.#running = this.#work().catch(() => {});
      this.#running.then(() => {
        if (this.#timer === timer) this.#schedule();
      });
    }, this.#interval);
    this.#timer = timer;
  }
}
