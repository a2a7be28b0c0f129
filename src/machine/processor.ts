// The processor: runs the threads of many devices on one JavaScript thread. Each thread is a WebAssembly stack that yields at safepoints.

import { formatImageName, type ImagesByRecord } from './accesses/accessible-image.ts';
import { AtomicCalls } from './accesses/atomic-calls.ts';
import { CStacks } from './accesses/c-stacks.ts';
import { GarbageCollectors } from './accesses/garbage-collectors.ts';
import { Ownership } from './accesses/ownership.ts';
import { type Clock, systemClock } from './clock.ts';
import type { Image, ModuleImage } from './images/image.ts';
import { Effects } from './linker/effects.ts';
import { EntryControl } from './linker/entry-control.ts';
import { KernelCalls } from './linker/kernel-calls.ts';
import { LazyStubs } from './linker/lazy-stubs.ts';
import { Linker } from './linker/linker.ts';
import type { StateTransfer } from './linker/state-transfer.ts';
import { systemCalls } from './linker/system-calls.ts';
import { defaultStackMemory, StackMemory } from './memory/c-stack.ts';
import { KernelMemory } from './memory/kernel-memory.ts';
import { defaultImageMemory, MemoryBudget } from './memory/memory-budget.ts';
import { AbnormalExits } from './scheduler/abnormal-exits.ts';
import { CallTimer } from './scheduler/call-timer.ts';
import { Execution } from './scheduler/execution.ts';
import { SafepointOperations } from './scheduler/safepoint-operations.ts';
import { Scheduler } from './scheduler/scheduler.ts';
import { ThreadTable } from './scheduler/thread-table.ts';
import { type AccessesInside, Frames } from './threads/frames.ts';
import { ThreadGroup } from './threads/run-queue.ts';
import { RunningThread } from './threads/running-thread.ts';
import type { Injection, Thread, ThreadOwner } from './threads/thread.ts';

export type ProcessorOptions = {
  /** Maximum threads. V8 runs out of memory maps and aborts the process somewhere below 50,000. */
  readonly threadLimit?: number;
  /** Maximum images with their own memory. V8 reserves 10 GB of address space for each and has room for about 16,000. */
  readonly memoryLimit?: number;
  /** Limit for the memories of all images, in bytes. */
  readonly imageMemory?: number;
  /** Limit for the saved C stacks of all suspended threads, in bytes. */
  readonly stackMemory?: number;
  readonly clock?: Clock;
};

/** Size of kernel memory in WebAssembly pages: 16 MiB, of which 10,000 threads use 5 MiB. */
const kernelMemoryPages = 256;

/** Composes the parts of the machine and exposes to devices what they use. */
export class Processor {
  readonly memoryBudget: MemoryBudget;
  readonly stackMemory: StackMemory;
  readonly clock: Clock;
  readonly kernelMemory = new KernelMemory(kernelMemoryPages);
  /** Images in memory, by record. */
  readonly images: ImagesByRecord = new Map();
  readonly #threads: ThreadTable;
  readonly #frames: Frames;
  readonly #atomicCalls: AtomicCalls;
  readonly #scheduler: Scheduler;
  readonly #kernelCalls: KernelCalls;
  readonly #lazyStubs: LazyStubs;
  readonly #linker: Linker;

  constructor(options: ProcessorOptions = {}) {
    const { images, kernelMemory } = this;
    const clock = options.clock ?? systemClock;
    this.clock = clock;
    this.memoryBudget = new MemoryBudget(options.imageMemory ?? defaultImageMemory, options.memoryLimit ?? 8_000);
    this.stackMemory = new StackMemory(options.stackMemory ?? defaultStackMemory);
    const wake = (thread: Thread) => this.#scheduler.wake(thread);

    // State: threads, the images that they are inside, and the resources of those images.
    const running = new RunningThread(kernelMemory);
    const threads = new ThreadTable(options.threadLimit ?? 10_000, kernelMemory, this.stackMemory);
    const frames = new Frames(kernelMemory, running);
    const cStacks = new CStacks(kernelMemory, frames);
    const ownership = new Ownership({
      kernelMemory,
      threadOf: (block) => threads.find(block),
      formatImageName: (record) => formatImageName(images, record),
      wake,
    });
    const atomicCalls = new AtomicCalls({ kernelMemory, clock, running, cStacks, ownership });
    const garbageCollectors = new GarbageCollectors(images, { kernelMemory, clock, frames, atomicCalls, wake });

    // Behavior: threads are scheduled and call into the machine.
    const abnormalExits = new AbnormalExits(frames, ownership, images);
    const onEnd: Scheduler['onThreadEnd'] = (thread, ending) => this.#scheduler.onThreadEnd(thread, ending);
    const execution = new Execution({ kernelMemory, running, frames, cStacks, abnormalExits, onEnd });
    const callTimer = new CallTimer(kernelMemory, frames, clock);
    const safepointOperations = new SafepointOperations(frames);
    const scheduler = new Scheduler({
      clock,
      running,
      frames,
      threads,
      callTimer,
      safepointOperations,
      garbageCollectors,
      atomicCalls,
      execution,
    });
    const entryControl = new EntryControl({ images, running, frames, ownership, garbageCollectors, atomicCalls, execution, scheduler });
    const effects = new Effects(running);
    const kernelCalls = new KernelCalls(effects, scheduler);

    this.#threads = threads;
    this.#frames = frames;
    this.#atomicCalls = atomicCalls;
    this.#scheduler = scheduler;
    this.#kernelCalls = kernelCalls;
    this.#lazyStubs = new LazyStubs(images, running, frames);
    this.#linker = new Linker({
      systemCalls: systemCalls({ kernelMemory, threads, execution, scheduler, entryControl, effects }),
      kernelCalls: kernelCalls.imports,
      atomicCalls,
      cStacks,
      ownership,
      garbageCollectors,
    });
  }

  get threadLimit(): number {
    return this.#threads.limit;
  }

  /** Number of threads that have not ended. */
  get runningThreads(): number {
    return this.#threads.size;
  }

  /** Stops scheduling; suspended stacks are left to the garbage collector. */
  close(): void {
    this.#scheduler.close();
    this.#threads.close();
  }

  /** Creates a thread group, which is a device's share of the processor. */
  createGroup(): ThreadGroup<Thread> {
    return new ThreadGroup<Thread>();
  }

  /**
   * Creates a thread that is ready to run.
   * @param createStart Receives the thread's block; returns the function that runs the thread's code.
   * @param callDeadline Maximum duration of one call in milliseconds; null: no limit.
   * @throws {LimitError} if the processor's thread limit is reached.
   */
  startThread(
    owner: ThreadOwner,
    group: ThreadGroup<Thread>,
    createStart: (block: number) => () => Promise<unknown>,
    callDeadline: number | null,
  ): Thread {
    const thread = this.createThread(owner, group, callDeadline);
    thread.begin = createStart(thread.block);
    this.#scheduler.makeReady(thread);
    return thread;
  }

  /**
   * Creates an idle thread, for `runOnIdleThread`.
   * @throws {LimitError} if the processor's thread limit is reached.
   */
  createThread(owner: ThreadOwner, group: ThreadGroup<Thread>, callDeadline: number | null): Thread {
    return this.#threads.create(owner, group, callDeadline);
  }

  /** Removes an idle thread. */
  removeThread(thread: Thread): void {
    this.#threads.remove(thread);
  }

  /**
   * Runs code on an idle thread: immediately if the processor is free, otherwise when the thread is scheduled. The code's last action is to set the
   * `returned` word of the thread's block. If that has happened when this returns, returns the code's promise; the thread is idle again and `onEnd` is
   * not called. Otherwise returns null, passes the promise to `later`, and calls the owner's `onEnd` when the code ends.
   */
  runOnIdleThread<Result>(thread: Thread, run: () => Promise<Result>, later: (promise: Promise<Result>) => void): Promise<Result> | null {
    return this.#scheduler.runOnIdleThread(thread, run, later);
  }

  /** Runs an operation while every thread is suspended at a safepoint: threads observe it as atomic. */
  atSafepoint<Result>(operation: () => Result): Promise<Result> {
    return this.#scheduler.atSafepoint(operation);
  }

  /**
   * Calls back, at a safepoint, as soon as no access is inside any of the images. Returns a function that cancels the wait.
   * @param bypasses Whether accesses by a hard-coded address count. Unless new ones are prevented from entering, they may never cease.
   */
  onUnreferenced(records: readonly number[], bypasses: 'counted' | 'ignored', callback: () => void): () => void {
    return this.#scheduler.onUnreferenced(records, bypasses, callback);
  }

  /** Returns how many accesses are inside an image: `counted` through the module table, `bypassing` by a hard-coded address. */
  referencesOf(record: number): { readonly counted: number; readonly bypassing: number } {
    return this.#frames.referencesOf(record);
  }

  /** Returns whether a thread is inside one of the images with an access that entered through the module table. */
  isReferencing(thread: Thread, records: ReadonlySet<number>): boolean {
    return this.#frames.of(thread).some((frame) => records.has(frame.record) && !frame.isBypass);
  }

  /** Returns how many of a thread's accesses are inside some images, and the outermost frame of them (0: none). Only at a safepoint. */
  accessesInside(thread: Thread, records: ReadonlySet<number>): AccessesInside {
    return this.#frames.accessesInside(thread, records);
  }

  /** Returns whether one of the running code's accesses is inside one of some images. */
  isRunningInside(records: ReadonlySet<number>): boolean {
    return this.#frames.isRunningInside(records);
  }

  /** Makes the running code's innermost access, of whose image no code has run yet, enter another image. */
  redirectInnermost(record: number): void {
    this.#frames.redirectInnermost(record);
  }

  /**
   * Throws an injected error into a thread when it next gets the processor, which is before all threads without one. Only at a safepoint.
   * @param options `onUncaught`: called if no access caught the error. `retryIn`: the image that the retry enters, which then yields early.
   */
  inject(
    thread: Thread,
    target: number,
    { onUncaught = () => {}, retryIn = null }: { onUncaught?: () => void; retryIn?: Injection['retryIn'] } = {},
  ): void {
    this.#scheduler.interrupt(thread, { target, retryIn, onUncaught });
  }

  /** Returns the lazy stubs that stand in for an image's functions until its first access. */
  lazyStubsOf(image: ModuleImage): readonly WebAssembly.ExportedFunction[] {
    return this.#lazyStubs.of(image);
  }

  /**
   * Instantiates an image and runs its start function, if any.
   * @throws {LimitError} if the start function runs too long.
   */
  instantiate(image: Image, deviceImports: WebAssembly.Imports): WebAssembly.Instance {
    return this.#linker.instantiate(image, deviceImports);
  }

  /**
   * Registers an instance: its C stack, ownership and garbage collector.
   * @throws {Error} if the instance does not export what its stamp says.
   */
  registerInstance(record: number, image: ModuleImage, exports: WebAssembly.Instance['exports']): void {
    this.#linker.registerInstance(record, image, exports);
  }

  /** Releases what `registerInstance` set up; no access may be inside the image. */
  unregisterInstance(record: number): void {
    this.#linker.unregisterInstance(record);
  }

  /**
   * Runs code of images to completion without suspending it, on the running thread's frames if a thread is running.
   * @param record The image whose code is called first, treated as unowned; null: none, or an image that is not exclusive.
   * @throws {LimitError} if the code runs too long; rethrows traps.
   */
  runAtomically<Result>(run: () => Result, record: number | null = null): Result {
    return this.#atomicCalls.run(run, record);
  }

  /** Runs a part of a load at a safepoint. Code of images that it runs to completion has a limit of time together. */
  runLoad<Result>(part: () => Result): Result {
    return this.#atomicCalls.runLoad(part);
  }

  /** Runs code whose `kernel.state_write` and `kernel.state_read` use a state transfer. */
  transferState<Result>(transfer: StateTransfer, run: () => Result): Result {
    return this.#kernelCalls.transferState(transfer, run);
  }
}
