// The C stacks of all images, switched with the threads: what a thread has on them is taken out where it gives up the processor, and put back after.

import { bypassBit, imageRecord } from '../abi.ts';
import type { Stamp } from '../images/stamp.ts';
import { CStack } from '../memory/c-stack.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import { type Frames, firstFrameOf } from '../threads/frames.ts';
import type { Injection, Thread } from '../threads/thread.ts';

export class CStacks {
  /** By the records of the images. */
  readonly #stacks = new Map<number, CStack>();
  readonly #words: Int32Array;
  readonly #frames: Frames;

  constructor({ words }: KernelMemory, frames: Frames) {
    this.#words = words;
    this.#frames = frames;
  }

  /** Switches the stack of an image's instance from now on. @throws {Error} when the instance does not export what its stamp says. */
  add(record: number, stamp: Stamp, exports: WebAssembly.Instance['exports']): void {
    this.#stacks.set(record, new CStack(stamp, exports));
    this.#words[(record + imageRecord.stack) >> 2] = 1;
  }

  /** Forgets the stack of an image that no access is inside of. */
  remove(record: number): void {
    this.#stacks.delete(record);
  }

  /**
   * Takes the running thread's parts out of the stacks of the images that it is inside of.
   * @throws {LimitError} when a stack has overflowed, or the parts are too large.
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

  /** Puts a thread's parts back; not those of images that an injected error takes the thread out of. */
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

  /** Empties the stacks of the images that the running thread's code was inside of; the code has ended. */
  resetStacksOf(thread: Thread): void {
    for (const { record } of this.#frames.of(thread)) this.#stacks.get(record)?.reset();
  }

  /** Empties all stacks: every thread is suspended and has taken its parts along. */
  resetAll(): void {
    for (const stack of this.#stacks.values()) stack.reset();
  }
}
