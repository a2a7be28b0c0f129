// Entry control: makes accesses wait at the entry of an image, for an exclusive image's owner or for a garbage collection.

import { formatImageName, type ImagesByRecord } from '../accesses/accessible-image.ts';
import type { AtomicCalls } from '../accesses/atomic-calls.ts';
import type { GarbageCollectors } from '../accesses/garbage-collectors.ts';
import type { Ownership } from '../accesses/ownership.ts';
import type { Execution } from '../scheduler/execution.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import { type Frames, firstFrameOf } from '../threads/frames.ts';
import type { RunningThread } from '../threads/running-thread.ts';

type Dependencies = {
  readonly images: ImagesByRecord;
  readonly running: RunningThread;
  readonly frames: Frames;
  readonly ownership: Ownership;
  readonly garbageCollectors: GarbageCollectors;
  readonly atomicCalls: AtomicCalls;
  readonly execution: Execution;
  readonly scheduler: Scheduler;
};

export class EntryControl {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Makes the running thread wait until it owns an exclusive image, which another thread owns now.
   * @throws {DeadlockError} if the owner waits for an image that the thread owns.
   * @throws {Error} if the running code cannot be suspended.
   */
  acquire(record: number): Promise<void> {
    const { images, running, ownership, atomicCalls, execution, scheduler } = this.#dependencies;
    if (atomicCalls.isActive)
      throw new Error(
        `code that cannot be suspended entered ${formatImageName(images, record)}, which is exclusive and has another thread inside`,
      );
    ownership.checkForDeadlock(running.current, record);
    const thread = execution.switchOut();
    ownership.enqueue(thread, record);
    return scheduler.wait(thread, { kind: 'ownership', record });
  }

  /** Releases an exclusive image that threads wait for. */
  release(record: number): void {
    this.#dependencies.ownership.release(record);
  }

  /** Returns 1 if an access must wait for a garbage collection; never for a thread that is already inside. */
  isHeld(record: number): 0 | 1 {
    const { running, frames, garbageCollectors, atomicCalls } = this.#dependencies;
    if (atomicCalls.isActive || !garbageCollectors.isDue(record)) return 0;
    return frames.countBetween(firstFrameOf(running.current), running.stack, record) > 1 ? 0 : 1;
  }

  /** Makes the running thread wait for a garbage collection. */
  waitForCollection(record: number): Promise<void> {
    const { garbageCollectors, execution, scheduler } = this.#dependencies;
    const thread = execution.switchOut();
    garbageCollectors.enqueue(thread, record);
    return scheduler.wait(thread, { kind: 'collection', record });
  }

  /** Requests a collection: the image has used up its allocation budget. */
  requestCollection(record: number): void {
    this.#dependencies.garbageCollectors.request(record);
  }
}
