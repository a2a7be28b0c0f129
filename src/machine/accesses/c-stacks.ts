// The C stacks of all images, switched with the threads: a thread's parts are copied out when it leaves the processor and copied back when it resumes.

import { bypassBit, imageRecord } from '../abi.ts';
import type { Stamp } from '../images/stamp.ts';
import { CStack } from '../memory/c-stack.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import { type Frames, firstFrameOf } from '../threads/frames.ts';
import type { Injection, Thread } from '../threads/thread.ts';

export class CStacks {
  /** By image record. */
  readonly #stacks = new Map<number, CStack>();
  readonly #words: Int32Array;
  readonly #frames: Frames;

  constructor({ words }: KernelMemory, frames: Frames) {
    this.#words = words;
    this.#frames = frames;
  }

  /** Registers the stack of an image's instance. @throws {Error} if the instance does not export what its stamp says. */
  add(record: number, stamp: Stamp, exports: WebAssembly.Instance['exports']): void {
    this.#stacks.set(record, new CStack(stamp, exports));
    this.#words[(record + imageRecord.stack) >> 2] = 1;
  }

  /** Removes the stack of an image; no access may be inside. */
  remove(record: number): void {
    this.#stacks.delete(record);
  }

  /**
   * Copies the running thread's parts out of the stacks of the images that it is inside.
   * @throws {LimitError} if a stack has overflowed or the parts are too large.
   */
  save(thread: Thread): void {
    if (this.#stacks.size === 0) return;
    const words = this.#words;
    const end = this.#frames.endOf(thread);
    for (let place = firstFrameOf(thread); place < end; place += 4) {
      const record = (words[place >> 2] ?? 0) & ~bypassBit;
      if (words[(record + imageRecord.stack) >> 2] === 0) continue;
      const stack = this.#stacks.get(record);
      if (stack !== undefined) thread.savedStacks.save(stack);
    }
  }

  /** Copies a thread's parts back, except those of images that an injected error unwinds. */
  restore(thread: Thread, injection: Injection | null): void {
    const { savedStacks } = thread;
    if (savedStacks.isEmpty) return;
    if (injection === null) {
      savedStacks.restore(() => true);
      return;
    }
    const inside = new Set<CStack | undefined>();
    for (let place = firstFrameOf(thread); place < injection.target; place += 4)
      inside.add(this.#stacks.get(this.#frames.at(place).record));
    savedStacks.restore((stack) => inside.has(stack));
  }

  /** Resets the stacks of the images that the running thread was inside, after its code has ended. */
  resetStacksOf(thread: Thread): void {
    for (const { record } of this.#frames.of(thread)) this.#stacks.get(record)?.reset();
  }

  /** Resets all stacks; every thread is suspended and its parts are saved. */
  resetAll(): void {
    for (const stack of this.#stacks.values()) stack.reset();
  }
}
