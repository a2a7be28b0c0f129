// The clock of the service. The clock of its machine or database is sometimes wrong: it jumps, drifts and runs backwards. The service clock slews
// towards it at a limited rate, and follows a jump only after the source has stayed there for a while.

/** The clocks of a machine, in milliseconds. */
export type TimeSource = {
  /** Wall-clock time since 1970. It may jump in either direction. */
  readonly wall: () => number;
  /** Time since an arbitrary moment of this process. It never jumps. */
  readonly monotonic: () => number;
};

/** The clocks of the machine that this process runs on. */
export const systemTime: TimeSource = { wall: () => Date.now(), monotonic: () => performance.now() };

/** The clock that all time-based decisions use. */
export type Clock = {
  /** The time of the service: for stored times, deadlines and schedules. */
  readonly now: () => Date;
  /** Milliseconds since an arbitrary moment of this process: for intervals within one process. */
  readonly monotonic: () => number;
};

export const clockSettings = {
  /** A difference from the source above this is a jump, in milliseconds. */
  tolerance: 1_000,
  /** How long the source must stay at the new time before a jump is followed, in milliseconds. */
  stepAfter: 300_000,
  /** Rate at which smaller differences are corrected, in milliseconds per millisecond. */
  slewRate: 0.01,
} as const;

/** Runs on the monotonic clock of the process and follows a wall-clock source whose readings it is given. */
export class ServiceClock implements Clock {
  readonly #monotonic: () => number;
  /** Difference between the time of the service and the monotonic clock, in milliseconds. */
  #offset: number;
  #readAt: number;
  /** A jump that is not followed yet: its offset, and when it was first observed. */
  #step: { readonly offset: number; readonly since: number } | null = null;

  /** @param wall The current reading of the source, in milliseconds since 1970. */
  constructor(monotonic: () => number, wall: number) {
    this.#monotonic = monotonic;
    this.#readAt = monotonic();
    this.#offset = wall - this.#readAt;
  }

  now(): Date {
    return new Date(this.#offset + this.#monotonic());
  }

  monotonic(): number {
    return this.#monotonic();
  }

  /** While a jump of the source is not followed yet: how far the source is ahead of the service in milliseconds (negative: behind). Otherwise null. */
  get jump(): number | null {
    return this.#step === null ? null : this.#step.offset - this.#offset;
  }

  /**
   * Adjusts the clock to a reading of the source.
   * @param wall The reading, in milliseconds since 1970.
   * @param readAt When the source was read, by the monotonic clock.
   */
  observe(wall: number, readAt: number = this.#monotonic()): void {
    const elapsed = Math.max(0, readAt - this.#readAt);
    this.#readAt = Math.max(readAt, this.#readAt);
    const offset = wall - readAt;
    const difference = offset - this.#offset;
    if (Math.abs(difference) <= clockSettings.tolerance) {
      const maxCorrection = elapsed * clockSettings.slewRate;
      this.#offset += Math.max(-maxCorrection, Math.min(maxCorrection, difference));
      this.#step = null;
      return;
    }
    if (this.#step === null || Math.abs(offset - this.#step.offset) > clockSettings.tolerance) this.#step = { offset, since: readAt };
    else if (readAt - this.#step.since >= clockSettings.stepAfter) {
      this.#offset = offset;
      this.#step = null;
    }
  }
}
