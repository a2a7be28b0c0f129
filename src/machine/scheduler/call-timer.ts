// Times calls: checks deadlines and takes latency samples.

import { threadBlock } from '../abi.ts';
import type { Clock } from '../clock.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import type { Frames } from '../threads/frames.ts';
import type { Thread } from '../threads/thread.ts';

/** A call exceeded its deadline. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';

  constructor({ callDeadline }: Thread) {
    super(`the call exceeded its deadline of ${callDeadline} ms`);
  }
}

export class CallTimer {
  readonly #words: Int32Array;
  readonly #frames: Frames;
  readonly #clock: Clock;

  constructor({ words }: KernelMemory, frames: Frames, clock: Clock) {
    this.#words = words;
    this.#frames = frames;
    this.#clock = clock;
  }

  /** Returns the milliseconds left until the deadline of a thread's call. The time of a call runs from the first check in it; pauses do not count. */
  remainingMilliseconds(thread: Thread): number {
    const { callDeadline, watchedCall } = thread;
    if (callDeadline === null || this.#frames.isEmpty(thread)) return Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    const number = this.#callsBegunBy(thread);
    if (number !== watchedCall.number) thread.watchedCall = { number, since: now };
    return thread.watchedCall.since + callDeadline - now;
  }

  /** Begins a sample if the thread's next call is measured. Returns the fuel until the driver must ask again. */
  beginSample(thread: Thread, now: number): number {
    return thread.sampler.begin(this.#callsBegunBy(thread), now);
  }

  /** Ends the sample of a thread's call, if the call was measured. */
  endSample(thread: Thread, now: number): void {
    for (const sample of thread.sampler.end(this.#callsBegunBy(thread), now)) thread.owner.onCallsMeasured(thread, sample);
  }

  /** Discards the sample of a call that was interrupted or failed. */
  discardSample(thread: Thread): void {
    thread.sampler.discard(this.#callsBegunBy(thread));
  }

  /** Restarts sampling, because another version has served the thread's call. */
  restartSamples(thread: Thread): void {
    thread.sampler.restart(this.#callsBegunBy(thread));
  }

  /** Returns how many calls a thread has begun, which is also the number of the last one. */
  #callsBegunBy(thread: Thread): number {
    return this.#words[(thread.block + threadBlock.callsBegun) >> 2] ?? 0;
  }
}
