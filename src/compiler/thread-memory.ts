// The memory of a compiler thread: that of libraries in WebAssembly is bounded, which `resourceLimits` of worker threads leave out of account.

import { getHeapStatistics } from 'node:v8';

const pageBytes = 65_536;
const mebibyte = 1_048_576;

let wasExceeded = false;
let libraryBytes = 0;

/**
 * Bounds each WebAssembly memory that JavaScript of this thread grows, as binaryen's does for its allocator. Growth past the limit fails.
 * @param limit MiB of one memory.
 */
export function limitMemory(limit: number): void {
  const { grow } = WebAssembly.Memory.prototype;
  WebAssembly.Memory.prototype.grow = function growWithinLimit(this: WebAssembly.Memory, pages: number) {
    const after = this.buffer.byteLength + pages * pageBytes;
    // An allocator asks for more than it needs, and for less when that fails: what counts is how the last attempt ended.
    wasExceeded = after > limit * mebibyte;
    if (wasExceeded) throw new RangeError(`the memory would have ${after} bytes; the limit is ${limit} MiB`);
    libraryBytes = after;
    return grow.call(this, pages);
  };
}

/** Returns whether an allocation has failed at the limit since the last call. */
export function takeMemoryExceeded(): boolean {
  const exceeded = wasExceeded;
  wasExceeded = false;
  return exceeded;
}

/** Returns how much memory this thread keeps, in MiB: its heap and what binaryen has grown to, which never shrinks. */
export function retainedMebibytes(): number {
  const { total_heap_size: heap, external_memory: external } = getHeapStatistics();
  return (heap + external + libraryBytes) / mebibyte;
}
