// How long calls take: the deadline of the call that a thread is in, and the calls that are measured.

import { threadBlock } from '../abi.ts';
import type { Clock } from '../clock.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import type { Frames } from '../threads/frames.ts';
import type { Thread } from '../threads/thread.ts';

/** A call passed its deadline. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';

  constructor({ callDeadline }: Thread) {
    super(`the call ran longer than its deadline of ${callDeadline} ms`);
  }
}

export class CallTimer {
  readonly #words: Int32Array;
  readonly #frames: Frames;
  readonly #time: Clock;

  constructor({ words }: KernelMemory, frames: Frames, time: Clock) {
    this.#words = words;
    this.#frames = frames;
    this.#time = time;
  }

  /** Returns the milliseconds until the deadline of a thread's call. A call counts from when its thread is first looked at in it; a pause is in no call. */
  remainingMilliseconds(thread: Thread): number {
    const { callDeadline, watchedCall } = thread;
    if (callDeadline === null || this.#frames.isEmpty(thread)) return Number.POSITIVE_INFINITY;
    const now = this.#time.now();
    const number = this.#begunBy(thread);
    if (number !== watchedCall.number) thread.watchedCall = { number, since: now };
    return thread.watchedCall.since + callDeadline - now;
  }

  /** A thread is about to begin a call. Returns how much work there is until its driver is to ask again. */
  beginSample(thread: Thread, now: number): number {
    return thread.sampler.begin(this.#begunBy(thread), now);
  }

  /** A thread has ended a call, which may be one that is measured. */
  endSample(thread: Thread, now: number): void {
    for (const sample of thread.sampler.end(this.#begunBy(thread), now)) thread.owner.onCallsMeasured(thread, sample);
  }

  /** A thread's call was interrupted or has failed: it is not measured. */
  discardSample(thread: Thread): void {
    thread.sampler.discard(this.#begunBy(thread));
  }

  /** A thread's call was served by another version than the one before. */
  restartSamples(thread: Thread): void {
    thread.sampler.restart(this.#begunBy(thread));
  }

  /** How many calls a thread has begun, which is the number of the last. */
  #begunBy(thread: Thread): number {
    return this.#words[(thread.block + threadBlock.callsBegun) >> 2] ?? 0;
  }
}
