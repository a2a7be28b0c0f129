// The thread that has the processor, and the words of the kernel's memory that its code moves.

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

  /** @throws {Error} when no thread has the processor. */
  get current(): Thread {
    if (this.thread === null) throw new Error('no thread has the processor');
    return this.thread;
  }

  /** The end of its stack of images, or of that of the code outside of threads. */
  get stack(): number {
    return this.#words[runningThread.stack >> 2] ?? 0;
  }

  set stack(address: number) {
    this.#words[runningThread.stack >> 2] = address;
  }

  /** How many effects its call has made. */
  get effects(): number {
    return this.#words[runningThread.effects >> 2] ?? 0;
  }

  set effects(count: number) {
    this.#words[runningThread.effects >> 2] = count;
  }
}
