// Garbage collection between accesses: a collector that knows only one thread's stack may run only while no access is inside the image.

import { allocationBudgetExport, imageRecord, memoryExport } from '../abi.ts';
import type { Clock } from '../clock.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import type { Frames } from '../threads/frames.ts';
import type { Thread } from '../threads/thread.ts';
import { ThreadQueue } from '../threads/thread-queue.ts';
import type { AtomicCalls } from './atomic-calls.ts';

/** How long accesses are held back for those inside to leave, in milliseconds; then they enter, and the collection is due again later. */
const holdLimit = 100;
/** Bytes that an image may allocate between two collections, at least; and the share of its memory, where that is more. */
const minimumBudget = 16 * 1024;
const budgetShare = 1 / 4;

export type GarbageCollectorDependencies = {
  readonly kernelMemory: KernelMemory;
  readonly time: Clock;
  readonly frames: Frames;
  readonly atomicCalls: AtomicCalls;
  /** Lets a thread run that has waited. */
  wake(thread: Thread): void;
};

/** The collector of one instance of an image. */
export class GarbageCollector {
  readonly record: number;
  readonly #surroundings: GarbageCollectorDependencies;
  readonly #collect: WebAssembly.ExportedFunction;
  readonly #budget: WebAssembly.Global;
  readonly #memory: WebAssembly.Memory;
  readonly #waiting = new ThreadQueue<Thread>();
  /** Accesses that were held back and have not got the processor since. */
  #heldBack = 0;
  #cancelHold: (() => void) | null = null;

  /** @throws {Error} when the instance lacks what an image with a collector exports. */
  constructor(
    record: number,
    collect: WebAssembly.ExportedFunction,
    exports: WebAssembly.Instance['exports'],
    surroundings: GarbageCollectorDependencies,
  ) {
    const [budget, memory] = [exports[allocationBudgetExport], exports[memoryExport]];
    if (!(budget instanceof WebAssembly.Global) || !(memory instanceof WebAssembly.Memory))
      throw new Error('the image has a collector without a budget or a memory: compile the source again');
    this.record = record;
    this.#surroundings = surroundings;
    this.#collect = collect;
    this.#budget = budget;
    this.#memory = memory;
    this.#refill();
  }

  /** Whether the collection waits for the accesses inside to leave. */
  get isDue(): boolean {
    return this.#cancelHold !== null;
  }

  /** The image has used its budget up. */
  request(): void {
    this.#refill();
    if (this.isDue) return;
    this.#surroundings.kernelMemory.words[(this.record + imageRecord.entryHeld) >> 2] = 1;
    this.#cancelHold = this.#surroundings.time.after(holdLimit, () => this.#letIn());
  }

  /** A thread, which has given up the processor, waits at the entry. */
  enqueue(thread: Thread): void {
    this.#heldBack += 1;
    this.#waiting.push(thread);
  }

  /** A thread that was held back has the processor. */
  noteResumed(): void {
    this.#heldBack -= 1;
  }

  /** Runs the collector if it is due and no access is inside; only between two slices. */
  runIfPossible(): void {
    const { frames, atomicCalls } = this.#surroundings;
    if (!this.isDue) return;
    // Accesses that are held back have entered the image too.
    const { counted, bypassing } = frames.referencesOf(this.record);
    if (counted + bypassing > this.#heldBack) return;
    try {
      atomicCalls.run(() => this.#collect());
      this.#refill();
    } finally {
      this.#letIn();
    }
  }

  /** The image leaves memory. */
  close(): void {
    if (this.isDue) this.#letIn();
  }

  #letIn(): void {
    this.#cancelHold?.();
    this.#cancelHold = null;
    this.#surroundings.kernelMemory.words[(this.record + imageRecord.entryHeld) >> 2] = 0;
    for (let thread = this.#waiting.shift(); thread !== null; thread = this.#waiting.shift()) this.#surroundings.wake(thread);
  }

  #refill(): void {
    this.#budget.value = Math.max(minimumBudget, Math.floor(this.#memory.buffer.byteLength * budgetShare));
  }
}
