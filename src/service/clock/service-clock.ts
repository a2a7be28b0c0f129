// The time of the service. The clock of its machine, or of its database, is sometimes wrong: it jumps, drifts and runs backwards. The service
// follows it only as far as a clock that is being corrected would go, and follows a jump only when that has lasted.

/** The clocks of a machine, in milliseconds. */
export type TimeSource = {
  /** Since 1970. It may jump in either direction. */
  readonly wall: () => number;
  /** Since any moment of this process. It never jumps. */
  readonly monotonic: () => number;
};

/** The clocks of the machine that the process runs on. */
export const systemTime: TimeSource = { wall: () => Date.now(), monotonic: () => performance.now() };

/** What decides by time asks for the time here. */
export type Clock = {
  /** The time of the service: for durations, deadlines and schedules, and for what is written down. */
  readonly now: () => Date;
  /** Milliseconds since any moment of this process: for intervals that no restart outlives. */
  readonly monotonic: () => number;
};

export const clockSettings = {
  /** A difference from the source above this is a jump, in milliseconds. */
  tolerance: 1_000,
  /** A jump is followed when the source has stayed there for this long, in milliseconds. */
  stepAfter: 300_000,
  /** Differences below a jump are made up for at this rate, in milliseconds per millisecond. */
  slewRate: 0.01,
} as const;

/** Runs by the monotonic clock of the process, and is steered towards a source of wall-clock time that it is told the readings of. */
export class ServiceClock implements Clock {
  readonly #monotonic: () => number;
  /** From the monotonic clock to the time of the service. */
  #offset: number;
  #readAt: number;
  /** A jump that is not followed yet: the offset there, and since when it is seen. */
  #step: { readonly offset: number; readonly since: number } | null = null;

  /** @param wall What the source says now, in milliseconds since 1970. */
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

  /** Milliseconds by which the source is ahead of the service (negative: behind), where it has jumped and that is not followed yet; else null. */
  get jump(): number | null {
    return this.#step === null ? null : this.#step.offset - this.#offset;
  }

  /**
   * Takes in a reading of the source.
   * @param wall What it says, in milliseconds since 1970.
   * @param readAt When it said so, by the monotonic clock.
   */
  observe(wall: number, readAt: number = this.#monotonic()): void {
    const elapsed = Math.max(0, readAt - this.#readAt);
    this.#readAt = Math.max(readAt, this.#readAt);
    const offset = wall - readAt;
    const difference = offset - this.#offset;
    if (Math.abs(difference) <= clockSettings.tolerance) {
      const most = elapsed * clockSettings.slewRate;
      this.#offset += Math.max(-most, Math.min(most, difference));
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
