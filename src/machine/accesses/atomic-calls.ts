// Atomic calls: image code that runs to completion without being suspended, outside of threads or on the running thread's frames.

import { lifecycleMilliseconds, loadLifecycleMilliseconds, threadBlock } from '../abi.ts';
import type { Clock } from '../clock.ts';
import { LimitError } from '../limit.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import type { RunningThread } from '../threads/running-thread.ts';
import type { CStacks } from './c-stacks.ts';
import type { Ownership } from './ownership.ts';

type Dependencies = {
  readonly kernelMemory: KernelMemory;
  readonly clock: Clock;
  readonly running: RunningThread;
  readonly cStacks: CStacks;
  readonly ownership: Ownership;
};

export class AtomicCalls {
  readonly #dependencies: Dependencies;
  /** Block that holds the frames of code that runs outside of threads. */
  readonly #block: number;
  /** Null while no atomic call is active. */
  #deadline: number | null = null;
  /** When the calls of the running load must have ended; null if no load runs. */
  #loadDeadline: number | null = null;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
    this.#block = dependencies.kernelMemory.allocate(threadBlock.bytes);
  }

  get isActive(): boolean {
    return this.#deadline !== null;
  }

  /** @throws {LimitError} if an atomic call is active and has run too long. */
  checkDeadline(now: number): void {
    if (this.#deadline === null || now <= this.#deadline) return;
    if (this.#loadDeadline !== null && now > this.#loadDeadline)
      throw new LimitError(`the load ran code for more than ${loadLifecycleMilliseconds} ms, the limit for code that cannot be suspended`);
    throw new LimitError(`it ran longer than ${lifecycleMilliseconds} ms, the limit for code that cannot be suspended`);
  }

  /** Runs a part of a load, in which all atomic calls together have `loadLifecycleMilliseconds`. */
  runLoad<Result>(part: () => Result): Result {
    this.#loadDeadline = this.#dependencies.clock.now() + loadLifecycleMilliseconds;
    try {
      return part();
    } finally {
      this.#loadDeadline = null;
    }
  }

  /**
   * Runs image code to completion.
   * @param record The image whose code is called first, treated as unowned; null: none, or an image that is not exclusive.
   * @throws {LimitError} if the code runs too long; rethrows traps.
   */
  run<Result>(code: () => Result, record: number | null = null): Result {
    const { clock, running, ownership } = this.#dependencies;
    const outer = this.#deadline;
    const isAlone = running.thread === null && outer === null;
    this.#deadline = outer ?? Math.min(clock.now() + lifecycleMilliseconds, this.#loadDeadline ?? Number.POSITIVE_INFINITY);
    if (isAlone) running.stack = this.#block + threadBlock.frames;
    try {
      return record === null ? code() : ownership.runUnowned(record, code);
    } catch (error) {
      if (isAlone) this.#cleanUp();
      if (error instanceof WebAssembly.SuspendError)
        throw new Error('it called kernel.sleep or entered a busy exclusive module, but this code cannot be suspended', {
          cause: error,
        });
      throw error;
    } finally {
      this.#deadline = outer;
    }
  }

  /** Cleans up after code outside of threads has thrown. Every thread is suspended, so the contents of the C stacks belong to that code. */
  #cleanUp(): void {
    this.#dependencies.cStacks.resetAll();
    this.#dependencies.ownership.releaseAll(this.#block);
  }
}
