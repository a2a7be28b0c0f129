// Which of a thread's calls are measured: about one in a millisecond, as the driver asks the processor between two calls. Each stands for the calls since the
// one before. How many lie in between is random, so that a program that does something at every so many calls is told as it is.

import { workBetweenLooks } from './abi.ts';

/** Calls of one version, told by the last of them. */
export type CallSample = { readonly milliseconds: number; readonly calls: number };

/** Milliseconds: samples that come faster are made fewer, and after a call that took longer the next is measured too. */
const interval = 1;
/** Calls from one sample to the next that are aimed at, on average; at most twice as many less one. */
const longestStride = 32_768;

/** Calls are told by their numbers, as the driver counts them in the thread's block; the count wraps around. */
export class CallSampling {
  /** The call that is being measured; null: none is. */
  #measured: { readonly call: number; readonly beganAt: number } | null = null;
  /** The first call that is to be measured next. */
  #next = 1;
  /** So many calls, by their number, are those that samples stand for, and those that none is to stand for. */
  #accounted = 0;
  /** The last call that no sample is to stand for. */
  #spoiled = 0;
  #stride = 1;
  #sampledAt = Number.NEGATIVE_INFINITY;
  /** The last call because of which the next measurement was brought forward. */
  #hastened = 0;
  /** Whether the driver asks at a random call before the one that is measured. */
  #isNear = false;
  #random = 1;

  /** The thread takes the processor. Answers whether its driver is to ask as soon as it is between two calls. */
  resumed(begun: number, now: number): boolean {
    if (this.#measured !== null) return true;
    if (now - this.#sampledAt < interval) return false;
    // Calls may have become slow: each brings the next measurement forward by half, lest it be hours away.
    const left = distance(begun, this.#next);
    if (left > 1 && begun !== this.#hastened) {
      this.#hastened = begun;
      this.#next = (begun + (left >> 1)) | 0;
    }
    return true;
  }

  /** The thread is about to begin a call. Answers how much work there is until the driver is to ask again, in expressions. */
  begin(begun: number, now: number): number {
    const call = (begun + 1) | 0;
    if (distance(call, this.#next) > 0) return workBetweenLooks;
    // The driver asks after so many calls, always as many: a random part of that is not in step with what the calls do.
    this.#isNear = !this.#isNear && this.#stride > 1;
    if (this.#isNear) return this.#nextRandom() % workBetweenLooks;
    this.#measured = { call, beganAt: now };
    return 0;
  }

  /** The thread has ended a call and not begun another. Answers the call's sample, if it was measured. */
  end(begun: number, now: number): CallSample | null {
    if (this.#measured === null) return null;
    const { call, beganAt } = this.#measured;
    this.#measured = null;
    if (call !== begun) return null;
    const sample = { milliseconds: now - beganAt, calls: distance(this.#accounted, call) };
    this.#accounted = call;
    const isFast = now - this.#sampledAt < interval;
    this.#stride = isFast ? Math.min(2 * this.#stride, longestStride) : Math.max(this.#stride >> 1, 1);
    this.#sampledAt = now;
    if (sample.milliseconds >= interval) this.#stride = 1;
    this.#next = (call + 1 + (this.#nextRandom() % (2 * this.#stride - 1))) | 0;
    return sample;
  }

  /** The call that is under way was interrupted or has failed: it is not measured, and no sample stands for it. */
  spoil(begun: number): void {
    this.#measured = null;
    if (begun === this.#spoiled) return;
    this.#spoiled = begun;
    this.#accounted += 1;
  }

  /** The call that has just ended was served by another version than the one before: samples stand for calls from here on. */
  restart(begun: number): void {
    this.#accounted = begun === this.#spoiled ? begun : begun - 1;
    this.#stride = 1;
    this.#next = (begun + 1) | 0;
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
