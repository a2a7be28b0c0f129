// Checks the database files every second and logs when they were deleted, truncated or replaced, even without writes.

import type { BaseLogger } from 'pino';
import { LocalRecurringJob } from './local-recurring-job.ts';
import type { Store } from './store.ts';

/** Milliseconds between two checks. */
const interval = 1_000;

export class DatabaseFileMonitor {
  readonly #job: LocalRecurringJob;
  #last: string | null = null;

  constructor(store: Store, logger: BaseLogger) {
    this.#job = new LocalRecurringJob(interval, async () => {
      const fault = store.fault();
      if (fault === this.#last) return;
      this.#last = fault;
      if (fault === null) logger.warn('the database files are intact again: writes are accepted');
      else logger.error(`${fault}: writes are rejected`);
    });
  }

  stop(): Promise<void> {
    return this.#job.stop();
  }
}
