// The processor: many threads of many devices on one JavaScript thread, each a WebAssembly stack that gives the processor up at safepoints.

import { imageRecord } from './abi.ts';
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
import { Frames } from './threads/frames.ts';
import { ThreadGroup } from './threads/run-queue.ts';
import { RunningThread } from './threads/running-thread.ts';
import type { Injection, Thread, ThreadOwner } from './threads/thread.ts';

export type ProcessorOptions = {
  /** Threads at once; V8 runs out of memory maps and aborts the process somewhere under 50,000. */
  readonly threadLimit?: number;
  /** Images with a memory of their own at once; V8 reserves 10 GB of addresses for each and has room for about 16,000. */
  readonly memoryLimit?: number;
  /** Bytes that the memories of all images may have together. */
  readonly imageMemory?: number;
  /** Bytes that all threads may have together for C stacks while others run. */
  readonly stackMemory?: number;
  readonly clock?: Clock;
};

/** Kernel memory, in WebAssembly pages: 16 MiB, of which 10,000 threads take 5. */
const kernelMemoryPages = 256;

/** Puts the parts together, and offers to devices what they use of them. */
export class Processor {
  readonly memoryBudget: MemoryBudget;
  readonly stackMemory: StackMemory;
  readonly clock: Clock;
  readonly kernelMemory = new KernelMemory(kernelMemoryPages);
  /** Images in memory, by their records. */
  readonly images: ImagesByRecord = new Map();
  /** The record of no image: a module that is not in memory has it in its entry. */
  readonly absentRecord: number;
  readonly #threads: ThreadTable;
  readonly #frames: Frames;
  readonly #atomicCalls: AtomicCalls;
  readonly #scheduler: Scheduler;
  readonly #kernelCalls: KernelCalls;
  readonly #gates: LazyStubs;
  readonly #linker: Linker;

  constructor(options: ProcessorOptions = {}) {
    const { images, kernelMemory } = this;
    const time = options.clock ?? systemClock;
    this.clock = time;
    this.memoryBudget = new MemoryBudget(options.imageMemory ?? defaultImageMemory, options.memoryLimit ?? 8_000);
    this.stackMemory = new StackMemory(options.stackMemory ?? defaultStackMemory);
    this.absentRecord = kernelMemory.allocate(imageRecord.bytes);
    const wake = (thread: Thread) => this.#scheduler.wake(thread);

    // What there is: threads, the images that they are inside of, and what belongs to those images.
    const running = new RunningThread(kernelMemory);
    const threads = new ThreadTable(options.threadLimit ?? 10_000, kernelMemory, this.stackMemory);
    const frames = new Frames(kernelMemory, running);
    const imageStacks = new CStacks(kernelMemory, frames);
    const ownership = new Ownership({
      kernelMemory,
      threadOf: (block) => threads.find(block),
      nameOf: (record) => formatImageName(images, record),
      wake,
    });
    const atomicCalls = new AtomicCalls({ kernelMemory, time, running, imageStacks, ownership });
    const collections = new GarbageCollectors(images, { kernelMemory, time, frames, atomicCalls, wake });

    // What happens: threads run, in turns, and call the machine.
    const abnormalExits = new AbnormalExits(frames, ownership, images);
    const onEnd: Scheduler['onThreadEnd'] = (thread, ending) => this.#scheduler.onThreadEnd(thread, ending);
    const execution = new Execution({ kernelMemory, running, frames, imageStacks, abnormalExits, onEnd });
    const clock = new CallTimer(kernelMemory, frames, time);
    const sections = new SafepointOperations(frames);
    const scheduler = new Scheduler({ time, running, frames, threads, clock, sections, collections, atomicCalls, execution });
    const entryControl = new EntryControl({ images, running, frames, ownership, collections, atomicCalls, execution, scheduler });
    const effects = new Effects(running);
    const kernelCalls = new KernelCalls(effects, scheduler);

    this.#threads = threads;
    this.#frames = frames;
    this.#atomicCalls = atomicCalls;
    this.#scheduler = scheduler;
    this.#kernelCalls = kernelCalls;
    this.#gates = new LazyStubs(images, running, frames);
    this.#linker = new Linker({
      systemCalls: systemCalls({ kernelMemory, threads, execution, scheduler, entryControl, effects }),
      kernelCalls: kernelCalls.imports,
      atomicCalls,
      imageStacks,
      ownership,
      collections,
    });
  }

  get threadLimit(): number {
    return this.#threads.limit;
  }

  /** Threads that have not ended. */
  get runningThreads(): number {
    return this.#threads.size;
  }

  /** Stops giving the processor to anyone; suspended stacks are left to the garbage collector. */
  close(): void {
    this.#scheduler.close();
    this.#threads.close();
  }

  /** Makes a device's share of the processor. */
  createGroup(): ThreadGroup<Thread> {
    return new ThreadGroup<Thread>();
  }

  /**
   * Makes a thread, ready to run.
   * @param makeBegin Receives the thread's block and returns what runs its code.
   * @param callDeadline How long one call may take, in milliseconds; null: for ever.
   * @throws {LimitError} when there are as many threads as the processor may have.
   */
  startThread(
    owner: ThreadOwner,
    group: ThreadGroup<Thread>,
    makeBegin: (block: number) => () => Promise<unknown>,
    callDeadline: number | null,
  ): Thread {
    const thread = this.createThread(owner, group, callDeadline);
    thread.begin = makeBegin(thread.block);
    this.#scheduler.makeReady(thread);
    return thread;
  }

  /**
   * Makes a thread that is idle until it is entered.
   * @throws {LimitError} when there are as many threads as the processor may have.
   */
  createThread(owner: ThreadOwner, group: ThreadGroup<Thread>, callDeadline: number | null): Thread {
    return this.#threads.create(owner, group, callDeadline);
  }

  /** Takes away a thread that is idle. */
  removeThread(thread: Thread): void {
    this.#threads.remove(thread);
  }

  /**
   * Runs code on an idle thread: now, if nobody waits for the processor, and in its turn otherwise. The code sets the word `answered` of the thread's
   * block as the last thing that it does. Returns the code's promise where it has already done so; the thread is idle again, its owner is not told.
   * Null otherwise: the promise goes to `later`, and the owner is told of the ending.
   */
  runOnIdleThread<Result>(thread: Thread, run: () => Promise<Result>, later: (promise: Promise<Result>) => void): Promise<Result> | null {
    return this.#scheduler.runOnIdleThread(thread, run, later);
  }

  /** Runs a section between two slices, where every thread is suspended at a safepoint: what it does is one step to all of them. */
  atSafepoint<Result>(section: () => Result): Promise<Result> {
    return this.#scheduler.atSafepoint(section);
  }

  /**
   * Calls back, between two slices, as soon as no access is inside the image; returns how to call that off.
   * @param bypasses Whether accesses by a hard-coded address count; they may never cease where they are not kept from entering.
   */
  onUnreferenced(record: number, bypasses: 'counted' | 'ignored', then: () => void): () => void {
    return this.#scheduler.onUnreferenced(record, bypasses, then);
  }

  /** Returns how many accesses are inside an image: through the module table, and past it by a hard-coded address. */
  referencesOf(record: number): { readonly counted: number; readonly bypassing: number } {
    return this.#frames.referencesOf(record);
  }

  /** Returns how many of a thread's accesses are inside an image, and the frame of the outermost, 0 where there is none; only between two slices. */
  accessesInside(thread: Thread, record: number): { readonly count: number; readonly outermost: number } {
    return this.#frames.accessesInside(thread, record);
  }

  /**
   * Throws an injected error into a thread when it next gets the processor, which is before all threads without one; only between two slices.
   * @param how `onLost`: told if no access took the error. `retryIn`: the image that the retry enters, to be short there.
   */
  inject(
    thread: Thread,
    aim: number,
    { onLost = () => {}, retryIn = null }: { onLost?: () => void; retryIn?: Injection['retryIn'] } = {},
  ): void {
    this.#scheduler.interrupt(thread, { target: aim, retryIn, onUncaught: onLost });
  }

  /** Returns the functions that stand in for an image's own until its first access. */
  lazyStubsOf(image: ModuleImage): readonly WebAssembly.ExportedFunction[] {
    return this.#gates.of(image);
  }

  /**
   * Instantiates an image; its start function, if any, runs now.
   * @throws {LimitError} when the start function runs too long.
   */
  instantiate(image: Image, deviceImports: WebAssembly.Imports): WebAssembly.Instance {
    return this.#linker.instantiate(image, deviceImports);
  }

  /**
   * Prepares what an instance of an image needs of the processor.
   * @throws {Error} when the instance does not export what its stamp says.
   */
  registerInstance(record: number, image: ModuleImage, exports: WebAssembly.Instance['exports']): void {
    this.#linker.registerInstance(record, image, exports);
  }

  /** Forgets what it keeps of an image that no access is inside of. */
  unregisterInstance(record: number): void {
    this.#linker.unregisterInstance(record);
  }

  /**
   * Runs code of images to its end, without suspending it; on the running thread's stack of images where there is one.
   * @param record The image whose code is called first, as if no thread owned the image; null: none, or an image that is not exclusive.
   * @throws {LimitError} when it runs too long, and whatever it traps with.
   */
  runAtomically<Result>(run: () => Result, record: number | null = null): Result {
    return this.#atomicCalls.run(run, record);
  }

  /** Runs code whose `kernel.state_write` and `kernel.state_read` write and read a transfer of state. */
  transferState<Result>(transfer: StateTransfer, run: () => Result): Result {
    return this.#kernelCalls.transferState(transfer, run);
  }
}
