// The memory budget of a host: how many bytes the memories of all images that may be accessed have together.

import { LimitError } from './limit.ts';

/** Bytes of a page of WebAssembly memory. */
const memoryPageBytes = 65_536;
/** Bytes of the memories of a host's images where its operator says nothing: 4 GiB. */
export const defaultImageMemory = 4 * 1024 ** 3;

/** The size of an image's memory, in pages of 64 KiB. */
export type MemorySize = { readonly initialPages: number; readonly maximumPages: number };

/** The part of the budget that one image has, from its load on. */
export class MemoryReservation {
  readonly #initial: number;
  /** Bytes that the memory may grow to. */
  readonly maximum: number;
  readonly #onRelease: (reservation: MemoryReservation) => void;
  #memory: WebAssembly.Memory | null = null;

  constructor({ initialPages, maximumPages }: MemorySize, onRelease: (reservation: MemoryReservation) => void) {
    this.#initial = initialPages * memoryPageBytes;
    this.maximum = maximumPages * memoryPageBytes;
    this.#onRelease = onRelease;
  }

  /** Bytes that the memory has now. */
  get bytes(): number {
    return this.#memory?.buffer.byteLength ?? this.#initial;
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
   * Reserves an image's initial memory. Memories that have grown meanwhile leave less for others; a memory that is there keeps growing up to its maximum.
   * @throws {LimitError} when the budget or the number of memories is used up.
   */
  reserve(size: MemorySize): MemoryReservation {
    if (this.#reservations.size >= this.#imageLimit)
      throw new LimitError(`limit reached (${this.#imageLimit} images with memories of their own per host): place devices on another host`);
    const reservation = new MemoryReservation(size, (released) => this.#release(released));
    // Where all of them could grow to their maxima, nothing needs to be measured.
    if (this.#maximum + reservation.maximum > this.limit) this.#refuseExcess(reservation);
    this.#reservations.add(reservation);
    this.#maximum += reservation.maximum;
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
    if (this.#reservations.delete(reservation)) this.#maximum -= reservation.maximum;
  }
}

const mebibytes = (bytes: number) => `${Math.round((bytes / 2 ** 20) * 100) / 100} MiB`;
