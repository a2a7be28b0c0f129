// The threads that have not ended, by their blocks in kernel memory; their number is limited.

import { threadBlock } from '../abi.ts';
import { LimitError } from '../limit.ts';
import type { StackMemory } from '../memory/c-stack.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import type { ThreadGroup } from '../threads/run-queue.ts';
import { Thread, type ThreadOwner } from '../threads/thread.ts';

export class ThreadTable {
  readonly limit: number;
  readonly #kernelMemory: KernelMemory;
  readonly #stackMemory: StackMemory;
  readonly #threads = new Map<number, Thread>();

  /** @param limit Maximum threads. */
  constructor(limit: number, kernelMemory: KernelMemory, stackMemory: StackMemory) {
    this.limit = limit;
    this.#kernelMemory = kernelMemory;
    this.#stackMemory = stackMemory;
  }

  get size(): number {
    return this.#threads.size;
  }

  /**
   * Creates a thread and allocates its block.
   * @param callDeadline Maximum duration of one call in milliseconds; null: no limit.
   * @throws {LimitError} if the limit is reached.
   */
  create(owner: ThreadOwner, group: ThreadGroup<Thread>, callDeadline: number | null): Thread {
    if (this.#threads.size >= this.limit) {
      throw new LimitError(`limit reached (${this.limit} threads per host): stop a program first`);
    }
    const thread = new Thread(owner, group, this.#kernelMemory.allocate(threadBlock.bytes), callDeadline, this.#stackMemory);
    this.#threads.set(thread.block, thread);
    return thread;
  }

  /** Removes a thread whose code has ended. */
  remove(thread: Thread): void {
    thread.savedStacks.clear();
    this.#threads.delete(thread.block);
    this.#kernelMemory.release(thread.block, threadBlock.bytes);
  }

  /** Returns the thread with a block; undefined for code that runs outside of threads. */
  find(block: number): Thread | undefined {
    return this.#threads.get(block);
  }

  /** Returns the thread with a block. @throws {Error} if there is none. */
  threadOf(block: number): Thread {
    const thread = this.#threads.get(block);
    if (thread === undefined) throw new Error(`no thread has the block ${block}`);
    return thread;
  }

  /** Drops all threads; their suspended stacks are left to the garbage collector. */
  close(): void {
    for (const thread of this.#threads.values()) thread.cancelTimer?.();
    this.#threads.clear();
  }
}
