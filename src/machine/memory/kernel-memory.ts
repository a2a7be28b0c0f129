// Kernel memory: module table entries, image records and thread blocks, shared by access stubs and JavaScript.

import { LimitError } from '../limit.ts';

const pageBytes = 65_536;

/** Cells are cut from chunks of this size, so that cells of one size are aligned to it. */
const chunkBytes = 4_096;

/** A WebAssembly memory of fixed size, shared by all images of a processor. Allocates zeroed cells. */
export class KernelMemory {
  readonly memory: WebAssembly.Memory;
  /** The memory as 32-bit words; the index is the address divided by four. Views stay valid because the memory never grows. */
  readonly words: Int32Array;
  readonly doubleWords: BigInt64Array;
  readonly #bytes: number;
  readonly #free = new Map<number, number[]>();
  /** Address of the next chunk. The first chunk is reserved for the words of the running thread, and so that address zero is never allocated. */
  #next = chunkBytes;

  /** @param pages Size in WebAssembly pages of 64 KiB. */
  constructor(pages: number) {
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.words = new Int32Array(this.memory.buffer);
    this.doubleWords = new BigInt64Array(this.memory.buffer);
    this.#bytes = pages * pageBytes;
  }

  /**
   * Allocates a zeroed cell, aligned to its size. Returns its address.
   * @param bytes A power of two from 8 to 4,096.
   * @throws {LimitError} if the memory is full.
   */
  allocate(bytes: number): number {
    const free = this.#free.get(bytes) ?? [];
    this.#free.set(bytes, free);
    if (free.length === 0) this.#splitChunk(bytes, free);
    const address = free.pop();
    if (address === undefined)
      throw new LimitError(`limit reached (${this.#bytes} bytes of kernel memory): run fewer devices or threads on this host`);
    this.words.fill(0, address >> 2, (address + bytes) >> 2);
    return address;
  }

  /** Frees a cell of a size. */
  release(address: number, bytes: number): void {
    this.#free.get(bytes)?.push(address);
  }

  #splitChunk(bytes: number, free: number[]): void {
    if (this.#next + chunkBytes > this.#bytes) return;
    for (let address = this.#next + chunkBytes - bytes; address >= this.#next; address -= bytes) free.push(address);
    this.#next += chunkBytes;
  }
}
