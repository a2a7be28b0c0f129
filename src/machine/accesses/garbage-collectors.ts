// The garbage collectors of all images, and the collections that are due.

import { collectExport } from '../abi.ts';
import { getExportedFunction } from '../images/instance-exports.ts';
import type { Thread } from '../threads/thread.ts';
import type { ImagesByRecord } from './accessible-image.ts';
import { GarbageCollector, type GarbageCollectorDependencies } from './garbage-collector.ts';

export class GarbageCollectors {
  readonly #images: ImagesByRecord;
  readonly #dependencies: GarbageCollectorDependencies;
  /** By image record. */
  readonly #collectors = new Map<number, GarbageCollector>();
  readonly #due = new Set<GarbageCollector>();

  constructor(images: ImagesByRecord, dependencies: GarbageCollectorDependencies) {
    this.#images = images;
    this.#dependencies = dependencies;
  }

  /** Adds the collector of an image's instance, if it has one. @throws {Error} if the instance lacks the exports of an image with a collector. */
  add(record: number, exports: WebAssembly.Instance['exports']): void {
    if (!(collectExport in exports)) return;
    this.#collectors.set(record, new GarbageCollector(record, getExportedFunction(exports, collectExport), exports, this.#dependencies));
  }

  /** Removes the collector of an image; no access may be inside. */
  remove(record: number): void {
    this.#collectors.get(record)?.close();
    this.#collectors.delete(record);
  }

  /** Whether any collector is due. */
  get hasDue(): boolean {
    return this.#due.size > 0;
  }

  /** Whether a collector of the image waits for the accesses inside to leave. */
  isDue(record: number): boolean {
    return this.#collectors.get(record)?.isDue === true;
  }

  /** Requests a collector: the image has used up its allocation budget. */
  request(record: number): void {
    const collector = this.#collectors.get(record);
    if (collector === undefined) return;
    collector.request();
    this.#due.add(collector);
  }

  /** Queues a thread, which has left the processor, at the entry of an image. */
  enqueue(thread: Thread, record: number): void {
    this.#collectors.get(record)?.enqueue(thread);
  }

  /** Notes that a thread that waited at the entry of an image has resumed. */
  noteResumed(record: number): void {
    this.#collectors.get(record)?.noteResumed();
  }

  /** Runs the collectors that are due and whose images have no access inside. Only at a safepoint. */
  runDue(): void {
    for (const collector of this.#due) {
      try {
        collector.runIfPossible();
      } catch {
        this.#images.get(collector.record)?.recordTaint('trap');
      }
      if (!collector.isDue) this.#due.delete(collector);
    }
  }
}
