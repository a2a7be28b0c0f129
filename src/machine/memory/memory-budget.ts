// The memory budget of a host: a limit for the total memory of its images.

import { LimitError } from '../limit.ts';

/** Size of a WebAssembly memory page in bytes. */
const memoryPageBytes = 65_536;
/** Bytes that V8 uses per table element; measured: 29. */
const tableElementBytes = 32;
/** Default limit for the memories of a host's images, in bytes: 4 GiB. */
export const defaultImageMemory = 4 * 1024 ** 3;

/** Size of an image's memory, in pages of 64 KiB. */
export type MemorySize = { readonly initialPages: number; readonly maximumPages: number };

/** The part of the budget that one image reserves when it is loaded. */
export class MemoryReservation {
  /** Whether the image has a memory, not only tables. */
  readonly hasMemory: boolean;
  readonly #initial: number;
  /** Bytes of the tables at their maximum size. */
  readonly #tables: number;
  /** Bytes of memory and tables at their maximum size. */
  readonly maximum: number;
  readonly #onRelease: (reservation: MemoryReservation) => void;
  #memory: WebAssembly.Memory | null = null;

  constructor(size: MemorySize | null, tableElements: number, onRelease: (reservation: MemoryReservation) => void) {
    this.hasMemory = size !== null;
    this.#initial = (size?.initialPages ?? 0) * memoryPageBytes;
    this.#tables = tableElements * tableElementBytes;
    this.maximum = (size?.maximumPages ?? 0) * memoryPageBytes + this.#tables;
    this.#onRelease = onRelease;
  }

  /** Current bytes of the memory, plus maximum bytes of the tables. */
  get bytes(): number {
    return (this.#memory?.buffer.byteLength ?? this.#initial) + this.#tables;
  }

  /** Counts the growth of an instance's memory from now on. */
  attach(memory: WebAssembly.Memory): void {
    this.#memory = memory;
  }

  /** Returns the bytes to the budget; no access may enter the image any more. */
  release(): void {
    this.#memory = null;
    this.#onRelease(this);
  }
}

export class MemoryBudget {
  /** Limit in bytes. */
  readonly limit: number;
  readonly #imageLimit: number;
  readonly #reservations = new Set<MemoryReservation>();
  /** Total bytes of all reservations at their maximum size. */
  #maximum = 0;
  /** Number of reservations with a memory. */
  #memories = 0;

  /**
   * @param limit In bytes.
   * @param imageLimit Maximum images with their own memory.
   */
  constructor(limit: number, imageLimit: number) {
    this.limit = limit;
    this.#imageLimit = imageLimit;
  }

  /** Current bytes of all reservations, including memory growth. */
  get used(): number {
    let sum = 0;
    for (const { bytes } of this.#reservations) sum += bytes;
    return sum;
  }

  /**
   * Reserves an image's initial memory, if it has one, and the maximum size of its tables. Memory growth reduces what is left for later reservations;
   * an existing memory may always grow to its maximum.
   * @throws {LimitError} if the budget or the number of memories is exhausted.
   */
  reserve(size: MemorySize | null, tableElements = 0): MemoryReservation {
    if (size !== null && this.#memories >= this.#imageLimit)
      throw new LimitError(`limit reached (${this.#imageLimit} images with their own memory per host): place devices on another host`);
    const reservation = new MemoryReservation(size, tableElements, (released) => this.#release(released));
    // If everything fits at its maximum size, current sizes need not be measured.
    if (this.#maximum + reservation.maximum > this.limit) this.#checkBudget(reservation);
    this.#reservations.add(reservation);
    this.#maximum += reservation.maximum;
    if (reservation.hasMemory) this.#memories += 1;
    return reservation;
  }

  #checkBudget({ bytes }: MemoryReservation): void {
    const { used, limit } = this;
    if (used + bytes <= limit) return;
    const [wanted, inUse, all] = [bytes, used, limit].map(formatMebibytes);
    throw new LimitError(
      `its memory of ${wanted} exceeds the memory budget of the host: ${inUse} of ${all} are in use; raise --image-memory, or place devices on another host`,
    );
  }

  #release(reservation: MemoryReservation): void {
    if (!this.#reservations.delete(reservation)) return;
    this.#maximum -= reservation.maximum;
    if (reservation.hasMemory) this.#memories -= 1;
  }
}

const formatMebibytes = (bytes: number) => `${Math.round((bytes / 2 ** 20) * 100) / 100} MiB`;
