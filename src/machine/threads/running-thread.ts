// The running thread, which has the processor, and the words of kernel memory that its code updates.

import { runningThread } from '../abi.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import type { Thread } from './thread.ts';

export class RunningThread {
  /** Null while no thread has the processor: nothing runs, or code outside of threads does. */
  thread: Thread | null = null;
  readonly #words: Int32Array;

  constructor({ words }: KernelMemory) {
    this.#words = words;
  }

  /** @throws {Error} if no thread has the processor. */
  get current(): Thread {
    if (this.thread === null) throw new Error('no thread has the processor');
    return this.thread;
  }

  /** End of the frames of the running thread, or of the code outside of threads. */
  get stack(): number {
    return this.#words[runningThread.stack >> 2] ?? 0;
  }

  set stack(address: number) {
    this.#words[runningThread.stack >> 2] = address;
  }

  /** Number of effects of its current call. */
  get effects(): number {
    return this.#words[runningThread.effects >> 2] ?? 0;
  }

  set effects(count: number) {
    this.#words[runningThread.effects >> 2] = count;
  }
}
