// Frames: in its block in kernel memory, each thread has a stack with one frame for each image that it is inside. Access stubs push and pop frames.

import { bypassBit, imageRecord, threadBlock } from '../abi.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import type { RunningThread } from './running-thread.ts';
import type { Frame, Thread } from './thread.ts';

/** Returns the address of a thread's outermost frame. */
export const firstFrameOf = (thread: Thread) => thread.block + threadBlock.frames;

/** Accesses of one thread inside some images. `outermost`: the address of the outermost frame, which is inside the image of `record`; 0 if none is. */
export type AccessesInside = { readonly count: number; readonly outermost: number; readonly record: number };

export class Frames {
  readonly #words: Int32Array;
  readonly #running: RunningThread;

  constructor({ words }: KernelMemory, running: RunningThread) {
    this.#words = words;
    this.#running = running;
  }

  /** Returns the frames of a thread, outermost first. */
  *of(thread: Thread): Generator<Frame, void> {
    const end = this.endOf(thread);
    for (let address = firstFrameOf(thread); address < end; address += 4) yield this.at(address);
  }

  at(address: number): Frame {
    const word = this.#words[address >> 2] ?? 0;
    return { record: word & ~bypassBit, isBypass: (word & bypassBit) !== 0 };
  }

  /** Returns the end of a thread's frames. */
  endOf(thread: Thread): number {
    return this.#running.thread === thread ? this.#running.stack : thread.stack;
  }

  /** Returns whether a thread is inside no image, that is, between two calls. */
  isEmpty(thread: Thread): boolean {
    return this.endOf(thread) === firstFrameOf(thread);
  }

  /**
   * Adds a suspended thread's accesses to the reference counts, or subtracts them. Stubs only write frames; counting at thread switches saves two count
   * updates per access. The counts exclude the accesses of the running thread.
   */
  addReferences(thread: Thread, by: 1 | -1): void {
    const words = this.#words;
    for (let address = firstFrameOf(thread); address < thread.stack; address += 4) {
      const frame = words[address >> 2] ?? 0;
      const counter = ((frame & ~bypassBit) + ((frame & bypassBit) === 0 ? imageRecord.referenceCount : imageRecord.bypassCount)) >> 2;
      words[counter] = (words[counter] ?? 0) + by;
    }
  }

  /** Returns how many accesses are inside an image: `counted` through the module table, `bypassing` by a hard-coded address. */
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

  /** Returns how many of a suspended thread's accesses are inside some images, and the outermost frame of them. */
  accessesInside(thread: Thread, records: ReadonlySet<number>): AccessesInside {
    let count = 0;
    let outermost = 0;
    let record = 0;
    for (let address = thread.stack - 4; address >= firstFrameOf(thread); address -= 4) {
      const entered = (this.#words[address >> 2] ?? 0) & ~bypassBit;
      if (!records.has(entered)) continue;
      count += 1;
      outermost = address;
      record = entered;
    }
    return { count, outermost, record };
  }

  /**
   * Returns whether one of the running code's accesses is inside one of some images. The innermost access, of whose image no code has run yet, only
   * counts if it entered by a hard-coded address: which image it enters through the module table is still open.
   */
  isRunningInside(records: ReadonlySet<number>): boolean {
    const innermost = this.#running.stack - 4;
    for (let address = (innermost & -threadBlock.bytes) + threadBlock.frames; address <= innermost; address += 4) {
      const frame = this.#words[address >> 2] ?? 0;
      if (records.has(frame & ~bypassBit) && (address < innermost || (frame & bypassBit) !== 0)) return true;
    }
    return false;
  }

  /** Makes the running code's innermost access, of whose image no code has run yet, enter another image. */
  redirectInnermost(record: number): void {
    const index = (this.#running.stack - 4) >> 2;
    this.#words[index] = record | ((this.#words[index] ?? 0) & bypassBit);
  }

  /** Returns how many frames of an image are between two addresses. */
  countBetween(from: number, to: number, record: number): number {
    let count = 0;
    for (let address = from; address < to; address += 4) if (this.at(address).record === record) count += 1;
    return count;
  }
}
