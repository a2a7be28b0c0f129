// Garbage collection between accesses. A collector that scans only one thread's stack may run only while no access is inside the image.

import { allocationBudgetExport, imageRecord, memoryExport } from '../abi.ts';
import type { Clock } from '../clock.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import type { Frames } from '../threads/frames.ts';
import type { Thread } from '../threads/thread.ts';
import { ThreadQueue } from '../threads/thread-queue.ts';
import type { AtomicCalls } from './atomic-calls.ts';

/** How long new accesses wait for those inside to leave, in milliseconds. Then they enter, and the collection is retried later. */
const waitLimit = 100;
/** Minimum allocation budget between two collections, in bytes; a larger memory gets a share of its size instead. */
const minimumBudget = 16 * 1024;
const budgetShare = 1 / 4;

export type GarbageCollectorDependencies = {
  readonly kernelMemory: KernelMemory;
  readonly clock: Clock;
  readonly frames: Frames;
  readonly atomicCalls: AtomicCalls;
  /** Makes a waiting thread ready. */
  wake(thread: Thread): void;
};

/** The garbage collector of one instance of an image. */
export class GarbageCollector {
  readonly record: number;
  readonly #dependencies: GarbageCollectorDependencies;
  readonly #collect: WebAssembly.ExportedFunction;
  readonly #budget: WebAssembly.Global;
  readonly #memory: WebAssembly.Memory;
  readonly #waiting = new ThreadQueue<Thread>();
  /** Accesses that waited at the entry and have not resumed yet. */
  #waitingAccesses = 0;
  #cancelTimeout: (() => void) | null = null;

  /** @throws {Error} if the instance lacks the exports of an image with a collector. */
  constructor(
    record: number,
    collect: WebAssembly.ExportedFunction,
    exports: WebAssembly.Instance['exports'],
    dependencies: GarbageCollectorDependencies,
  ) {
    const [budget, memory] = [exports[allocationBudgetExport], exports[memoryExport]];
    if (!(budget instanceof WebAssembly.Global) || !(memory instanceof WebAssembly.Memory))
      throw new Error('the image exports a collector without an allocation budget or a memory: compile the source again');
    this.record = record;
    this.#dependencies = dependencies;
    this.#collect = collect;
    this.#budget = budget;
    this.#memory = memory;
    this.#refill();
  }

  /** Whether a collection waits for the accesses inside to leave. */
  get isDue(): boolean {
    return this.#cancelTimeout !== null;
  }

  /** Requests a collection: the image has used up its allocation budget. */
  request(): void {
    this.#refill();
    if (this.isDue) return;
    this.#dependencies.kernelMemory.words[(this.record + imageRecord.entryHeld) >> 2] = 1;
    this.#cancelTimeout = this.#dependencies.clock.after(waitLimit, () => this.#admitWaiting());
  }

  /** Queues a thread, which has left the processor, at the image's entry. */
  enqueue(thread: Thread): void {
    this.#waitingAccesses += 1;
    this.#waiting.push(thread);
  }

  /** Notes that a waiting thread has resumed. */
  noteResumed(): void {
    this.#waitingAccesses -= 1;
  }

  /** Runs the collector if it is due and no access is inside. Only at a safepoint. */
  runIfPossible(): void {
    const { frames, atomicCalls } = this.#dependencies;
    if (!this.isDue) return;
    // Waiting accesses have pushed a frame of the image too.
    const { counted, bypassing } = frames.referencesOf(this.record);
    if (counted + bypassing > this.#waitingAccesses) return;
    try {
      atomicCalls.run(() => this.#collect());
      this.#refill();
    } finally {
      this.#admitWaiting();
    }
  }

  /** Admits the waiting threads: the image leaves memory. */
  close(): void {
    if (this.isDue) this.#admitWaiting();
  }

  #admitWaiting(): void {
    this.#cancelTimeout?.();
    this.#cancelTimeout = null;
    this.#dependencies.kernelMemory.words[(this.record + imageRecord.entryHeld) >> 2] = 0;
    for (let thread = this.#waiting.shift(); thread !== null; thread = this.#waiting.shift()) this.#dependencies.wake(thread);
  }

  #refill(): void {
    this.#budget.value = Math.max(minimumBudget, Math.floor(this.#memory.buffer.byteLength * budgetShare));
  }
}
