// Keeps the clock of the service: reads the clock of the machine, or the one that the database shares among all replicas, again and again.

import type { Connection } from '../database/connection.ts';
import { LocalRecurringJob } from '../database/local-recurring-job.ts';
import type { Store } from '../database/store.ts';
import { RetentionTimeRecords } from './repository.ts';
import { advanceRetentionTime } from './retention-time.ts';
import { type Clock, ServiceClock, type TimeSource } from './service-clock.ts';

/** How often the source is read, in milliseconds. */
const readInterval = 1_000;
/** A reading that took longer says too little about when it was true, in milliseconds. */
const longestReading = 500;
/** How often the retention time is put on disk, in milliseconds. */
const keepInterval = 60_000;

/** What was last on disk of the retention time, and when, by the monotonic clock. */
type Kept = { readonly at: number; readonly monotonic: number };

export class TimeKeeper {
  readonly #store: Store;
  readonly #time: TimeSource;
  readonly #clock: ServiceClock;
  readonly #reading: LocalRecurringJob;
  readonly #keeping: LocalRecurringJob;
  #kept: Kept;

  private constructor(store: Store, time: TimeSource, clock: ServiceClock, kept: Kept) {
    this.#store = store;
    this.#time = time;
    this.#clock = clock;
    this.#kept = kept;
    this.#reading = new LocalRecurringJob(readInterval, () => this.read());
    this.#keeping = new LocalRecurringJob(keepInterval, () => this.save());
  }

  /** Begins with what the source says now: before that, nothing is known of the time. */
  static async start(store: Store, time: TimeSource): Promise<TimeKeeper> {
    const shared = await store.clusterTime();
    const clock = new ServiceClock(time.monotonic, shared ?? time.wall());
    const known =
      (await new RetentionTimeRecords(store.readConnection).find()) ??
      (await store.transaction((connection) => begin(connection, clock.now())));
    return new TimeKeeper(store, time, clock, { at: known.getTime(), monotonic: time.monotonic() });
  }

  get clock(): Clock {
    return this.#clock;
  }

  /** What is wrong with the source, in words. */
  get faults(): readonly string[] {
    const { jump } = this.#clock;
    if (jump === null) return [];
    const direction = jump > 0 ? 'ahead' : 'back';
    return [
      `the clock of the service's machine or database has jumped ${Math.round(Math.abs(jump) / 1_000)} s ${direction}: set it right, or the service follows it in some minutes`,
    ];
  }

  /** Reads the source once. */
  async read(): Promise<void> {
    const before = this.#time.monotonic();
    const shared = await this.#store.clusterTime();
    const after = this.#time.monotonic();
    if (shared === null) this.#clock.observe(this.#time.wall());
    else if (after - before <= longestReading) this.#clock.observe(shared, (before + after) / 2);
  }

  /** Puts on disk how far the retention time has come. Replicas do so side by side: it is as far as the one says that has come farthest. */
  async save(): Promise<void> {
    this.#kept = await this.#store.transaction(async (connection) => {
      const retentionTime = new RetentionTimeRecords(connection);
      const monotonic = this.#time.monotonic();
      const mine = advanceRetentionTime(this.#kept.at, monotonic - this.#kept.monotonic, this.#clock.now().getTime());
      const known = (await retentionTime.find())?.getTime() ?? mine;
      const at = Math.max(known, Math.floor(mine));
      if (at !== known) await retentionTime.set(new Date(at));
      return { at, monotonic };
    });
  }

  /** Reads no more; the retention time is on disk. */
  async stop(): Promise<void> {
    await this.#reading.stop();
    await this.#keeping.stop();
    await this.save().catch(() => {});
  }
}

/** Sets the retention time for the first time, unless another replica of the service has done so meanwhile. */
async function begin(connection: Connection, now: Date): Promise<Date> {
  const retentionTime = new RetentionTimeRecords(connection);
  const known = await retentionTime.find();
  if (known === null) await retentionTime.set(now);
  return known ?? now;
}
