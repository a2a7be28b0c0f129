// Frames: each thread has a stack of the images that it is inside of, in its block in the kernel's memory. Access stubs push and pop, and counts follow.

import { bypassBit, imageRecord, threadBlock } from '../abi.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import type { RunningThread } from './running-thread.ts';
import type { Frame, Thread } from './thread.ts';

/** Returns the place of a thread's outermost frame. */
export const firstFrameOf = (thread: Thread) => thread.block + threadBlock.frames;

export class Frames {
  readonly #words: Int32Array;
  readonly #running: RunningThread;

  constructor({ words }: KernelMemory, running: RunningThread) {
    this.#words = words;
    this.#running = running;
  }

  /** Returns the images that a thread is inside of, outermost first. */
  *of(thread: Thread): Iterable<Frame> {
    const end = this.endOf(thread);
    for (let place = firstFrameOf(thread); place < end; place += 4) yield this.at(place);
  }

  at(place: number): Frame {
    const word = this.#words[place >> 2] ?? 0;
    return { record: word & ~bypassBit, isBypass: (word & bypassBit) !== 0 };
  }

  /** Returns where a thread's frames end. */
  endOf(thread: Thread): number {
    return this.#running.thread === thread ? this.#running.stack : thread.stack;
  }

  /** Whether a thread is inside of no image: it is between two calls. */
  isEmpty(thread: Thread): boolean {
    return this.endOf(thread) === firstFrameOf(thread);
  }

  /**
   * Counts the accesses of a thread, which does not have the processor, in or out. Stubs only write frames; counting them where the thread takes or
   * leaves the processor spares every access two changes of a count. The counts are without the accesses of the thread that has the processor.
   */
  addReferences(thread: Thread, by: 1 | -1): void {
    const words = this.#words;
    for (let place = firstFrameOf(thread); place < thread.stack; place += 4) {
      const frame = words[place >> 2] ?? 0;
      const counter = ((frame & ~bypassBit) + ((frame & bypassBit) === 0 ? imageRecord.referenceCount : imageRecord.bypassCount)) >> 2;
      words[counter] = (words[counter] ?? 0) + by;
    }
  }

  /** Returns how many accesses are inside an image: through the module table, and past it by a hard-coded address. */
  referencesOf(record: number): { readonly counted: number; readonly bypassing: number } {
    let counted = this.#words[(record + imageRecord.referenceCount) >> 2] ?? 0;
    let bypassing = this.#words[(record + imageRecord.bypassCount) >> 2] ?? 0;
    const { thread } = this.#running;
    if (thread !== null) {
      for (const frame of this.of(thread)) {
        if (frame.record !== record) continue;
        if (frame.isBypass) bypassing += 1;
        else counted += 1;
      }
    }
    return { counted, bypassing };
  }

  /** Returns how many of a suspended thread's accesses are inside an image, and the frame of the outermost, 0 where there is none. */
  accessesInside(thread: Thread, record: number): { readonly count: number; readonly outermost: number } {
    let count = 0;
    let outermost = 0;
    for (let place = thread.stack - 4; place >= firstFrameOf(thread); place -= 4) {
      if (((this.#words[place >> 2] ?? 0) & ~bypassBit) !== record) continue;
      count += 1;
      outermost = place;
    }
    return { count, outermost };
  }

  /** Returns how many frames of an image are between two places. */
  countBetween(from: number, to: number, record: number): number {
    let count = 0;
    for (let place = from; place < to; place += 4) if (this.at(place).record === record) count += 1;
    return count;
  }
}
