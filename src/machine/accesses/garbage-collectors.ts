// The collectors of all images that have one, and those of them that are due.

import { collectExport } from '../abi.ts';
import { getExportedFunction } from '../images/instance-exports.ts';
import type { Thread } from '../threads/thread.ts';
import type { ImagesByRecord } from './accessible-image.ts';
import { GarbageCollector, type GarbageCollectorDependencies } from './garbage-collector.ts';

export class GarbageCollectors {
  readonly #images: ImagesByRecord;
  readonly #surroundings: GarbageCollectorDependencies;
  /** By the records of the images. */
  readonly #collections = new Map<number, GarbageCollector>();
  readonly #due = new Set<GarbageCollector>();

  constructor(images: ImagesByRecord, surroundings: GarbageCollectorDependencies) {
    this.#images = images;
    this.#surroundings = surroundings;
  }

  /** Adds the collector of an image's instance, if it has one. @throws {Error} when the instance lacks what a collector needs. */
  add(record: number, exports: WebAssembly.Instance['exports']): void {
    if (!(collectExport in exports)) return;
    this.#collections.set(record, new GarbageCollector(record, getExportedFunction(exports, collectExport), exports, this.#surroundings));
  }

  /** Forgets the collector of an image that no access is inside of. */
  remove(record: number): void {
    this.#collections.get(record)?.close();
    this.#collections.delete(record);
  }

  /** Whether a collection waits to be run. */
  get hasDue(): boolean {
    return this.#due.size > 0;
  }

  /** Whether the collection of an image waits for the accesses inside to leave. */
  isDue(record: number): boolean {
    return this.#collections.get(record)?.isDue === true;
  }

  /** An image has used its budget up. */
  request(record: number): void {
    const collection = this.#collections.get(record);
    if (collection === undefined) return;
    collection.request();
    this.#due.add(collection);
  }

  /** A thread, which has given up the processor, waits at the entry of an image. */
  enqueue(thread: Thread, record: number): void {
    this.#collections.get(record)?.enqueue(thread);
  }

  /** A thread that was held back at the entry of an image has the processor. */
  noteResumed(record: number): void {
    this.#collections.get(record)?.noteResumed();
  }

  /** Runs the collectors that are due and whose images no access is inside of; only between two slices. */
  runDue(): void {
    for (const collection of this.#due) {
      try {
        collection.runIfPossible();
      } catch {
        this.#images.get(collection.record)?.recordTaint('trap');
      }
      if (!collection.isDue) this.#due.delete(collection);
    }
  }
}
