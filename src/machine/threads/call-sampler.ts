// Which of a thread's calls are measured, where its driver asks the processor between two calls, so that the others cost nothing. All of them are, while the
// thread gives the processor up every few calls; of faster calls about one in a millisecond is, which stands for the calls since the one before. How many
// lie in between is random and has nothing to do with how long they take: what a program does at every so many calls is found as often as it is.

import { fuelPerRefill } from '../abi.ts';

/** Calls of one version, told by one of them. */
export type CallSample = { readonly milliseconds: number; readonly calls: number };

/**
 * All calls are measured while the thread takes the processor at least once in so many calls, for then it is not slowed down by that. To begin with
 * it takes more than to go on, so that it does not come and go with how the slow calls of a program lie.
 */
const callsPerTurn = { toBegin: 32, toGoOn: 64 } as const;
/** Calls after which that is seen anew, at least. */
const windowCalls = 64;
/** Milliseconds: samples that come faster are made fewer, and others more. */
const interval = 1;
/** Calls from one sample to the next, on average; at most twice as many, less one, and those until the driver asks. */
const strides = { shortest: 256, longest: 32_768 } as const;

const none: readonly CallSample[] = [];

/** Calls are told by their numbers, as the driver counts them in the thread's block; the count wraps around. */
export class CallSampler {
  /** The call that is being measured; null: none is. */
  #measured: { readonly call: number; readonly beganAt: number } | null = null;
  #areAllMeasured = true;
  /** How often the thread has taken the processor since a call. */
  #turns = 0;
  #turnsSince = 0;
  /** So many calls, by their number, are those that samples stand for, and those that none is to stand for. */
  #accounted = 0;
  /** The last call of those that were like the one measured last. */
  #likeLast = 0;
  #lastMilliseconds = 0;
  /** The last call that no sample is to stand for. */
  #spoiled = 0;
  /** Where not all are measured: the first that is to be. */
  #next = 0;
  /** Whether the driver asks at a random call before that. */
  #isNear = false;
  #stride: number = strides.shortest;
  #sampledAt = 0;
  #random = 1;

  /** The thread takes the processor. Answers whether its driver is to ask as soon as it is between two calls. */
  resumed(): boolean {
    this.#turns += 1;
    return this.#areAllMeasured || this.#measured !== null;
  }

  /** The thread is about to begin a call. Answers how much work there is until the driver is to ask again, in expressions. */
  begin(begun: number, now: number): number {
    this.#choose(begun);
    const call = (begun + 1) | 0;
    if (!this.#areAllMeasured) {
      if (distance(call, this.#next) > 0) return fuelPerRefill;
      // The driver asks after so many calls, always as many: a random part of that is not in step with what the calls do.
      this.#isNear = !this.#isNear;
      if (this.#isNear) return this.#nextRandom() % fuelPerRefill;
    }
    this.#measured = { call, beganAt: now };
    return 0;
  }

  /** The thread has ended a call and not begun another. Answers what is known by it of the calls since the sample before, if it was measured. */
  end(begun: number, now: number): readonly CallSample[] {
    if (this.#measured === null) return none;
    const { call, beganAt } = this.#measured;
    this.#measured = null;
    if (call !== begun) return none;
    const earlier = Math.max(0, distance(this.#accounted, this.#likeLast));
    const before = { milliseconds: this.#lastMilliseconds, calls: earlier };
    const sample = { milliseconds: now - beganAt, calls: distance(this.#accounted, call) - earlier };
    this.#accounted = call;
    this.#likeLast = call;
    this.#lastMilliseconds = sample.milliseconds;
    const isSoon = now - this.#sampledAt < interval;
    this.#stride = isSoon ? Math.min(2 * this.#stride, strides.longest) : Math.max(this.#stride / 2, strides.shortest);
    this.#sampledAt = now;
    this.#next = (call + 1 + (this.#nextRandom() % (2 * this.#stride - 1))) | 0;
    return earlier > 0 ? [before, sample] : [sample];
  }

  /** The call that is under way was interrupted or has failed: it is not measured, and no sample stands for it. */
  discard(begun: number): void {
    this.#measured = null;
    if (begun === this.#spoiled) return;
    this.#spoiled = begun;
    this.#accounted += 1;
  }

  /** The call that has just ended was served by another version than the one before: samples stand for calls from here on. */
  restart(begun: number): void {
    this.#accounted = begun === this.#spoiled ? begun : begun - 1;
    this.#likeLast = this.#accounted;
    this.#areAllMeasured = true;
    this.#turns = 0;
    this.#turnsSince = begun;
  }

  /** Sees whether all calls are to be measured from here on. */
  #choose(begun: number): void {
    const calls = distance(this.#turnsSince, begun);
    if (calls < windowCalls) return;
    const areAllMeasured = this.#turns * (this.#areAllMeasured ? callsPerTurn.toGoOn : callsPerTurn.toBegin) >= calls;
    this.#turns = 0;
    this.#turnsSince = begun;
    // The calls so far are told by the last that was measured, not by the next: those have just become slower.
    if (areAllMeasured && !this.#areAllMeasured) this.#likeLast = begun;
    if (areAllMeasured !== this.#areAllMeasured) this.#stride = strides.shortest;
    this.#areAllMeasured = areAllMeasured;
  }

  /** Xorshift of 32 bits (Marsaglia, 2003), the same for each thread, so that what a machine does can be repeated. */
  #nextRandom(): number {
    let bits = this.#random;
    bits ^= bits << 13;
    bits ^= bits >>> 17;
    bits ^= bits << 5;
    this.#random = bits;
    return bits >>> 0;
  }
}

/** Calls from one number to another. */
const distance = (from: number, to: number) => (to - from) | 0;
