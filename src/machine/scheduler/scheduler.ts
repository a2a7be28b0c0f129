// The scheduler: decides which thread gets the processor next and for how long, and parks suspended threads.

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
/** How long threads run before the scheduler yields to the event loop (timers and I/O), in milliseconds. */
const yieldIntervalMs = 4;
/** Maximum sleep in milliseconds; longer sleeps end earlier. */
const sleepLimit = 2 ** 31 - 1;

type Dependencies = {
  readonly clock: Clock;
  readonly running: RunningThread;
  readonly frames: Frames;
  readonly threads: ThreadTable;
  readonly callTimer: CallTimer;
  readonly safepointOperations: SafepointOperations;
  readonly garbageCollectors: GarbageCollectors;
  readonly atomicCalls: AtomicCalls;
  readonly execution: Execution;
};

export class Scheduler {
  readonly #clock: Clock;
  readonly #running: RunningThread;
  readonly #frames: Frames;
  readonly #threads: ThreadTable;
  readonly #callTimer: CallTimer;
  readonly #safepointOperations: SafepointOperations;
  readonly #garbageCollectors: GarbageCollectors;
  readonly #atomicCalls: AtomicCalls;
  readonly #execution: Execution;
  readonly #ready = new RunQueue<Thread>();
  /** Threads with a pending injected error; they run before all others. */
  readonly #urgent = new ThreadQueue<Thread>();
  #dispatchPending = false;
  #sliceEndsAt = 0;
  #yieldAt = 0;
  #closed = false;

  constructor({
    clock,
    running,
    frames,
    threads,
    callTimer,
    safepointOperations,
    garbageCollectors,
    atomicCalls,
    execution,
  }: Dependencies) {
    this.#clock = clock;
    this.#running = running;
    this.#frames = frames;
    this.#threads = threads;
    this.#callTimer = callTimer;
    this.#safepointOperations = safepointOperations;
    this.#garbageCollectors = garbageCollectors;
    this.#atomicCalls = atomicCalls;
    this.#execution = execution;
  }

  /** Stops scheduling. */
  close(): void {
    this.#closed = true;
  }

  /** Adds a thread at the end of its group's queue. */
  makeReady(thread: Thread): void {
    this.#ready.push(thread);
    this.#scheduleDispatch();
  }

  /** Makes a waiting thread ready and cancels its timer. */
  wake(thread: Thread): void {
    thread.cancelTimer?.();
    thread.cancelTimer = null;
    this.makeReady(thread);
  }

  /** Schedules a thread to get an injected error, before all threads without one. Only at a safepoint. */
  interrupt(thread: Thread, injection: Injection): void {
    assert(thread.injection === null, 'a thread can have only one pending injected error');
    thread.injection = injection;
    thread.cancelTimer?.();
    thread.cancelTimer = null;
    this.#urgent.push(thread);
    this.#scheduleDispatch();
  }

  /**
   * Runs code on an idle thread: immediately if the processor is free, otherwise when the thread is scheduled. The code's last action is to set the
   * `returned` word of the thread's block. If that has happened when this returns, returns the code's promise; the thread is idle again and `onEnd` is
   * not called. Otherwise returns null, passes the promise to `later`, and calls the owner's `onEnd` when the code ends.
   */
  runOnIdleThread<Result>(thread: Thread, run: () => Promise<Result>, later: (promise: Promise<Result>) => void): Promise<Result> | null {
    const isFree = this.#running.thread === null && !this.#dispatchPending && this.#ready.isEmpty && this.#urgent.isEmpty;
    if (!isFree || this.#closed || !this.#safepointOperations.isEmpty) {
      thread.begin = () => {
        const promise = run();
        later(promise);
        return promise;
      };
      this.makeReady(thread);
      return null;
    }
    this.#execution.beginCall(thread);
    this.#sliceEndsAt = 0;
    const promise = invoke(run);
    if (this.#execution.tryEndCall(thread)) {
      if (!this.#safepointOperations.isEmpty || this.#garbageCollectors.hasDue || !this.#ready.isEmpty) this.#scheduleDispatch();
      return promise;
    }
    later(promise);
    this.#execution.watchEnd(thread, promise);
    return null;
  }

  /** Runs an operation while every thread is suspended at a safepoint. */
  atSafepoint<Result>(operation: () => Result): Promise<Result> {
    const result = this.#safepointOperations.add(operation);
    // Makes the running thread yield at its next clock check.
    this.#sliceEndsAt = 0;
    this.#scheduleDispatch();
    return result;
  }

  /** Calls back, at a safepoint, as soon as no access is inside any of the images. Returns a function that cancels the wait. */
  onUnreferenced(records: readonly number[], bypasses: 'counted' | 'ignored', callback: () => void): () => void {
    const cancel = this.#safepointOperations.onUnreferenced(records, bypasses, callback);
    this.#scheduleDispatch();
    return cancel;
  }

  /** Called at a safepoint when the image's fuel is used up. Returns the new fuel, or a negative number to suspend the thread. */
  refillFuel(): number {
    const now = this.#clock.now();
    if (this.#atomicCalls.isActive) {
      this.#atomicCalls.checkDeadline(now);
      return fuelPerRefill;
    }
    const thread = this.#running.current;
    if (this.#callTimer.remainingMilliseconds(thread) <= 0) throw new DeadlineError(thread);
    const isBetweenCalls = this.#frames.isEmpty(thread);
    if (isBetweenCalls) this.#callTimer.endSample(thread, now);
    const othersWait = !this.#ready.isEmpty || !this.#urgent.isEmpty || !this.#safepointOperations.isEmpty;
    if (now >= this.#yieldAt || (now >= this.#sliceEndsAt && othersWait)) return -1;
    return isBetweenCalls ? this.#callTimer.beginSample(thread, now) : fuelPerRefill;
  }

  /** Called when a new version has served a thread's call, at the earliest after an interrupted access has retried. Returns 1 to suspend the thread. */
  onVersionSwitch(thread: Thread, record: number): 0 | 1 {
    thread.owner.onVersionSwitch(thread, record);
    this.#callTimer.restartSamples(thread);
    return this.#urgent.isEmpty ? 0 : 1;
  }

  /** Suspends the running thread and puts it at the end of the queue. */
  suspend(): Promise<void> {
    const thread = this.#execution.switchOut();
    this.#ready.push(thread);
    return this.#suspension(thread);
  }

  /** Suspends the running thread for a pause between two calls. */
  pause(milliseconds: number): Promise<void> {
    this.#callTimer.endSample(this.#running.current, this.#clock.now());
    return this.sleep(milliseconds);
  }

  /** Suspends the running thread for a time, at most until its call's deadline. */
  sleep(milliseconds: number): Promise<void> {
    const thread = this.#execution.switchOut();
    const wanted = Math.min(Math.max(milliseconds, 0), sleepLimit);
    const left = this.#callTimer.remainingMilliseconds(thread);
    thread.cancelTimer = this.#clock.after(Math.min(wanted, left), () => {
      thread.cancelTimer = null;
      thread.isOverdue = left < wanted;
      this.makeReady(thread);
    });
    return this.#suspension(thread);
  }

  /** Makes a thread that has left the processor wait at the entry of an image, until it is woken or its call's deadline. */
  wait(thread: Thread, wait: Wait): Promise<void> {
    thread.entryWait = wait;
    const left = this.#callTimer.remainingMilliseconds(thread);
    if (left < sleepLimit) {
      thread.cancelTimer = this.#clock.after(left, () => {
        thread.cancelTimer = null;
        thread.isOverdue = true;
        this.makeReady(thread);
      });
    }
    return this.#suspension(thread);
  }

  /** Handles the end of a thread's code: restarts the thread, leaves it idle or removes it, as its owner decides. */
  onThreadEnd(thread: Thread, ending: Ending): void {
    if (this.#closed) return;
    thread.reset();
    const next = thread.owner.onEnd(thread, ending);
    if (next === 'restart') {
      this.#callTimer.discardSample(thread);
      this.#ready.push(thread);
    } else if (next === 'remove') this.#threads.remove(thread);
    this.#scheduleDispatch();
  }

  #suspension(thread: Thread): Promise<void> {
    return new Promise((resolve, reject) => {
      thread.continuation = { kind: 'resume', resolve, reject };
      // Resuming a thread settles a promise, which runs only after this thread's stack is left: dispatching now saves a microtask.
      if (this.#urgent.isEmpty || !this.#safepointOperations.isEmpty || this.#dispatchPending) this.#scheduleDispatch();
      else this.#dispatch();
    });
  }

  /** Schedules a dispatch. It never runs inside a suspending call, whose stack must be left first. */
  #scheduleDispatch(): void {
    if (this.#dispatchPending || this.#running.thread !== null || this.#closed) return;
    this.#dispatchPending = true;
    if (this.#clock.now() < this.#yieldAt) {
      queueMicrotask(() => this.#dispatch());
    } else {
      this.#clock.later(() => {
        this.#yieldAt = this.#clock.now() + yieldIntervalMs;
        this.#dispatch();
      });
    }
  }

  #dispatch(): void {
    // Still pending while operations run: threads that they make ready are dispatched right after.
    if (!this.#closed) {
      this.#safepointOperations.run();
      this.#garbageCollectors.runDue();
    }
    this.#dispatchPending = false;
    if (this.#closed) return;
    const urgent = this.#urgent.shift();
    const thread = urgent ?? this.#ready.shift();
    if (thread === null) return;
    this.#execution.switchIn(thread);
    try {
      this.#beginTimeSlice(thread, urgent !== null);
      this.#execution.resume(thread);
    } catch (error) {
      this.#execution.fail(thread, error);
    }
  }

  #beginTimeSlice(thread: Thread, isUrgent: boolean): void {
    if (thread.entryWait?.kind === 'collection') this.#garbageCollectors.noteResumed(thread.entryWait.record);
    if (isUrgent) {
      // An interrupted thread yields at the first safepoint of its retry, so that all interrupted threads leave the old image soon.
      thread.injection?.retryIn?.exhaustFuel();
      this.#sliceEndsAt = 0;
      this.#callTimer.discardSample(thread);
      return;
    }
    this.#sliceEndsAt = this.#clock.now() + timeSliceMs;
    if (thread.sampler.resumed()) thread.owner.exhaustFuel();
  }
}

/** Runs code. An error thrown before the first suspension, such as for a value of the wrong type, becomes a rejection like any later one. */
function invoke<Result>(run: () => Promise<Result>): Promise<Result> {
  try {
    return run();
  } catch (error) {
    return Promise.reject(error);
  }
}
