// The memory budget of a host: how many bytes the memories of all images that may be accessed have together.

import { LimitError } from '../limit.ts';

/** Bytes of a page of WebAssembly memory. */
const memoryPageBytes = 65_536;
/** Bytes that V8 keeps for one element of a table: measured 29. */
const tableElementBytes = 32;
/** Bytes of the memories of a host's images where its operator says nothing: 4 GiB. */
export const defaultImageMemory = 4 * 1024 ** 3;

/** The size of an image's memory, in pages of 64 KiB. */
export type MemorySize = { readonly initialPages: number; readonly maximumPages: number };

/** The part of the budget that one image has, from its load on. */
export class MemoryReservation {
  /** Whether the image has a memory, and not only tables. */
  readonly hasMemory: boolean;
  readonly #initial: number;
  /** Bytes of the tables when they have grown as far as they may. */
  readonly #tables: number;
  /** Bytes that memory and tables may grow to. */
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

  /** Bytes that the memory has now, and the tables may have. */
  get bytes(): number {
    return (this.#memory?.buffer.byteLength ?? this.#initial) + this.#tables;
  }

  /** Counts the growth of the instance's memory from now on. */
  attach(memory: WebAssembly.Memory): void {
    this.#memory = memory;
  }

  /** Returns the bytes to the budget; the image cannot be accessed any more. */
  release(): void {
    this.#memory = null;
    this.#onRelease(this);
  }
}

export class MemoryBudget {
  /** Bytes. */
  readonly limit: number;
  readonly #imageLimit: number;
  readonly #reservations = new Set<MemoryReservation>();
  /** What all memories may grow to. */
  #maximum = 0;
  /** Reservations with a memory. */
  #memories = 0;

  /**
   * @param limit Bytes.
   * @param imageLimit Images with memories of their own.
   */
  constructor(limit: number, imageLimit: number) {
    this.limit = limit;
    this.#imageLimit = imageLimit;
  }

  /** Bytes that all memories have now; growth is counted when it is looked for. */
  get used(): number {
    let sum = 0;
    for (const { bytes } of this.#reservations) sum += bytes;
    return sum;
  }

  /**
   * Reserves an image's initial memory, if it has one, and so many elements of tables. Memories that have grown meanwhile leave less for others; a memory that is there keeps growing up to its maximum.
   * @throws {LimitError} when the budget or the number of memories is used up.
   */
  reserve(size: MemorySize | null, tableElements = 0): MemoryReservation {
    if (size !== null && this.#memories >= this.#imageLimit)
      throw new LimitError(`limit reached (${this.#imageLimit} images with memories of their own per host): place devices on another host`);
    const reservation = new MemoryReservation(size, tableElements, (released) => this.#release(released));
    // Where all of them could grow to their maxima, nothing needs to be measured.
    if (this.#maximum + reservation.maximum > this.limit) this.#refuseExcess(reservation);
    this.#reservations.add(reservation);
    this.#maximum += reservation.maximum;
    if (reservation.hasMemory) this.#memories += 1;
    return reservation;
  }

  #refuseExcess({ bytes }: MemoryReservation): void {
    const { used, limit } = this;
    if (used + bytes <= limit) return;
    const [wanted, inUse, all] = [bytes, used, limit].map(mebibytes);
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

const mebibytes = (bytes: number) => `${Math.round((bytes / 2 ** 20) * 100) / 100} MiB`;
