// Exclusive images: the thread whose accesses are inside owns the image; other threads wait at the entry in FIFO order.

import { imageRecord } from '../abi.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import type { Thread } from '../threads/thread.ts';
import { ThreadQueue } from '../threads/thread-queue.ts';

/** Threads wait for each other's images in a cycle. The message names the programs and the images. */
export class DeadlockError extends Error {
  override readonly name = 'DeadlockError';
}

type Dependencies = {
  readonly kernelMemory: KernelMemory;
  /** Returns the thread that has a block; undefined for code that runs outside of threads. */
  threadOf(block: number): Thread | undefined;
  /** Returns the name and version of a record's image. */
  formatImageName(record: number): string;
  /** Makes a waiting thread ready. */
  wake(thread: Thread): void;
};

/** Ownership of an image, as stored in kernel memory. */
export type OwnershipState = { readonly owner: number; readonly depth: number; readonly contended: number };

const unowned: OwnershipState = { owner: 0, depth: 0, contended: 0 };

export class Ownership {
  readonly #dependencies: Dependencies;
  /** Waiting threads, by record. A thread leaves its queue when it becomes ready for any reason. */
  readonly #queues = new Map<number, ThreadQueue<Thread>>();

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** Registers an exclusive image. */
  add(record: number): void {
    this.#queues.set(record, new ThreadQueue());
  }

  /** Removes an image; no access may be inside. */
  remove(record: number): void {
    this.#queues.delete(record);
  }

  /** Whether an image is exclusive. */
  has(record: number): boolean {
    return this.#queues.has(record);
  }

  /**
   * Checks that a thread may wait for an image.
   * @throws {DeadlockError} if the image's owner waits, directly or through other threads, for an image that this thread owns.
   */
  checkForDeadlock(thread: Thread, record: number): void {
    const cycle = [describeWait(thread.owner.id, this.#dependencies.formatImageName(record))];
    const { threadOf, formatImageName } = this.#dependencies;
    for (let owner = threadOf(this.words(record).owner); owner !== undefined; ) {
      if (owner === thread) {
        throw new DeadlockError(
          `deadlock between exclusive modules: ${cycle.join(', ')}; call the modules in the same order everywhere, or push re-entrant modules as shared`,
        );
      }
      const wait = owner.entryWait;
      // An owner that was just admitted has a wait recorded until it runs, but waits for no thread.
      if (wait?.kind !== 'ownership' || this.words(wait.record).owner === owner.block) return;
      cycle.push(describeWait(owner.owner.id, formatImageName(wait.record)));
      owner = threadOf(this.words(wait.record).owner);
    }
  }

  /** Queues a thread, which has left the processor. */
  enqueue(thread: Thread, record: number): void {
    this.#queues.get(record)?.push(thread);
    this.#write(record, { ...this.words(record), contended: 1 });
  }

  /** Releases the image: the next thread in the queue becomes the owner. */
  release(record: number): void {
    const queue = this.#queues.get(record);
    const next = queue?.shift() ?? null;
    if (next === null) {
      this.#write(record, unowned);
      return;
    }
    this.#write(record, { owner: next.block, depth: 1, contended: queue?.isEmpty === false ? 1 : 0 });
    this.#dependencies.wake(next);
  }

  /** Updates the ownership of an exclusive image after accesses exited abnormally. @param remaining The thread's accesses still inside the image. */
  endAccesses(thread: Thread, record: number, remaining: number): void {
    const read = this.words(record);
    if (read.owner !== thread.block) return;
    if (remaining > 0) this.#write(record, { ...read, depth: remaining });
    else this.release(record);
  }

  /** Runs code in an image as if it had no owner. Only at a safepoint. */
  runUnowned<Result>(record: number, run: () => Result): Result {
    const words = this.words(record);
    this.#write(record, unowned);
    try {
      return run();
    } finally {
      this.#write(record, words);
    }
  }

  /** Releases all images owned by a block; used when code outside of threads has thrown. */
  releaseAll(block: number): void {
    for (const record of this.#queues.keys()) if (this.words(record).owner === block) this.release(record);
  }

  words(record: number): OwnershipState {
    const { words } = this.#dependencies.kernelMemory;
    return {
      owner: words[(record + imageRecord.owner) >> 2] ?? 0,
      depth: words[(record + imageRecord.depth) >> 2] ?? 0,
      contended: words[(record + imageRecord.contended) >> 2] ?? 0,
    };
  }

  #write(record: number, { owner, depth, contended }: OwnershipState): void {
    const { words } = this.#dependencies.kernelMemory;
    words[(record + imageRecord.owner) >> 2] = owner;
    words[(record + imageRecord.depth) >> 2] = depth;
    words[(record + imageRecord.contended) >> 2] = contended;
  }
}

const describeWait = (program: string, image: string) => `${program} waits for ${image}`;
