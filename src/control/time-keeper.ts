// Keeps the clock of the service: reads the clock of the machine, or the one that the database shares among all replicas, again and again.

import { Repeated } from '../store/repeated.ts';
import type { Store } from '../store/store.ts';
import { type Clock, ServiceClock, type TimeSource } from './service-clock.ts';

/** How often the source is read, in milliseconds. */
const readInterval = 1_000;
/** A reading that took longer says too little about when it was true, in milliseconds. */
const longestReading = 500;

export class TimeKeeper {
  readonly #store: Store;
  readonly #time: TimeSource;
  readonly #clock: ServiceClock;
  readonly #reading: Repeated;

  private constructor(store: Store, time: TimeSource, clock: ServiceClock) {
    this.#store = store;
    this.#time = time;
    this.#clock = clock;
    this.#reading = new Repeated(readInterval, () => this.read());
  }

  /** Begins with what the source says now: before that, nothing is known of the time. */
  static async start(store: Store, time: TimeSource): Promise<TimeKeeper> {
    const shared = await store.sharedTime();
    return new TimeKeeper(store, time, new ServiceClock(time.monotonic, shared ?? time.wall()));
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
    const shared = await this.#store.sharedTime();
    const after = this.#time.monotonic();
    if (shared === null) this.#clock.observe(this.#time.wall());
    else if (after - before <= longestReading) this.#clock.observe(shared, (before + after) / 2);
  }

  /** Reads no more. */
  stop(): Promise<void> {
    return this.#reading.stop();
  }
}
