// The scheduler: which thread gets the processor next, for how long, and what a suspended thread waits for.

import assert from 'node:assert/strict';
import { fuelPerRefill } from '../abi.ts';
import type { AtomicCalls } from '../accesses/atomic-calls.ts';
import type { GarbageCollectors } from '../accesses/garbage-collectors.ts';
import type { Clock } from '../clock.ts';
import type { Frames } from '../threads/frames.ts';
import { RunQueue } from '../threads/run-queue.ts';
import type { RunningThread } from '../threads/running-thread.ts';
import type { Ending, Injection, Thread, Wait } from '../threads/thread.ts';
import { ThreadQueue } from '../threads/thread-queue.ts';
import { type CallTimer, DeadlineError } from './call-timer.ts';
import type { Execution } from './execution.ts';
import type { SafepointOperations } from './safepoint-operations.ts';
import type { ThreadTable } from './thread-table.ts';

/** How long a thread keeps the processor while others wait, in milliseconds. */
const timeSliceMs = 0.1;
/** How long threads run before timers and the network get their turn, in milliseconds. */
const yieldIntervalMs = 4;
/** The longest sleep, in milliseconds; a longer one ends earlier. */
const sleepLimit = 2 ** 31 - 1;

type Surroundings = {
  readonly time: Clock;
  readonly running: RunningThread;
  readonly frames: Frames;
  readonly threads: ThreadTable;
  readonly clock: CallTimer;
  readonly sections: SafepointOperations;
  readonly collections: GarbageCollectors;
  readonly atomicCalls: AtomicCalls;
  readonly execution: Execution;
};

export class Scheduler {
  readonly #time: Clock;
  readonly #running: RunningThread;
  readonly #frames: Frames;
  readonly #threads: ThreadTable;
  readonly #clock: CallTimer;
  readonly #sections: SafepointOperations;
  readonly #collections: GarbageCollectors;
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
  runOnIdleThread<Result>(thread: Thread, run: () => Promise<Result>, later: (promise: Promise<Result>) => void): Promise<Result> | null {
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
    if (this.#execution.tryEndCall(thread)) {
      if (!this.#sections.isEmpty || this.#collections.hasDue || !this.#ready.isEmpty) this.#scheduleDispatch();
      return promise;
    }
    later(promise);
    this.#execution.watchEnd(thread, promise);
    return null;
  }

  /** Runs a section between two slices. */
  atSafepoint<Result>(section: () => Result): Promise<Result> {
    const result = this.#sections.add(section);
    // The thread that has the processor gives it up at its next look at the clock.
    this.#sliceEnd = 0;
    this.#scheduleDispatch();
    return result;
  }

  /** Calls back, between two slices, as soon as no access is inside an image; returns how to call that off. */
  onUnreferenced(record: number, bypasses: 'counted' | 'ignored', then: () => void): () => void {
    const cancel = this.#sections.onUnreferenced(record, bypasses, then);
    this.#scheduleDispatch();
    return cancel;
  }

  /** A safepoint found its image's fuel used up. Returns how much there is from now on, or a negative number: suspend. */
  refillFuel(): number {
    const now = this.#time.now();
    if (this.#atomicCalls.isActive) {
      this.#atomicCalls.checkDeadline(now);
      return fuelPerRefill;
    }
    const thread = this.#running.current;
    if (this.#clock.remainingMilliseconds(thread) <= 0) throw new DeadlineError(thread);
    const isBetweenCalls = this.#frames.isEmpty(thread);
    if (isBetweenCalls) this.#clock.endSample(thread, now);
    const othersWait = !this.#ready.isEmpty || !this.#urgent.isEmpty || !this.#sections.isEmpty;
    if (now >= this.#burstEnd || (now >= this.#sliceEnd && othersWait)) return -1;
    return isBetweenCalls ? this.#clock.beginSample(thread, now) : fuelPerRefill;
  }

  /** A thread's call was served by a new version: the first look at it after its retry, if it was interrupted. Returns 1: suspend. */
  onVersionSwitch(thread: Thread, record: number): 0 | 1 {
    thread.owner.onVersionSwitch(thread, record);
    this.#clock.restartSamples(thread);
    return this.#urgent.isEmpty ? 0 : 1;
  }

  /** The running thread gives the processor up, to get it again in its turn. */
  suspend(): Promise<void> {
    const thread = this.#execution.switchOut();
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
    const thread = this.#execution.switchOut();
    const wanted = Math.min(Math.max(milliseconds, 0), sleepLimit);
    const left = this.#clock.remainingMilliseconds(thread);
    thread.cancelTimer = this.#time.after(Math.min(wanted, left), () => {
      thread.cancelTimer = null;
      thread.isOverdue = left < wanted;
      this.makeReady(thread);
    });
    return this.#suspension(thread);
  }

  /** A thread that has given up the processor waits at the entry of an image, until it is woken or its call's deadline. */
  wait(thread: Thread, wait: Wait): Promise<void> {
    thread.entryWait = wait;
    const left = this.#clock.remainingMilliseconds(thread);
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
  onThreadEnd(thread: Thread, ending: Ending): void {
    if (this.#closed) return;
    thread.reset();
    const next = thread.owner.onEnd(thread, ending);
    if (next === 'again') {
      this.#clock.discardSample(thread);
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
        this.#burstEnd = this.#time.now() + yieldIntervalMs;
        this.#dispatch();
      });
    }
  }

  #dispatch(): void {
    // Still pending while sections run: what they make ready is looked for right after them.
    if (!this.#closed) {
      this.#sections.run();
      this.#collections.runDue();
    }
    this.#dispatchPending = false;
    if (this.#closed) return;
    const urgent = this.#urgent.shift();
    const thread = urgent ?? this.#ready.shift();
    if (thread === null) return;
    this.#execution.switchIn(thread);
    try {
      this.#prepareTurn(thread, urgent !== null);
      this.#execution.resume(thread);
    } catch (error) {
      this.#execution.fail(thread, error);
    }
  }

  #prepareTurn(thread: Thread, isUrgent: boolean): void {
    if (thread.entryWait?.kind === 'collection') this.#collections.noteResumed(thread.entryWait.record);
    if (isUrgent) {
      // An interrupted thread gives the processor up at the first safepoint of its retry, so that all of them are out of the old image soon.
      thread.injection?.retryIn?.exhaustFuel();
      this.#sliceEnd = 0;
      this.#clock.discardSample(thread);
      return;
    }
    this.#sliceEnd = this.#time.now() + timeSliceMs;
    if (thread.sampler.resumed()) thread.owner.exhaustFuel();
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
