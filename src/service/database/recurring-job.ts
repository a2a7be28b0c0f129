// Recurring jobs, which run in one process of the installation at a time.

/** A recurring job. */
export type RecurringJob = {
  /** Starts a run soon, or right after the current run. */
  readonly trigger: () => void;
  /** Stops the job in this process; resolves when its last run has ended. */
  readonly stop: () => Promise<void>;
};
