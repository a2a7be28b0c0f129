// C stacks. Toolchains give a module one stack in its memory, so a thread that leaves the processor has its part copied out and later copied back.

import { memoryExport, redZone, stackPointerExport } from '../abi.ts';
import type { Stamp } from '../images/stamp.ts';
import { LimitError } from '../limit.ts';

/** Maximum saved C stacks of one thread, in bytes. */
const savedLimit = 1024 * 1024;

/** The C stack of one instance of an image. */
export class CStack {
  readonly #name: string;
  readonly #pointer: WebAssembly.Global;
  readonly #memory: WebAssembly.Memory;
  readonly #base: number;
  readonly #floor: number;
  #bytes = new Uint8Array();

  /** @throws {Error} if the instance does not export what its stamp says. */
  constructor({ module, version, stack }: Pick<Stamp, 'module' | 'version' | 'stack'>, exports: WebAssembly.Instance['exports']) {
    const pointer = exports[stackPointerExport];
    const memory = exports[memoryExport];
    if (!(pointer instanceof WebAssembly.Global) || !(memory instanceof WebAssembly.Memory) || stack === null)
      throw new Error(`${module}@${version} does not export its stack: compile the source again`);
    // Memory never shrinks: a stack that is within it now can be copied at every switch.
    if (stack.base > memory.buffer.byteLength || stack.floor > stack.base)
      throw new Error(
        `${module}@${version} has a stack from ${stack.floor} to ${stack.base}, outside of its memory of ${memory.buffer.byteLength} bytes: compile the source again`,
      );
    this.#name = `${module}@${version}`;
    this.#pointer = pointer;
    this.#memory = memory;
    this.#base = stack.base;
    this.#floor = stack.floor;
  }

  get pointer(): number {
    return this.#pointer.value >>> 0;
  }

  /**
   * Returns the lowest address in use, red zone included.
   * @throws {LimitError} if the stack pointer is out of bounds.
   */
  lowestInUse(): number {
    const { pointer } = this;
    if (pointer < this.#floor || pointer > this.#base) {
      throw new LimitError(
        `stack overflow in ${this.#name}: its stack pointer is ${pointer}, expected ${this.#floor} to ${this.#base}; link the module with a larger stack (wasm-ld -z stack-size)`,
      );
    }
    return Math.max(pointer - redZone, this.#floor);
  }

  /** Copies the stack from an address to its base into a buffer, which must be large enough, and resets the stack. Returns the number of bytes. */
  copyOut(from: number, into: Uint8Array): number {
    into.set(this.#view().subarray(from, this.#base));
    this.reset();
    return this.#base - from;
  }

  /** Copies a saved part back. */
  copyIn(pointer: number, from: number, bytes: Uint8Array): void {
    this.#view().set(bytes, from);
    this.#pointer.value = pointer;
  }

  /** Resets the pointer to the base, as when no access is inside. */
  reset(): void {
    this.#pointer.value = this.#base;
  }

  /** Returns the bytes from an address to the base. */
  sizeFrom(from: number): number {
    return this.#base - from;
  }

  #view(): Uint8Array {
    // Growing a memory detaches its buffer, whose length is then 0.
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(this.#memory.buffer);
    return this.#bytes;
  }
}

/** Default limit for the buffers of saved C stacks of all threads of a host, in bytes. */
export const defaultStackMemory = 512 * 1024 * 1024;
/** Larger buffers are freed as soon as their thread resumes. */
const maxKeptBufferBytes = 64 * 1024;

/** Counts the buffers of saved C stacks of all threads of a host. */
export class StackMemory {
  readonly limit: number;
  #used = 0;

  /** @param limit In bytes. */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** Bytes of all buffers. */
  get used(): number {
    return this.#used;
  }

  /** Reserves bytes for a buffer. @throws {LimitError} if the limit is reached. */
  reserve(bytes: number): void {
    if (this.#used + bytes > this.limit)
      throw new LimitError(
        `limit reached (${this.limit} bytes of saved C stacks per host): run fewer threads, or use smaller local arrays`,
      );
    this.#used += bytes;
  }

  /** Releases the bytes of a freed buffer. */
  release(bytes: number): void {
    this.#used -= bytes;
  }
}

const noBytes = new Uint8Array();

type SavedStack = { stack: CStack; pointer: number; from: number; buffer: Uint8Array; length: number };

/** The saved C stacks of one thread while it does not have the processor; at most 1 MiB. */
export class SavedStacks {
  #saved: SavedStack[] = [];
  /** Number of elements in use; the buffers of the others are spare. */
  #count = 0;
  #bytes = 0;
  readonly #memory: StackMemory;

  constructor(memory: StackMemory) {
    this.#memory = memory;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Saved bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Saves the thread's part of a stack, unless it is saved already.
   * @throws {LimitError} if the stack has overflowed, or the thread would save more than the limit.
   */
  save(stack: CStack): void {
    for (let index = 0; index < this.#count; index += 1) if (this.#saved[index]?.stack === stack) return;
    const { pointer } = stack;
    const from = stack.lowestInUse();
    const size = stack.sizeFrom(from);
    if (this.#bytes + size > savedLimit)
      throw new LimitError(`limit reached (${savedLimit} bytes of saved C stacks per thread): use fewer or smaller local arrays`);
    const spare = this.#saved[this.#count]?.buffer;
    const buffer = spare !== undefined && spare.length >= size ? spare : this.#allocateBuffer(size, spare?.length ?? 0);
    const length = stack.copyOut(from, buffer);
    this.#saved[this.#count] = { stack, pointer, from, buffer, length };
    this.#count += 1;
    this.#bytes += length;
  }

  /** Restores the parts in those stacks whose images the thread is still inside, and drops the others. */
  restore(isInside: (stack: CStack) => boolean): void {
    for (let index = 0; index < this.#count; index += 1) {
      const saved = this.#saved[index];
      if (saved === undefined || !isInside(saved.stack)) continue;
      saved.stack.copyIn(saved.pointer, saved.from, saved.buffer.subarray(0, saved.length));
    }
    this.#count = 0;
    this.#bytes = 0;
    for (const saved of this.#saved) {
      if (saved.buffer.length <= maxKeptBufferBytes) continue;
      this.#memory.release(saved.buffer.length);
      saved.buffer = noBytes;
    }
  }

  #allocateBuffer(size: number, replaced: number): Uint8Array {
    this.#memory.reserve(size - replaced);
    return new Uint8Array(size);
  }

  /** Frees the buffers of a thread that has ended. */
  clear(): void {
    for (const { buffer } of this.#saved) this.#memory.release(buffer.length);
    this.#saved = [];
    this.#count = 0;
    this.#bytes = 0;
  }
}
