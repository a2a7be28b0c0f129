// The scheduler: which thread gets the processor next, for how long, and what a suspended thread waits for.

import assert from 'node:assert/strict';
import { workBetweenLooks } from '../abi.ts';
import type { AtomicCalls } from '../accesses/atomic-calls.ts';
import type { Collections } from '../accesses/collections.ts';
import type { Frames } from '../threads/frames.ts';
import { RunQueue } from '../threads/run-queue.ts';
import type { RunningThread } from '../threads/running-thread.ts';
import type { Ending, Injection, Thread, Wait } from '../threads/thread.ts';
import { ThreadQueue } from '../threads/thread-queue.ts';
import type { Time } from '../time.ts';
import { type CallClock, DeadlineError } from './call-clock.ts';
import type { Execution } from './execution.ts';
import type { Sections } from './sections.ts';
import type { ThreadTable } from './thread-table.ts';

/** How long a thread keeps the processor while others wait, in milliseconds. */
const slice = 0.1;
/** How long threads run before timers and the network get their turn, in milliseconds. */
const burst = 4;
/** The longest sleep, in milliseconds; a longer one ends earlier. */
const sleepLimit = 2 ** 31 - 1;

type Surroundings = {
  readonly time: Time;
  readonly running: RunningThread;
  readonly frames: Frames;
  readonly threads: ThreadTable;
  readonly clock: CallClock;
  readonly sections: Sections;
  readonly collections: Collections;
  readonly atomicCalls: AtomicCalls;
  readonly execution: Execution;
};

export class Scheduler {
  readonly #time: Time;
  readonly #running: RunningThread;
  readonly #frames: Frames;
  readonly #threads: ThreadTable;
  readonly #clock: CallClock;
  readonly #sections: Sections;
  readonly #collections: Collections;
  readonly #atomicCalls: AtomicCalls;
  readonly #execution: Execution;
  readonly #ready = new RunQueue<Thread>();
  /** Threads with an error to be thrown, before all others. */
  readonly #urgent = new ThreadQueue<Thread>();
  #dispatchPending = false;
  #sliceEnd = 0;
  #burstEnd = 0;
  #closed = false;

  constructor({ time, running, frames, threads, clock, sections, collections, atomicCalls, execution }: Surroundings) {
    this.#time = time;
    this.#running = running;
    this.#frames = frames;
    this.#threads = threads;
    this.#clock = clock;
    this.#sections = sections;
    this.#collections = collections;
    this.#atomicCalls = atomicCalls;
    this.#execution = execution;
  }

  /** Stops giving the processor to anyone. */
  close(): void {
    this.#closed = true;
  }

  /** Adds a thread at the end of its group. */
  makeReady(thread: Thread): void {
    this.#ready.push(thread);
    this.#scheduleDispatch();
  }

  /** Lets a thread run that has waited. */
  wake(thread: Thread): void {
    thread.cancelTimer?.();
    thread.cancelTimer = null;
    this.makeReady(thread);
  }

  /** Lets a thread run before all threads without an error, to have one thrown; only between two slices. */
  interrupt(thread: Thread, injection: Injection): void {
    assert(thread.injection === null, 'a thread takes one error at a time');
    thread.injection = injection;
    thread.cancelTimer?.();
    thread.cancelTimer = null;
    this.#urgent.push(thread);
    this.#scheduleDispatch();
  }

  /**
   * Runs code on an idle thread: now, if nobody waits for the processor, and in its turn otherwise. The code sets the word `answered` of the thread's
   * block as the last thing that it does. Returns the code's promise where it has already done so; the thread is idle again, its owner is not told.
   * Null otherwise: the promise goes to `later`, and the owner is told of the ending.
   */
  enter<Result>(thread: Thread, run: () => Promise<Result>, later: (promise: Promise<Result>) => void): Promise<Result> | null {
    const isFree = this.#running.thread === null && !this.#dispatchPending && this.#ready.isEmpty && this.#urgent.isEmpty;
    if (!isFree || this.#closed || !this.#sections.isEmpty) {
      thread.begin = () => {
        const promise = run();
        later(promise);
        return promise;
      };
      this.makeReady(thread);
      return null;
    }
    this.#execution.beginCall(thread);
    this.#sliceEnd = 0;
    const promise = begun(run);
    if (this.#execution.endCall(thread)) {
      if (!this.#sections.isEmpty || this.#collections.areDue || !this.#ready.isEmpty) this.#scheduleDispatch();
      return promise;
    }
    later(promise);
    this.#execution.whenEnded(thread, promise);
    return null;
  }

  /** Runs a section between two slices. */
  betweenSlices<Result>(section: () => Result): Promise<Result> {
    const result = this.#sections.add(section);
    // The thread that has the processor gives it up at its next look at the clock.
    this.#sliceEnd = 0;
    this.#scheduleDispatch();
    return result;
  }

  /** Calls back, between two slices, as soon as no access is inside an image; returns how to call that off. */
  whenUnreferenced(record: number, bypasses: 'counted' | 'ignored', then: () => void): () => void {
    const cancel = this.#sections.whenUnreferenced(record, bypasses, then);
    this.#scheduleDispatch();
    return cancel;
  }

  /** A safepoint found its image's fuel used up. Returns how much there is from now on, or a negative number: suspend. */
  tick(): number {
    const now = this.#time.now();
    if (this.#atomicCalls.areUnderWay) {
      this.#atomicCalls.checkDeadline(now);
      return workBetweenLooks;
    }
    const thread = this.#running.current;
    if (this.#clock.timeLeft(thread) <= 0) throw new DeadlineError(thread);
    const isBetweenCalls = this.#frames.isEmpty(thread);
    if (isBetweenCalls) this.#clock.endSample(thread, now);
    const othersWait = !this.#ready.isEmpty || !this.#urgent.isEmpty || !this.#sections.isEmpty;
    if (now >= this.#burstEnd || (now >= this.#sliceEnd && othersWait)) return -1;
    return isBetweenCalls ? this.#clock.beginSample(thread, now) : workBetweenLooks;
  }

  /** A thread's call was served by a new version: the first look at it after its retry, if it was interrupted. Returns 1: suspend. */
  switched(thread: Thread, record: number): 0 | 1 {
    thread.owner.switched(thread, record);
    this.#clock.restartSamples(thread);
    return this.#urgent.isEmpty ? 0 : 1;
  }

  /** The running thread gives the processor up, to get it again in its turn. */
  suspend(): Promise<void> {
    const thread = this.#execution.leave();
    this.#ready.push(thread);
    return this.#suspension(thread);
  }

  /** The running thread waits between two calls. */
  pause(milliseconds: number): Promise<void> {
    this.#clock.endSample(this.#running.current, this.#time.now());
    return this.sleep(milliseconds);
  }

  /** The running thread waits, at most until its call's deadline. */
  sleep(milliseconds: number): Promise<void> {
    const thread = this.#execution.leave();
    const wanted = Math.min(Math.max(milliseconds, 0), sleepLimit);
    const left = this.#clock.timeLeft(thread);
    thread.cancelTimer = this.#time.after(Math.min(wanted, left), () => {
      thread.cancelTimer = null;
      thread.isOverdue = left < wanted;
      this.makeReady(thread);
    });
    return this.#suspension(thread);
  }

  /** A thread that has given up the processor waits at the entry of an image, until it is woken or its call's deadline. */
  wait(thread: Thread, wait: Wait): Promise<void> {
    thread.waitsAt = wait;
    const left = this.#clock.timeLeft(thread);
    if (left < sleepLimit) {
      thread.cancelTimer = this.#time.after(left, () => {
        thread.cancelTimer = null;
        thread.isOverdue = true;
        this.makeReady(thread);
      });
    }
    return this.#suspension(thread);
  }

  /** A thread's code has ended: it runs again, is idle or goes, as its owner says. */
  ended(thread: Thread, ending: Ending): void {
    if (this.#closed) return;
    thread.reset();
    const next = thread.owner.ended(thread, ending);
    if (next === 'again') {
      this.#clock.spoilSample(thread);
      this.#ready.push(thread);
    } else if (next === 'gone') this.#threads.remove(thread);
    this.#scheduleDispatch();
  }

  #suspension(thread: Thread): Promise<void> {
    return new Promise((resolve, reject) => {
      thread.continuation = { kind: 'resume', resolve, reject };
      // A thread that is only resumed runs no earlier than this one's stack is left, so that no turn of the queue is needed in between.
      if (this.#urgent.isEmpty || !this.#sections.isEmpty || this.#dispatchPending) this.#scheduleDispatch();
      else this.#dispatch();
    });
  }

  /** Nothing is dispatched from inside a suspending call: the stack that it runs on must be left first. */
  #scheduleDispatch(): void {
    if (this.#dispatchPending || this.#running.thread !== null || this.#closed) return;
    this.#dispatchPending = true;
    if (this.#time.now() < this.#burstEnd) {
      queueMicrotask(() => this.#dispatch());
    } else {
      this.#time.later(() => {
        this.#burstEnd = this.#time.now() + burst;
        this.#dispatch();
      });
    }
  }

  #dispatch(): void {
    // Still pending while sections run: what they make ready is looked for right after them.
    if (!this.#closed) {
      this.#sections.run();
      this.#collections.run();
    }
    this.#dispatchPending = false;
    if (this.#closed) return;
    const urgent = this.#urgent.shift();
    const thread = urgent ?? this.#ready.shift();
    if (thread === null) return;
    this.#execution.enter(thread);
    try {
      this.#prepareTurn(thread, urgent !== null);
      this.#execution.resume(thread);
    } catch (error) {
      this.#execution.fail(thread, error);
    }
  }

  #prepareTurn(thread: Thread, isUrgent: boolean): void {
    if (thread.waitsAt?.kind === 'collection') this.#collections.resumed(thread.waitsAt.record);
    if (isUrgent) {
      // An interrupted thread gives the processor up at the first safepoint of its retry, so that all of them are out of the old image soon.
      thread.injection?.retryIn?.useUpFuel();
      this.#sliceEnd = 0;
      this.#clock.spoilSample(thread);
      return;
    }
    this.#sliceEnd = this.#time.now() + slice;
    if (thread.sampling.resumed()) thread.owner.useUpFuel();
  }
}

/** Runs code; an error before its first suspension, as for a value of the wrong type, ends the thread as any later one does. */
function begun<Result>(run: () => Promise<Result>): Promise<Result> {
  try {
    return run();
  } catch (error) {
    return Promise.reject(error);
  }
}
