// Checks the files of the database every second, so that the log shows when they were deleted, truncated or replaced, also without writes.

import type { BaseLogger } from 'pino';
import { LocalRecurringJob } from './local-recurring-job.ts';
import type { Store } from './store.ts';

/** Milliseconds between two looks. */
const interval = 1_000;

export class DatabaseFileMonitor {
  readonly #look: LocalRecurringJob;
  #last: string | null = null;

  constructor(store: Store, logger: BaseLogger) {
    this.#look = new LocalRecurringJob(interval, async () => {
      const fault = store.fault();
      if (fault === this.#last) return;
      this.#last = fault;
      if (fault === null) logger.warn('the files of the database are whole again: writes are accepted');
      else logger.error(`${fault}: writes are refused`);
    });
  }

  stop(): Promise<void> {
    return this.#look.stop();
  }
}
