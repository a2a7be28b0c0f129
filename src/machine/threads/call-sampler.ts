// Decides which of a thread's calls are measured. Measuring makes the driver call the processor between two calls; unmeasured calls cost nothing.
// While the thread switches every few calls anyway, all calls are measured. Faster calls are sampled about once per millisecond, and a sample stands
// for all calls since the previous one. The distance between samples is random and independent of the durations, so periodic slow calls are counted
// in proportion.

import { fuelPerRefill } from '../abi.ts';

/** Number of calls of one version that a measured duration stands for. */
export type CallSample = { readonly milliseconds: number; readonly calls: number };

/**
 * All calls are measured while the thread is switched in at least once in this many calls, because measuring then costs little. Starting requires a
 * higher rate than continuing (hysteresis), so that the mode does not flap with the pattern of slow calls.
 */
const maxCallsPerSwitch = { start: 32, continue: 64 } as const;
/** Minimum calls between two evaluations of that rate. */
const windowCalls = 64;
/** Target interval between samples in milliseconds: faster samples lengthen the stride, slower ones shorten it. */
const interval = 1;
/** Average calls between two samples. The actual number is at most twice the stride, plus the calls until the driver asks. */
const strides = { shortest: 256, longest: 32_768 } as const;

const noSamples: readonly CallSample[] = [];

/** Calls are identified by their number, which the driver counts in the thread's block; the count wraps around. */
export class CallSampler {
  /** The call being measured; null: none. */
  #measured: { readonly call: number; readonly beganAt: number } | null = null;
  #areAllMeasured = true;
  /** How often the thread was switched in since call `#switchesSince`. */
  #switches = 0;
  #switchesSince = 0;
  /** Number of the last call that is accounted for, by a sample or because it is excluded. */
  #accounted = 0;
  /** Number of the last call that the previous sample represents. */
  #representedByLast = 0;
  #lastMilliseconds = 0;
  /** Number of the last call that is excluded from samples. */
  #excluded = 0;
  /** While sampling: the first call that may be measured. */
  #next = 0;
  /** Whether the driver asks again after a random part of its fuel. */
  #isNear = false;
  #stride: number = strides.shortest;
  #sampledAt = 0;
  #random = 1;

  /** Notes that the thread is switched in. Returns whether its driver must ask as soon as it is between two calls. */
  resumed(): boolean {
    this.#switches += 1;
    return this.#areAllMeasured || this.#measured !== null;
  }

  /** Called before the thread begins a call. Returns the fuel until the driver must ask again. */
  begin(begun: number, now: number): number {
    this.#chooseMode(begun);
    const call = (begun + 1) | 0;
    if (!this.#areAllMeasured) {
      if (distance(call, this.#next) > 0) return fuelPerRefill;
      // The driver asks after a fixed amount of fuel. A random part of it decouples samples from the pattern of the calls.
      this.#isNear = !this.#isNear;
      if (this.#isNear) return this.#nextRandom() % fuelPerRefill;
    }
    this.#measured = { call, beganAt: now };
    return 0;
  }

  /** Called when the thread is between two calls. Returns samples for the calls since the previous sample if the last call was measured. */
  end(begun: number, now: number): readonly CallSample[] {
    if (this.#measured === null) return noSamples;
    const { call, beganAt } = this.#measured;
    this.#measured = null;
    if (call !== begun) return noSamples;
    const earlier = Math.max(0, distance(this.#accounted, this.#representedByLast));
    const before = { milliseconds: this.#lastMilliseconds, calls: earlier };
    const sample = { milliseconds: now - beganAt, calls: distance(this.#accounted, call) - earlier };
    this.#accounted = call;
    this.#representedByLast = call;
    this.#lastMilliseconds = sample.milliseconds;
    const isSoon = now - this.#sampledAt < interval;
    this.#stride = isSoon ? Math.min(2 * this.#stride, strides.longest) : Math.max(this.#stride / 2, strides.shortest);
    this.#sampledAt = now;
    this.#next = (call + 1 + (this.#nextRandom() % (2 * this.#stride - 1))) | 0;
    return earlier > 0 ? [before, sample] : [sample];
  }

  /** Excludes the current call, which was interrupted or failed, from all samples. */
  discard(begun: number): void {
    this.#measured = null;
    if (begun === this.#excluded) return;
    this.#excluded = begun;
    this.#accounted += 1;
  }

  /** Restarts accounting after a call that another version served: later samples do not stand for earlier calls. */
  restart(begun: number): void {
    this.#accounted = begun === this.#excluded ? begun : begun - 1;
    this.#representedByLast = this.#accounted;
    this.#areAllMeasured = true;
    this.#switches = 0;
    this.#switchesSince = begun;
  }

  /** Decides whether all calls are measured from now on. */
  #chooseMode(begun: number): void {
    const calls = distance(this.#switchesSince, begun);
    if (calls < windowCalls) return;
    const areAllMeasured = this.#switches * (this.#areAllMeasured ? maxCallsPerSwitch.continue : maxCallsPerSwitch.start) >= calls;
    this.#switches = 0;
    this.#switchesSince = begun;
    // Attribute the calls so far to the previous sample: the calls from now on have just become slower.
    if (areAllMeasured && !this.#areAllMeasured) this.#representedByLast = begun;
    if (areAllMeasured !== this.#areAllMeasured) this.#stride = strides.shortest;
    this.#areAllMeasured = areAllMeasured;
  }

  /** Returns a pseudorandom number (32-bit xorshift, Marsaglia 2003). The seed is the same for each thread, so that runs are reproducible. */
  #nextRandom(): number {
    let bits = this.#random;
    bits ^= bits << 13;
    bits ^= bits >>> 17;
    bits ^= bits << 5;
    this.#random = bits;
    return bits >>> 0;
  }
}

/** Returns the number of calls from one call number to another. */
const distance = (from: number, to: number) => (to - from) | 0;
