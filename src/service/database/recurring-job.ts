// Work that is done again and again, once in the whole installation at a time.

/** Such work. */
export type RecurringJob = {
  /** There is something to be done: it is done soon, or right after the run that is under way. */
  readonly trigger: () => void;
  /** This process does it no more; resolves when its last run has ended. */
  readonly stop: () => Promise<void>;
};
