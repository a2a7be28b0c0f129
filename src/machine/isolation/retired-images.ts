// Retired images, which no new access enters. Their pages stay in memory until the memory is needed and no program holds their address.

import { type ImageSize, type MemoryRange, planImageReclamation, type RandomAccessMemory } from '../memory/random-access-memory.ts';
import type { LoadedImage } from './loaded-image.ts';

/** A holder of image records, such as a program that keeps an address hard-coded or counts calls by record. */
export type RecordHolder = {
  /** Returns whether it holds the address of the record's image hard-coded. */
  holdsAddressOf(record: number): boolean;
  /** Stops counting calls by the record. */
  forgetRecord(record: number): void;
};

/** Images whose pages were given to another image. */
export type Reclaimed = readonly LoadedImage[];

export class RetiredImages {
  readonly #memory: RandomAccessMemory;
  readonly #holders: () => Iterable<RecordHolder>;
  readonly #onRelease: (image: LoadedImage) => void;
  /** Ordered by retirement, oldest first. */
  readonly #images = new Set<LoadedImage>();
  /** Images whose pages a load has taken, until it releases or restores them. */
  readonly #reclaimed = new Set<LoadedImage>();

  /** @param onRelease Called for each image whose record and addresses were released. */
  constructor(memory: RandomAccessMemory, holders: () => Iterable<RecordHolder>, onRelease: (image: LoadedImage) => void) {
    this.#memory = memory;
    this.#holders = holders;
    this.#onRelease = onRelease;
  }

  /** Adds an image that the module table no longer names. */
  add(image: LoadedImage): void {
    this.#images.add(image);
    this.releaseUnused();
  }

  /**
   * Releases the addresses of deleted images and the instances of images that no access will enter. An image that nothing holds is never entered again,
   * whatever the flags of its pages.
   */
  releaseUnused(): void {
    for (const image of this.#images) {
      if (this.#reclaimed.has(image)) continue;
      const isHeld = this.#isHeld(image);
      if (!isHeld) image.revokeExecute();
      if (!isReferenced(image)) image.releaseInstance();
      if (!isHeld && !image.range.present) this.#release(image);
    }
  }

  /** Returns the ranges that `reclaim` may give to another image, oldest first. */
  reclaimableRanges(): Set<MemoryRange> {
    return new Set([...this.#images].filter((image) => !this.#reclaimed.has(image) && !this.#isHeld(image)).map(({ range }) => range));
  }

  /**
   * Unmaps the fewest of the oldest unheld images that make room for an image of a size. Returns null, and unmaps nothing, if all of them would not.
   * The caller then passes the images to `restore` or `release`.
   */
  reclaim(size: ImageSize): Reclaimed | null {
    const plan = planImageReclamation(this.#memory, [...this.reclaimableRanges()], size);
    if (plan === null) return null;
    const reclaimed = [...this.#images].filter(({ range }) => plan.has(range));
    for (const image of reclaimed) {
      this.#reclaimed.add(image);
      image.unmap();
    }
    return reclaimed;
  }

  /** Restores reclaimed images after the load that needed their pages has failed. */
  restore(reclaimed: Reclaimed): void {
    for (const image of reclaimed) {
      this.#reclaimed.delete(image);
      image.remap();
    }
  }

  /** Releases reclaimed images. */
  release(reclaimed: Reclaimed): void {
    for (const image of reclaimed) this.#release(image);
  }

  #release(image: LoadedImage): void {
    for (const holder of this.#holders()) holder.forgetRecord(image.record);
    image.release();
    this.#images.delete(image);
    this.#reclaimed.delete(image);
    this.#onRelease(image);
  }

  #isHeld(image: LoadedImage): boolean {
    if (isReferenced(image)) return true;
    for (const holder of this.#holders()) if (holder.holdsAddressOf(image.record)) return true;
    return false;
  }
}

const isReferenced = ({ referenceCount, bypassCount: bypassing }: LoadedImage) => referenceCount + bypassing > 0;
