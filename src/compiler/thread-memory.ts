// Limits the WebAssembly memory of a compiler thread, which the `resourceLimits` of worker threads do not cover.

import { getHeapStatistics } from 'node:v8';

const pageBytes = 65_536;
const mebibyte = 1_048_576;

let wasExceeded = false;
let libraryBytes = 0;

/**
 * Limits each WebAssembly memory that JavaScript in this thread grows, as binaryen's allocator does. Growth beyond the limit fails.
 * @param limit Maximum size of one memory, in MiB.
 */
export function limitMemory(limit: number): void {
  const { grow } = WebAssembly.Memory.prototype;
  WebAssembly.Memory.prototype.grow = function growWithinLimit(this: WebAssembly.Memory, pages: number) {
    const after = this.buffer.byteLength + pages * pageBytes;
    // An allocator first requests more than it needs, and less if that fails: the result of the last attempt counts.
    wasExceeded = after > limit * mebibyte;
    if (wasExceeded) throw new RangeError(`the memory would have ${after} bytes; the limit is ${limit} MiB`);
    libraryBytes = after;
    return grow.call(this, pages);
  };
}

/** Returns whether an allocation failed at the limit since the last call, and resets the state. */
export function takeMemoryExceeded(): boolean {
  const exceeded = wasExceeded;
  wasExceeded = false;
  return exceeded;
}

/** Returns the memory that this thread retains, in MiB: its heap and binaryen's memory, which never shrinks. */
export function measureRetainedMebibytes(): number {
  const { total_heap_size: heap, external_memory: external } = getHeapStatistics();
  return (heap + external + libraryBytes) / mebibyte;
}
