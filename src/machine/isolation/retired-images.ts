// Images that new accesses no longer enter: their pages stay in memory until memory is needed, and as long as a program holds their address.

import { type ImageSize, type MemoryRange, planImageReclamation, type RandomAccessMemory } from '../memory/random-access-memory.ts';
import type { LoadedImage } from './loaded-image.ts';

/** What may hold the record of an image: its address is hard-coded there, or calls are counted by it. */
export type RecordHolder = {
  /** Whether it keeps the address of that record's image, hard-coded. */
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
  /** The image that was retired first comes first. */
  readonly #images = new Set<LoadedImage>();

  /** @param onRelease Called for each image whose record and addresses have been released. */
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
   * Releases the addresses of deleted images that nothing holds, and the instances of images that nothing enters any more: an image that nothing holds
   * is never entered again, whatever the flags of its pages say.
   */
  releaseUnused(): void {
    for (const image of this.#images) {
      const isHeld = this.#isHeld(image);
      if (!isHeld) image.revokeExecute();
      if (!isReferenced(image)) image.releaseInstance();
      if (!isHeld && !image.range.present) this.#release(image);
    }
  }

  /** Ranges that `reclaim` may give to another image, the oldest first. */
  reclaimableRanges(): Set<MemoryRange> {
    return new Set([...this.#images].filter((image) => !this.#isHeld(image)).map(({ range }) => range));
  }

  /**
   * Unmaps images that nothing holds, the oldest first and as few as make room for an image of that size. Null, and nothing is unmapped, where all
   * of them would not. The images must be passed to `restore` or `release` next.
   */
  reclaim(size: ImageSize): Reclaimed | null {
    const plan = planImageReclamation(this.#memory, [...this.reclaimableRanges()], size);
    if (plan === null) return null;
    const reclaimed = [...this.#images].filter(({ range }) => plan.has(range));
    for (const image of reclaimed) image.unmap();
    return reclaimed;
  }

  /** Puts reclaimed images back: the load that needed their pages has failed, and their pages are unused again. */
  restore(reclaimed: Reclaimed): void {
    for (const image of reclaimed) image.remap();
  }

  /** Forgets reclaimed images. */
  release(reclaimed: Reclaimed): void {
    for (const image of reclaimed) this.#release(image);
  }

  #release(image: LoadedImage): void {
    for (const holder of this.#holders()) holder.forgetRecord(image.record);
    image.release();
    this.#images.delete(image);
    this.#onRelease(image);
  }

  #isHeld(image: LoadedImage): boolean {
    if (isReferenced(image)) return true;
    for (const holder of this.#holders()) if (holder.holdsAddressOf(image.record)) return true;
    return false;
  }
}

const isReferenced = ({ referenceCount, bypassCount: bypassing }: LoadedImage) => referenceCount + bypassing > 0;
