// C stacks: toolchains give a module one stack in its memory, so a thread that gives up the processor takes what it has on the stack along.

import { memoryExport, redZone, stackPointerExport } from '../abi.ts';
import type { Stamp } from '../images/stamp.ts';
import { LimitError } from '../limit.ts';

/** Bytes of C stacks that one thread may hold while others run. */
const savedLimit = 1024 * 1024;

/** The C stack of one instance of an image. */
export class CStack {
  readonly #name: string;
  readonly #pointer: WebAssembly.Global;
  readonly #memory: WebAssembly.Memory;
  readonly #base: number;
  readonly #floor: number;
  #bytes = new Uint8Array();

  /** @throws {Error} when the instance does not export what its stamp says. */
  constructor({ module, version, stack }: Pick<Stamp, 'module' | 'version' | 'stack'>, exports: WebAssembly.Instance['exports']) {
    const pointer = exports[stackPointerExport];
    const memory = exports[memoryExport];
    if (!(pointer instanceof WebAssembly.Global) || !(memory instanceof WebAssembly.Memory) || stack === null)
      throw new Error(`${module}@${version} does not export its stack: compile the source again`);
    // The memory never shrinks: what is within it now can be copied at every switch.
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
   * Returns where the part in use begins, red zone included.
   * @throws {LimitError} when the stack has passed its bounds.
   */
  lowestInUse(): number {
    const { pointer } = this;
    if (pointer < this.#floor || pointer > this.#base) {
      throw new LimitError(
        `stack overflow in ${this.#name}: its stack pointer is ${pointer}, outside of ${this.#floor} to ${this.#base}; link the module with a larger stack (wasm-ld -z stack-size)`,
      );
    }
    return Math.max(pointer - redZone, this.#floor);
  }

  /** Copies the part from an address up into a buffer, which must be large enough, and empties the stack. Returns the number of bytes. */
  copyOut(from: number, into: Uint8Array): number {
    into.set(this.#view().subarray(from, this.#base));
    this.reset();
    return this.#base - from;
  }

  /** Puts a part back. */
  copyIn(pointer: number, from: number, bytes: Uint8Array): void {
    this.#view().set(bytes, from);
    this.#pointer.value = pointer;
  }

  /** Returns the pointer to the base: no access is inside. */
  reset(): void {
    this.#pointer.value = this.#base;
  }

  /** Bytes from an address to the base. */
  sizeFrom(from: number): number {
    return this.#base - from;
  }

  #view(): Uint8Array {
    // A memory that has grown has a new buffer, and the old one's length is 0.
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(this.#memory.buffer);
    return this.#bytes;
  }
}

/** Bytes of the buffers that all threads of a host may have together for parts of C stacks. */
export const defaultStackMemory = 512 * 1024 * 1024;
/** Larger buffers are freed as soon as their thread has the processor again. */
const keptBufferBytes = 64 * 1024;

/** What the threads of one host share: how many bytes of buffers they have. */
export class StackMemory {
  readonly limit: number;
  #used = 0;

  /** @param limit Bytes. */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** Bytes of all buffers. */
  get used(): number {
    return this.#used;
  }

  /** Counts bytes of a buffer. @throws {LimitError} when the limit is reached. */
  reserve(bytes: number): void {
    if (this.#used + bytes > this.limit)
      throw new LimitError(
        `limit reached (${this.limit} bytes of stacks of all threads on this host): run fewer threads, or use smaller local arrays`,
      );
    this.#used += bytes;
  }

  /** Bytes of a buffer are gone. */
  release(bytes: number): void {
    this.#used -= bytes;
  }
}

const noBytes = new Uint8Array();

type SavedStack = { stack: CStack; pointer: number; from: number; buffer: Uint8Array; length: number };

/** The parts of C stacks that belong to one thread while it does not have the processor; at most 1 MiB. */
export class SavedStacks {
  #saved: SavedStack[] = [];
  /** The first so many are in use; the buffers of the others wait to be used again. */
  #count = 0;
  #bytes = 0;
  readonly #memory: StackMemory;

  constructor(memory: StackMemory) {
    this.#memory = memory;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes the thread's part out of a stack, once.
   * @throws {LimitError} when the stack has overflowed, or the thread would hold more than it may.
   */
  save(stack: CStack): void {
    for (let index = 0; index < this.#count; index += 1) if (this.#saved[index]?.stack === stack) return;
    const { pointer } = stack;
    const from = stack.lowestInUse();
    const size = stack.sizeFrom(from);
    if (this.#bytes + size > savedLimit)
      throw new LimitError(`limit reached (${savedLimit} bytes of stacks per thread): use fewer or smaller local arrays`);
    const spare = this.#saved[this.#count]?.buffer;
    const buffer = spare !== undefined && spare.length >= size ? spare : this.#bufferOf(size, spare?.length ?? 0);
    const length = stack.copyOut(from, buffer);
    this.#saved[this.#count] = { stack, pointer, from, buffer, length };
    this.#count += 1;
    this.#bytes += length;
  }

  /** Puts back the parts in those stacks that the thread is still inside of. */
  restore(isInside: (stack: CStack) => boolean): void {
    for (let index = 0; index < this.#count; index += 1) {
      const saved = this.#saved[index];
      if (saved === undefined || !isInside(saved.stack)) continue;
      saved.stack.copyIn(saved.pointer, saved.from, saved.buffer.subarray(0, saved.length));
    }
    this.#count = 0;
    this.#bytes = 0;
    for (const saved of this.#saved) {
      if (saved.buffer.length <= keptBufferBytes) continue;
      this.#memory.release(saved.buffer.length);
      saved.buffer = noBytes;
    }
  }

  #bufferOf(size: number, replaced: number): Uint8Array {
    this.#memory.reserve(size - replaced);
    return new Uint8Array(size);
  }

  /** Frees the buffers; the thread has ended. */
  clear(): void {
    for (const { buffer } of this.#saved) this.#memory.release(buffer.length);
    this.#saved = [];
    this.#count = 0;
    this.#bytes = 0;
  }
}
