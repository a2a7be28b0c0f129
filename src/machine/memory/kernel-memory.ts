// The kernel's memory: module table entries, reference counts and thread blocks, where the access stubs and JavaScript both reach them.

import { LimitError } from '../limit.ts';

const pageBytes = 65_536;

/** Cells are cut from chunks of this size, so that cells of one size lie aligned to it. */
const chunkBytes = 4_096;

/** A WebAssembly memory of fixed size, shared by all images of a processor, that hands out zeroed cells. */
export class KernelMemory {
  readonly memory: WebAssembly.Memory;
  /** The memory as 32-bit words: a word's index is its address divided by four. Views stay valid: the memory never grows. */
  readonly words: Int32Array;
  readonly doubleWords: BigInt64Array;
  readonly #bytes: number;
  readonly #free = new Map<number, number[]>();
  /** The first chunk is not handed out: it holds the words of the running thread, and address zero names nothing. */
  #next = chunkBytes;

  /** @param pages Size in WebAssembly pages of 64 KiB. */
  constructor(pages: number) {
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.words = new Int32Array(this.memory.buffer);
    this.doubleWords = new BigInt64Array(this.memory.buffer);
    this.#bytes = pages * pageBytes;
  }

  /**
   * Address of a zeroed cell, aligned to its size.
   * @param bytes A power of two from 8 to 4,096.
   * @throws {LimitError} when the memory is full.
   */
  allocate(bytes: number): number {
    const free = this.#free.get(bytes) ?? [];
    this.#free.set(bytes, free);
    if (free.length === 0) this.#cut(bytes, free);
    const address = free.pop();
    if (address === undefined)
      throw new LimitError(`the kernel's memory of ${this.#bytes} bytes is full: run fewer devices or threads on this host`);
    this.words.fill(0, address >> 2, (address + bytes) >> 2);
    return address;
  }

  /** Gives a cell of that size back. */
  release(address: number, bytes: number): void {
    this.#free.get(bytes)?.push(address);
  }

  #cut(bytes: number, free: number[]): void {
    if (this.#next + chunkBytes > this.#bytes) return;
    for (let address = this.#next + chunkBytes - bytes; address >= this.#next; address -= bytes) free.push(address);
    this.#next += chunkBytes;
  }
}
