// Atomic calls: code of images that runs to its end without being suspended, outside of threads or on the running thread's stack of images.

import { threadBlock } from '../abi.ts';
import type { Clock } from '../clock.ts';
import { LimitError } from '../limit.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import type { RunningThread } from '../threads/running-thread.ts';
import type { CStacks } from './c-stacks.ts';
import type { Ownership } from './ownership.ts';

/** How long a module's start function, self-check or transfer of state may run, in milliseconds. */
const timeLimit = 100;

type Surroundings = {
  readonly kernelMemory: KernelMemory;
  readonly time: Clock;
  readonly running: RunningThread;
  readonly imageStacks: CStacks;
  readonly ownership: Ownership;
};

export class AtomicCalls {
  readonly #surroundings: Surroundings;
  /** Where the stack of images of code that no thread runs is kept. */
  readonly #block: number;
  /** Null while no atomic call is under way. */
  #deadline: number | null = null;

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
    this.#block = surroundings.kernelMemory.allocate(threadBlock.bytes);
  }

  get isActive(): boolean {
    return this.#deadline !== null;
  }

  /** @throws {LimitError} when the call that is under way, if any, has run too long. */
  checkDeadline(now: number): void {
    if (this.#deadline !== null && now > this.#deadline)
      throw new LimitError(`it ran longer than ${timeLimit} ms where it cannot be suspended`);
  }

  /**
   * Runs code of images to its end.
   * @param record The image whose code is called first, as if no thread owned the image; null: none, or an image that is not exclusive.
   * @throws {LimitError} when it runs too long, and whatever it traps with.
   */
  run<Result>(code: () => Result, record: number | null = null): Result {
    const { time, running, ownership } = this.#surroundings;
    const outer = this.#deadline;
    const isAlone = running.thread === null && outer === null;
    this.#deadline = outer ?? time.now() + timeLimit;
    if (isAlone) running.stack = this.#block + threadBlock.frames;
    try {
      return record === null ? code() : ownership.runUnowned(record, code);
    } catch (error) {
      if (isAlone) this.#abandon();
      if (error instanceof WebAssembly.SuspendError)
        throw new Error('it waits (kernel.sleep, or an exclusive module that another thread is inside of) where it cannot be suspended', {
          cause: error,
        });
      throw error;
    } finally {
      this.#deadline = outer;
    }
  }

  /** Code outside of threads has ended by an error. Every thread is suspended: what lies on the C stacks is of that code. */
  #abandon(): void {
    this.#surroundings.imageStacks.resetAll();
    this.#surroundings.ownership.releaseAll(this.#block);
  }
}
