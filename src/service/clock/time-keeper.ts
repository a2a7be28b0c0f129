// Keeps the service clock in sync with its source: the clock of the machine, or that of the database, which all replicas share.

import type { Connection } from '../database/connection.ts';
import { LocalRecurringJob } from '../database/local-recurring-job.ts';
import type { Store } from '../database/store.ts';
import { RetentionTimeRecords } from './repository.ts';
import { advanceRetentionTime } from './retention-time.ts';
import { type Clock, ServiceClock, type TimeSource } from './service-clock.ts';

/** How often the source is read, in milliseconds. */
const readInterval = 1_000;
/** A reading that took longer is too imprecise and is discarded, in milliseconds. */
const maxReadDuration = 500;
/** How often the retention time is saved, in milliseconds. */
const saveInterval = 60_000;

/** The retention time that was last saved, and when, by the monotonic clock. */
type Saved = { readonly at: number; readonly monotonic: number };

export class TimeKeeper {
  readonly #store: Store;
  readonly #time: TimeSource;
  readonly #clock: ServiceClock;
  readonly #readJob: LocalRecurringJob;
  readonly #saveJob: LocalRecurringJob;
  #saved: Saved;

  private constructor(store: Store, time: TimeSource, clock: ServiceClock, saved: Saved) {
    this.#store = store;
    this.#time = time;
    this.#clock = clock;
    this.#saved = saved;
    this.#readJob = new LocalRecurringJob(readInterval, () => this.read());
    this.#saveJob = new LocalRecurringJob(saveInterval, () => this.save());
  }

  /** Starts with the current reading of the source. */
  static async start(store: Store, time: TimeSource): Promise<TimeKeeper> {
    const shared = await store.clusterTime();
    const clock = new ServiceClock(time.monotonic, shared ?? time.wall());
    const known =
      (await new RetentionTimeRecords(store.readConnection).find()) ??
      (await store.transaction((connection) => initializeRetentionTime(connection, clock.now())));
    return new TimeKeeper(store, time, clock, { at: known.getTime(), monotonic: time.monotonic() });
  }

  get clock(): Clock {
    return this.#clock;
  }

  /** Faults of the source, as sentences for operators. */
  get faults(): readonly string[] {
    const { jump } = this.#clock;
    if (jump === null) return [];
    const direction = jump > 0 ? 'forward' : 'backward';
    return [
      `the clock of the machine or the database jumped ${Math.round(Math.abs(jump) / 1_000)} s ${direction}: correct it, or the service follows it within minutes`,
    ];
  }

  /** Reads the source once. */
  async read(): Promise<void> {
    const before = this.#time.monotonic();
    const shared = await this.#store.clusterTime();
    const after = this.#time.monotonic();
    if (shared === null) this.#clock.observe(this.#time.wall());
    else if (after - before <= maxReadDuration) this.#clock.observe(shared, (before + after) / 2);
  }

  /** Saves the retention time. Replicas save it concurrently: the latest time wins. */
  async save(): Promise<void> {
    this.#saved = await this.#store.transaction(async (connection) => {
      const retentionTime = new RetentionTimeRecords(connection);
      const monotonic = this.#time.monotonic();
      const mine = advanceRetentionTime(this.#saved.at, monotonic - this.#saved.monotonic, this.#clock.now().getTime());
      const known = (await retentionTime.find())?.getTime() ?? mine;
      const at = Math.max(known, Math.floor(mine));
      if (at !== known) await retentionTime.set(new Date(at));
      return { at, monotonic };
    });
  }

  /** Stops reading the source, and saves the retention time. */
  async stop(): Promise<void> {
    await this.#readJob.stop();
    await this.#saveJob.stop();
    await this.save().catch(() => {});
  }
}

/** Sets the retention time for the first time, unless another replica has done so meanwhile. Returns it. */
async function initializeRetentionTime(connection: Connection, now: Date): Promise<Date> {
  const retentionTime = new RetentionTimeRecords(connection);
  const known = await retentionTime.find();
  if (known === null) await retentionTime.set(now);
  return known ?? now;
}
