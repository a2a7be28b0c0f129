// Exclusive images: one thread owns the image while its accesses are inside, and the others wait at the entry, first come, first served.

import { imageRecord } from '../abi.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import type { Thread } from '../threads/thread.ts';
import { ThreadQueue } from '../threads/thread-queue.ts';

/** Threads wait for each other's images in a circle; the message names the programs and the images. */
export class DeadlockError extends Error {
  override readonly name = 'DeadlockError';
}

type Surroundings = {
  readonly kernelMemory: KernelMemory;
  /** The thread with a block; undefined for code that runs outside of threads. */
  threadOf(block: number): Thread | undefined;
  /** Name and version of a record's image. */
  nameOf(record: number): string;
  /** Lets a thread run that has waited. */
  wake(thread: Thread): void;
};

/** What the kernel memory says of an image's owner. */
export type OwnershipState = { readonly owner: number; readonly depth: number; readonly contended: number };

const unowned: OwnershipState = { owner: 0, depth: 0, contended: 0 };

export class Ownership {
  readonly #surroundings: Surroundings;
  /** Threads that wait, by record. A thread leaves its queue when it is made ready for any reason. */
  readonly #queues = new Map<number, ThreadQueue<Thread>>();

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
  }

  /** Makes an image exclusive. */
  add(record: number): void {
    this.#queues.set(record, new ThreadQueue());
  }

  /** Forgets an image that no access is inside of. */
  remove(record: number): void {
    this.#queues.delete(record);
  }

  /**
   * Checks that a thread may wait for an image.
   * @throws {DeadlockError} when the image's owner waits, directly or through others, for an image that the thread owns.
   */
  checkForDeadlock(thread: Thread, record: number): void {
    const circle = [describeWait(thread.owner.id, this.#surroundings.nameOf(record))];
    const { threadOf, nameOf } = this.#surroundings;
    for (let owner = threadOf(this.words(record).owner); owner !== undefined; ) {
      if (owner === thread) {
        throw new DeadlockError(
          `deadlock between exclusive modules: ${circle.join(', ')}; call the modules in one order everywhere, or push those that are re-entrant as shared`,
        );
      }
      const wait = owner.entryWait;
      // An owner that has just been let in still counts as waiting until it runs: it waits for no other.
      if (wait?.kind !== 'ownership' || this.words(wait.record).owner === owner.block) return;
      circle.push(describeWait(owner.owner.id, nameOf(wait.record)));
      owner = threadOf(this.words(wait.record).owner);
    }
  }

  /** Puts a thread, which has given up the processor, at the end of the queue. */
  enqueue(thread: Thread, record: number): void {
    this.#queues.get(record)?.push(thread);
    this.#write(record, { ...this.words(record), contended: 1 });
  }

  /** The owner has left: the next thread in the queue owns the image. */
  release(record: number): void {
    const queue = this.#queues.get(record);
    const next = queue?.shift() ?? null;
    if (next === null) {
      this.#write(record, unowned);
      return;
    }
    this.#write(record, { owner: next.block, depth: 1, contended: queue?.isEmpty === false ? 1 : 0 });
    this.#surroundings.wake(next);
  }

  /** Accesses of a thread have ended without running to the image's exit; so many of them are still inside. */
  endAccesses(thread: Thread, record: number, remaining: number): void {
    const read = this.words(record);
    if (!this.#queues.has(record) || read.owner !== thread.block) return;
    if (remaining > 0) this.#write(record, { ...read, depth: remaining });
    else this.release(record);
  }

  /** Runs code in an image as if no thread owned it; only between two slices, where every thread is at a safepoint. */
  runUnowned<Result>(record: number, run: () => Result): Result {
    const words = this.words(record);
    this.#write(record, unowned);
    try {
      return run();
    } finally {
      this.#write(record, words);
    }
  }

  /** Code outside of threads, which keeps its stack of images in that block, has ended by an error: it owns nothing. */
  releaseAll(block: number): void {
    for (const record of this.#queues.keys()) if (this.words(record).owner === block) this.release(record);
  }

  words(record: number): OwnershipState {
    const { words } = this.#surroundings.kernelMemory;
    return {
      owner: words[(record + imageRecord.owner) >> 2] ?? 0,
      depth: words[(record + imageRecord.depth) >> 2] ?? 0,
      contended: words[(record + imageRecord.contended) >> 2] ?? 0,
    };
  }

  #write(record: number, { owner, depth, contended }: OwnershipState): void {
    const { words } = this.#surroundings.kernelMemory;
    words[(record + imageRecord.owner) >> 2] = owner;
    words[(record + imageRecord.depth) >> 2] = depth;
    words[(record + imageRecord.contended) >> 2] = contended;
  }
}

const describeWait = (program: string, image: string) => `${program} waits for ${image}`;
