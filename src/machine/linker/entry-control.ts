// Entry control: who may enter an image now. An exclusive image has one owner, and a garbage collection that is due holds accesses back.

import { formatImageName, type ImagesByRecord } from '../accesses/accessible-image.ts';
import type { AtomicCalls } from '../accesses/atomic-calls.ts';
import type { GarbageCollectors } from '../accesses/garbage-collectors.ts';
import type { Ownership } from '../accesses/ownership.ts';
import type { Execution } from '../scheduler/execution.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import { type Frames, firstFrameOf } from '../threads/frames.ts';
import type { RunningThread } from '../threads/running-thread.ts';

type Surroundings = {
  readonly images: ImagesByRecord;
  readonly running: RunningThread;
  readonly frames: Frames;
  readonly ownership: Ownership;
  readonly collections: GarbageCollectors;
  readonly atomicCalls: AtomicCalls;
  readonly execution: Execution;
  readonly scheduler: Scheduler;
};

export class EntryControl {
  readonly #surroundings: Surroundings;

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
  }

  /**
   * The running thread entered an exclusive image that another thread owns: it waits until it owns the image.
   * @throws {DeadlockError} when the owner waits for an image that the thread owns.
   * @throws {Error} when the code cannot wait.
   */
  acquire(record: number): Promise<void> {
    const { images, running, ownership, atomicCalls, execution, scheduler } = this.#surroundings;
    if (atomicCalls.isActive)
      throw new Error(`${formatImageName(images, record)} is exclusive and another thread is inside: code that cannot wait needs it`);
    ownership.checkForDeadlock(running.current, record);
    const thread = execution.switchOut();
    ownership.enqueue(thread, record);
    return scheduler.wait(thread, { kind: 'ownership', record });
  }

  /** The owner has left an exclusive image that threads wait for. */
  release(record: number): void {
    this.#surroundings.ownership.release(record);
  }

  /** Returns 1 if an access has to wait for a garbage collection: not one of a thread that is inside already. */
  isHeld(record: number): 0 | 1 {
    const { running, frames, collections, atomicCalls } = this.#surroundings;
    if (atomicCalls.isActive || !collections.isDue(record)) return 0;
    return frames.countBetween(firstFrameOf(running.current), running.stack, record) > 1 ? 0 : 1;
  }

  /** The running thread waits for a garbage collection. */
  waitForCollection(record: number): Promise<void> {
    const { collections, execution, scheduler } = this.#surroundings;
    const thread = execution.switchOut();
    collections.enqueue(thread, record);
    return scheduler.wait(thread, { kind: 'collection', record });
  }

  /** An image has used its allocation budget up. */
  requestCollection(record: number): void {
    this.#surroundings.collections.request(record);
  }
}
