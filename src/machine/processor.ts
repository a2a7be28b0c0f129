// The processor: many threads of many devices on one JavaScript thread, each a WebAssembly stack that gives the processor up at safepoints.

import assert from 'node:assert/strict';
import {
  absentAddress,
  bypassMark,
  collectExport,
  entryImports,
  imageRecord,
  kernelNamespace,
  runningThread,
  systemNamespace,
  tableEntry,
  threadBlock,
  workBetweenLooks,
} from './abi.ts';
import { Collection } from './collection.ts';
import type { Image, ModuleImage } from './image.ts';
import { KernelMemory } from './kernel-memory.ts';
import { LimitError } from './limit.ts';
import { defaultImageMemory, MemoryBudget } from './memory-budget.ts';
import { DeadlockError, Ownership } from './ownership.ts';
import type { MemoryRange } from './random-access-memory.ts';
import { RunQueue, ThreadGroup } from './run-queue.ts';
import { defaultStackMemory, ImageStack, StackMemory } from './stacks.ts';
import type { Stamp } from './stamp.ts';
import type { StateTransfer } from './state-transfer.ts';
import type { TaintReason } from './taint.ts';
import { begin, type Ending, type Frame, type Injection, running, Thread, type ThreadOwner, threadAim, type Wait } from './thread.ts';
import { ThreadQueue } from './thread-queue.ts';
import { realTime, type Time } from './time.ts';
import { isFetchFault } from './trap.ts';

export type ProcessorOptions = {
  /** Threads at once; V8 runs out of memory maps and aborts the process somewhere under 50,000. */
  readonly threadLimit?: number;
  /** Images with a memory of their own at once; V8 reserves 10 GB of addresses for each and has room for about 16,000. */
  readonly memoryLimit?: number;
  /** Bytes that the memories of all images may have together. */
  readonly imageMemory?: number;
  /** Bytes that all threads may have together for C stacks while others run. */
  readonly stackMemory?: number;
  readonly time?: Time;
};

/** How long a thread keeps the processor while others wait, in milliseconds. */
const slice = 0.1;
/** How long threads run before timers and the network get their turn, in milliseconds. */
const burst = 4;
/** How long a module's start function, self-check or transfer of state may run, in milliseconds: they cannot be suspended. */
const atomicLimit = 100;
/** Effects of one call. */
const effectLimit = 1_024;
/** Kernel memory, in WebAssembly pages: 16 MiB, of which 10,000 threads take 5. */
const kernelMemoryPages = 256;
/** The longest `kernel.sleep`, in milliseconds; a longer one ends earlier. */
const sleepLimit = 2 ** 31 - 1;

type Waiter = { readonly record: number; readonly bypasses: 'counted' | 'ignored'; readonly then: () => void };

/** An image in a device's memory, as its gate finds it. */
export type Enterable = {
  readonly image: { readonly stamp: { readonly module: string; readonly version: string } };
  /** What the image exports and imports; null once nothing may enter it any more. */
  readonly stamp: Stamp | null;
  readonly range: MemoryRange;
  readonly referenceCount: number;
  readonly bypassing: number;
  functionAt(index: number): WebAssembly.ExportedFunction;
  /** An access has ended abnormally inside. */
  taint(reason: TaintReason): void;
};

/** A call passed its deadline. */
class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
}

export class Processor {
  readonly threadLimit: number;
  readonly memoryBudget: MemoryBudget;
  readonly stackMemory: StackMemory;
  readonly time: Time;
  readonly kernelMemory = new KernelMemory(kernelMemoryPages);
  /** Images in memory, by their records. */
  readonly images = new Map<number, Enterable>();
  /** The record of no image: a module that is not in memory has it in its entry. */
  readonly absentRecord: number;
  /** The transfer of state from an old version to a new one that is under way. */
  stateTransfer: StateTransfer | null = null;

  readonly #systemImports: Readonly<Record<string, WebAssembly.ImportValue>>;
  readonly #kernelImports: Readonly<Record<string, WebAssembly.ImportValue>>;
  readonly #injected = new WebAssembly.Tag({ parameters: [] });
  /** The one error that is injected: what it is aimed at stands in the thread's block. */
  readonly #injectedError = new WebAssembly.Exception(this.#injected, []);
  readonly #threads = new Map<number, Thread>();
  readonly #ready = new RunQueue<Thread>();
  /** Threads with an error to be thrown, before all others. */
  readonly #urgent = new ThreadQueue<Thread>();
  readonly #sections: (() => void)[] = [];
  #waiters: Waiter[] = [];
  /** The C stacks of images, by their records. */
  readonly #stacks = new Map<number, ImageStack>();
  readonly #ownership: Ownership;
  /** Collectors of images, by their records. */
  readonly #collections = new Map<number, Collection>();
  readonly #dueCollections = new Set<Collection>();
  readonly #gates = new WeakMap<ModuleImage, readonly WebAssembly.ExportedFunction[]>();
  /** Where the stack of images of code that no thread runs is kept. */
  readonly #atomicBlock: number;
  #running: Thread | null = null;
  /** The error that the running thread was resumed with, until it has been seen to be taken. */
  #delivered: Injection | null = null;
  #dispatchPending = false;
  #sliceEnd = 0;
  #burstEnd = 0;
  #atomicDeadline: number | null = null;
  #closed = false;

  constructor(options: ProcessorOptions = {}) {
    this.threadLimit = options.threadLimit ?? 10_000;
    this.memoryBudget = new MemoryBudget(options.imageMemory ?? defaultImageMemory, options.memoryLimit ?? 8_000);
    this.stackMemory = new StackMemory(options.stackMemory ?? defaultStackMemory);
    this.time = options.time ?? realTime;
    this.absentRecord = this.kernelMemory.allocate(imageRecord.bytes);
    this.#atomicBlock = this.kernelMemory.allocate(threadBlock.bytes);
    this.#ownership = new Ownership({
      kernelMemory: this.kernelMemory,
      threadOf: (block) => this.#threads.get(block),
      nameOf: (record) => this.#nameOf(record),
      wake: (thread) => this.#wake(thread),
    });
    this.#systemImports = {
      memory: this.kernelMemory.memory,
      injected: this.#injected,
      tick: () => this.#tick(),
      suspend: new WebAssembly.Suspending(() => this.#suspend()),
      pause: new WebAssembly.Suspending((milliseconds: number) => this.#pause(milliseconds)),
      switched: (block: number, record: number) => this.#switched(this.#threadOf(block), record),
      commit: () => this.#commit(),
      [entryImports.acquire]: new WebAssembly.Suspending((record: number) => this.#acquire(record)),
      [entryImports.release]: (record: number) => this.#ownership.release(record),
      [entryImports.held]: (record: number) => this.#isHeld(record),
      [entryImports.hold]: new WebAssembly.Suspending((record: number) => this.#hold(record)),
      [entryImports.collect]: (record: number) => this.#requestCollection(record),
    };
    this.#kernelImports = {
      emit: (channel: number, value: bigint) => this.#emit(channel, value),
      sleep: new WebAssembly.Suspending((milliseconds: number) => this.#sleep(milliseconds)),
      state_write: (word: bigint) => this.#transfer().write(word),
      state_read: () => this.#transfer().read(),
    };
  }

  /** Threads that have not ended. */
  get runningThreads(): number {
    return this.#threads.size;
  }

  /** Stops giving the processor to anyone; suspended stacks are left to the garbage collector. */
  close(): void {
    this.#closed = true;
    for (const thread of this.#threads.values()) thread.cancelTimer?.();
    this.#threads.clear();
  }

  /** A device's share of the processor. */
  makeGroup(): ThreadGroup<Thread> {
    return new ThreadGroup<Thread>();
  }

  /**
   * Makes a thread, ready to run.
   * @param makeBegin Receives the thread's block and answers what runs its code.
   * @param callDeadline How long one call may take, in milliseconds; null: for ever.
   * @throws {LimitError} when there are as many threads as the processor may have.
   */
  startThread(
    owner: ThreadOwner,
    group: ThreadGroup<Thread>,
    makeBegin: (block: number) => () => Promise<unknown>,
    callDeadline: number | null,
  ): Thread {
    const thread = this.makeThread(owner, group, callDeadline);
    thread.begin = makeBegin(thread.block);
    this.#makeReady(thread);
    return thread;
  }

  /**
   * Makes a thread that is idle until it is entered.
   * @throws {LimitError} when there are as many threads as the processor may have.
   */
  makeThread(owner: ThreadOwner, group: ThreadGroup<Thread>, callDeadline: number | null): Thread {
    if (this.#threads.size >= this.threadLimit) {
      throw new LimitError(`this host runs ${this.threadLimit} threads, its limit: stop a program first`);
    }
    const thread = new Thread(owner, group, this.kernelMemory.allocate(threadBlock.bytes), callDeadline, this.stackMemory);
    this.#threads.set(thread.block, thread);
    return thread;
  }

  /** Takes away a thread that is idle. */
  endThread(thread: Thread): void {
    thread.savedStacks.clear();
    this.#threads.delete(thread.block);
    this.kernelMemory.release(thread.block, threadBlock.bytes);
  }

  /**
   * Runs code on an idle thread: now, if nobody waits for the processor, and in its turn otherwise. The code sets the word `answered` of the thread's
   * block as the last thing that it does. Answers the code's promise where it has already done so; the thread is idle again, its owner is not told.
   * Null otherwise: the promise goes to `later`, and the owner is told of the ending.
   */
  enter<Result>(thread: Thread, run: () => Promise<Result>, later: (promise: Promise<Result>) => void): Promise<Result> | null {
    const isFree = this.#running === null && !this.#dispatchPending && this.#ready.isEmpty && this.#urgent.isEmpty;
    if (!isFree || this.#closed || this.#sections.length > 0) {
      thread.begin = () => {
        const promise = run();
        later(promise);
        return promise;
      };
      this.#makeReady(thread);
      return null;
    }
    this.#running = thread;
    thread.continuation = running;
    // The first safepoint of the code comes before the code sets these itself.
    this.#stack = thread.block + threadBlock.frames;
    this.#effects = 0;
    this.#sliceEnd = 0;
    const { words } = this.kernelMemory;
    const answered = (thread.block + threadBlock.answered) >> 2;
    words[answered] = 0;
    const promise = run();
    if (this.#running === thread && words[answered] === 1) {
      this.#running = null;
      thread.continuation = begin;
      if (this.#sections.length > 0 || this.#dueCollections.size > 0 || !this.#ready.isEmpty) this.#scheduleDispatch();
      return promise;
    }
    later(promise);
    this.#whenEnded(thread, promise);
    return null;
  }

  /** Runs a section between two slices, where every thread is suspended at a safepoint: what it does is one step to all of them. */
  betweenSlices<Result>(section: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#sections.push(() => {
        try {
          resolve(section());
        } catch (error) {
          reject(error);
        }
      });
      // The thread that has the processor gives it up at its next look at the clock.
      this.#sliceEnd = 0;
      this.#scheduleDispatch();
    });
  }

  /**
   * Calls back, between two slices, as soon as no access is inside the image; answers how to call that off.
   * @param bypasses Whether accesses by a hard-coded address count; they may never cease where they are not kept from entering.
   */
  whenUnreferenced(record: number, bypasses: 'counted' | 'ignored', then: () => void): () => void {
    const waiter: Waiter = { record, bypasses, then };
    this.#waiters.push(waiter);
    this.#scheduleDispatch();
    return () => {
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
    };
  }

  /** The images that a thread is inside of, outermost first. */
  *framesOf(thread: Thread): Iterable<Frame> {
    const top = this.#stackOf(thread);
    for (let place = thread.block + threadBlock.frames; place < top; place += 4) yield this.#frameAt(place);
  }

  /** How many accesses are inside an image: through the module table, and past it by a hard-coded address. */
  referencesOf(record: number): { readonly counted: number; readonly bypassing: number } {
    const { words } = this.kernelMemory;
    let counted = words[(record + imageRecord.referenceCount) >> 2] ?? 0;
    let bypassing = words[(record + imageRecord.bypassing) >> 2] ?? 0;
    if (this.#running !== null) {
      for (const frame of this.framesOf(this.#running)) {
        if (frame.record !== record) continue;
        if (frame.isBypass) bypassing += 1;
        else counted += 1;
      }
    }
    return { counted, bypassing };
  }

  /** How many of a thread's accesses are inside an image, and the frame of the outermost, 0 where there is none; only between two slices. */
  accessesInside(thread: Thread, record: number): { readonly count: number; readonly outermost: number } {
    const { words } = this.kernelMemory;
    let count = 0;
    let outermost = 0;
    for (let place = thread.stack - 4; place >= thread.block + threadBlock.frames; place -= 4) {
      if (((words[place >> 2] ?? 0) & ~bypassMark) !== record) continue;
      count += 1;
      outermost = place;
    }
    return { count, outermost };
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
    assert(thread.injection === null, 'a thread takes one error at a time');
    thread.injection = { aim, retryIn, onLost };
    thread.cancelTimer?.();
    thread.cancelTimer = null;
    this.#urgent.push(thread);
    this.#scheduleDispatch();
  }

  /** The functions that stand in for an image's own until its first access. */
  gateOf(image: ModuleImage): readonly WebAssembly.ExportedFunction[] {
    const known = this.#gates.get(image);
    if (known !== undefined) return known;
    const resolve = (index: number) => this.#resolve(index);
    const { exports } = new WebAssembly.Instance(image.gate, { [systemNamespace]: { resolve } });
    const gate = image.stamp.interface.exports.map((_, index) => functionOf(exports, String(index)));
    this.#gates.set(image, gate);
    return gate;
  }

  /**
   * Instantiates an image; its start function, if any, runs now.
   * @throws {LimitError} when the start function runs too long.
   */
  instantiate(image: Image, deviceImports: WebAssembly.Imports): WebAssembly.Instance {
    return this.runAtomically(
      () =>
        new WebAssembly.Instance(image.code, {
          ...deviceImports,
          [systemNamespace]: { ...this.#systemImports, ...deviceImports[systemNamespace] },
          [kernelNamespace]: this.#kernelImports,
        }),
    );
  }

  /**
   * Prepares what an instance of an image needs of the processor: its C stack is switched with the threads inside, its owner is kept if it is
   * exclusive, and its collector runs while no access is inside.
   * @throws {Error} when the instance does not export what its stamp says.
   */
  prepare(record: number, { stamp }: ModuleImage, exports: WebAssembly.Instance['exports']): void {
    if (stamp.stack !== null) {
      this.#stacks.set(record, new ImageStack(stamp, exports));
      this.kernelMemory.words[(record + imageRecord.stack) >> 2] = 1;
    }
    if (stamp.concurrency === 'exclusive') this.#ownership.add(record);
    if (!(collectExport in exports)) return;
    const surroundings = {
      kernelMemory: this.kernelMemory,
      time: this.time,
      entered: () => {
        const { counted, bypassing } = this.referencesOf(record);
        return counted + bypassing;
      },
      runAtomically: (run: () => unknown) => this.runAtomically(run),
      wake: (thread: Thread) => this.#wake(thread),
    };
    this.#collections.set(record, new Collection(record, functionOf(exports, collectExport), exports, surroundings));
  }

  /** Forgets what it keeps of an image that no access is inside of. */
  forget(record: number): void {
    this.#stacks.delete(record);
    this.#ownership.remove(record);
    this.#collections.get(record)?.close();
    this.#collections.delete(record);
  }

  /**
   * Runs code of images to its end, without suspending it; on the running thread's stack of images where there is one.
   * @param record The image whose code is called first, as if no thread owned the image; null: none, or an image that is not exclusive.
   * @throws {LimitError} when it runs too long, and whatever it traps with.
   */
  runAtomically<Result>(run: () => Result, record: number | null = null): Result {
    const outer = this.#atomicDeadline;
    const isAlone = this.#running === null && outer === null;
    this.#atomicDeadline = outer ?? this.time.now() + atomicLimit;
    if (isAlone) this.#stack = this.#atomicBlock + threadBlock.frames;
    try {
      return record === null ? run() : this.#ownership.lend(record, run);
    } catch (error) {
      // Every thread is suspended and has taken its part of the stacks along: what lies on them is of the code that has ended.
      if (isAlone) {
        for (const stack of this.#stacks.values()) stack.empty();
        this.#ownership.abandon(this.#atomicBlock);
      }
      if (error instanceof WebAssembly.SuspendError)
        throw new Error('it waits (kernel.sleep, or an exclusive module that another thread is inside of) where it cannot be suspended', {
          cause: error,
        });
      throw error;
    } finally {
      this.#atomicDeadline = outer;
    }
  }

  /** Writes a module table entry: where no image is, every fetch is past the end of every table. */
  writeEntry(entry: number, image: { readonly address: number; readonly record: number } | null): void {
    const { words } = this.kernelMemory;
    words[(entry + tableEntry.address) >> 2] = image?.address ?? absentAddress;
    words[(entry + tableEntry.record) >> 2] = image?.record ?? this.absentRecord;
  }

  /** Top of a thread's stack of images. */
  #stackOf(thread: Thread): number {
    return this.#running === thread ? this.#stack : thread.stack;
  }

  /** Name and version of a record's image, for messages. */
  #nameOf(record: number): string {
    const stamp = this.images.get(record)?.image.stamp;
    return stamp === undefined ? 'a removed module' : `${stamp.module}@${stamp.version}`;
  }

  #threadOf(block: number): Thread {
    const thread = this.#threads.get(block);
    if (thread === undefined) throw new Error(`no thread has its block at ${block}`);
    return thread;
  }

  /** The end of the stack of images of the thread that has the processor. */
  get #stack(): number {
    return this.kernelMemory.words[runningThread.stack >> 2] ?? 0;
  }

  set #stack(address: number) {
    this.kernelMemory.words[runningThread.stack >> 2] = address;
  }

  /** How many effects the call of the thread that has the processor has made. */
  get #effects(): number {
    return this.kernelMemory.words[runningThread.effects >> 2] ?? 0;
  }

  set #effects(count: number) {
    this.kernelMemory.words[runningThread.effects >> 2] = count;
  }

  #current(): Thread {
    if (this.#running === null) throw new Error('no thread has the processor');
    return this.#running;
  }

  /** A safepoint found its image's fuel used up. Answers how much there is from now on, or a negative number: suspend. */
  #tick(): number {
    const now = this.time.now();
    if (this.#atomicDeadline !== null) {
      if (now > this.#atomicDeadline) throw new LimitError(`it ran longer than ${atomicLimit} ms where it cannot be suspended`);
      return workBetweenLooks;
    }
    const thread = this.#current();
    if (this.#timeLeft(thread) <= 0) throw deadlineError(thread);
    const isBetweenCalls = this.#isBetweenCalls(thread);
    if (isBetweenCalls) this.#endSample(thread, now);
    const othersWait = !this.#ready.isEmpty || !this.#urgent.isEmpty || this.#sections.length > 0;
    if (now >= this.#burstEnd || (now >= this.#sliceEnd && othersWait)) return -1;
    return isBetweenCalls ? thread.sampling.begin(this.#begunBy(thread), now) : workBetweenLooks;
  }

  /** A thread's call was served by a new version: the first look at it after its retry, if it was interrupted. Answers 1: suspend. */
  #switched(thread: Thread, record: number): number {
    thread.owner.switched(thread, record);
    thread.sampling.restart(this.#begunBy(thread));
    return this.#urgent.isEmpty ? 0 : 1;
  }

  #suspend(): Promise<void> {
    const thread = this.#leave();
    this.#ready.push(thread);
    return this.#suspension(thread);
  }

  #pause(milliseconds: number): Promise<void> {
    this.#endSample(this.#current(), this.time.now());
    return this.#sleep(milliseconds);
  }

  #sleep(milliseconds: number): Promise<void> {
    const thread = this.#leave();
    const wanted = Math.min(Math.max(milliseconds, 0), sleepLimit);
    const left = this.#timeLeft(thread);
    thread.cancelTimer = this.time.after(Math.min(wanted, left), () => {
      thread.cancelTimer = null;
      thread.isOverdue = left < wanted;
      this.#makeReady(thread);
    });
    return this.#suspension(thread);
  }

  /** The running thread entered an exclusive image that another thread owns. */
  #acquire(record: number): Promise<void> {
    const image = this.#nameOf(record);
    if (this.#atomicDeadline !== null)
      throw new Error(`${image} is exclusive and another thread is inside: code that cannot wait needs it`);
    this.#ownership.checkWait(this.#current(), record);
    const thread = this.#leave();
    this.#ownership.enqueue(thread, record);
    return this.#wait(thread, { kind: 'ownership', record });
  }

  /** Returns 1 if an access has to wait for a garbage collection: not one of a thread that is inside already. */
  #isHeld(record: number): 0 | 1 {
    if (this.#atomicDeadline !== null || this.#collections.get(record)?.isDue !== true) return 0;
    const thread = this.#current();
    return this.#framesOfImage(record, thread.block + threadBlock.frames, this.#stack) > 1 ? 0 : 1;
  }

  #hold(record: number): Promise<void> {
    const thread = this.#leave();
    this.#collections.get(record)?.enqueue(thread);
    return this.#wait(thread, { kind: 'collection', record });
  }

  #requestCollection(record: number): void {
    const collection = this.#collections.get(record);
    if (collection === undefined) return;
    collection.request();
    this.#dueCollections.add(collection);
  }

  /** Suspends a thread at the entry of an image, until it is woken or its deadline. */
  #wait(thread: Thread, wait: Wait): Promise<void> {
    thread.waitsAt = wait;
    const left = this.#timeLeft(thread);
    if (left < sleepLimit) {
      thread.cancelTimer = this.time.after(left, () => {
        thread.cancelTimer = null;
        thread.isOverdue = true;
        this.#makeReady(thread);
      });
    }
    return this.#suspension(thread);
  }

  #wake(thread: Thread): void {
    thread.cancelTimer?.();
    thread.cancelTimer = null;
    this.#makeReady(thread);
  }

  #suspension(thread: Thread): Promise<void> {
    return new Promise((resolve, reject) => {
      thread.continuation = { kind: 'resume', resolve, reject };
      // A thread that is only resumed runs no earlier than this one's stack is left, so that no turn of the queue is needed in between.
      if (this.#urgent.isEmpty || this.#sections.length > 0 || this.#dispatchPending) this.#scheduleDispatch();
      else this.#dispatch();
    });
  }

  /** Milliseconds until the deadline of a thread's call. A call counts from when its thread is first looked at in it; a pause is in no call. */
  #timeLeft(thread: Thread): number {
    const { callDeadline, watchedCall } = thread;
    if (callDeadline === null || this.#isBetweenCalls(thread)) return Number.POSITIVE_INFINITY;
    const now = this.time.now();
    const number = this.#begunBy(thread);
    if (number !== watchedCall.number) thread.watchedCall = { number, since: now };
    return thread.watchedCall.since + callDeadline - now;
  }

  /** A thread has ended a call, which may be one that is measured. */
  #endSample(thread: Thread, now: number): void {
    for (const sample of thread.sampling.end(this.#begunBy(thread), now)) thread.owner.measured(thread, sample);
  }

  /** How many calls a thread has begun, which is the number of the last. */
  #begunBy(thread: Thread): number {
    return this.kernelMemory.words[(thread.block + threadBlock.begun) >> 2] ?? 0;
  }

  #isBetweenCalls(thread: Thread): boolean {
    return this.#stackOf(thread) === thread.block + threadBlock.frames;
  }

  /**
   * Takes the processor from the thread that has it.
   * @throws {LimitError} when one of its C stacks has overflowed or is too large; the thread then still has the processor.
   */
  #leave(): Thread {
    const thread = this.#current();
    if (this.#stacks.size > 0) this.#saveStacks(thread);
    thread.stack = this.#stack;
    thread.effects = this.#effects;
    this.#count(thread, 1);
    this.#running = null;
    this.#delivered = null;
    return thread;
  }

  #makeReady(thread: Thread): void {
    this.#ready.push(thread);
    this.#scheduleDispatch();
  }

  /** Nothing is dispatched from inside a suspending call: the stack that it runs on must be left first. */
  #scheduleDispatch(): void {
    if (this.#dispatchPending || this.#running !== null || this.#closed) return;
    this.#dispatchPending = true;
    if (this.time.now() < this.#burstEnd) {
      queueMicrotask(() => this.#dispatch());
    } else {
      this.time.later(() => {
        this.#burstEnd = this.time.now() + burst;
        this.#dispatch();
      });
    }
  }

  #dispatch(): void {
    // Still pending while sections run: what they make ready is looked for right after them.
    if (!this.#closed) this.#runSections();
    this.#dispatchPending = false;
    if (this.#closed) return;
    const urgent = this.#urgent.shift();
    const thread = urgent ?? this.#ready.shift();
    if (thread === null) return;
    this.#running = thread;
    this.#count(thread, -1);
    this.#stack = thread.stack;
    this.#effects = thread.effects;
    try {
      this.#prepareTurn(thread, urgent !== null);
      this.#continue(thread);
    } catch (error) {
      // A fault of the machine in one thread's turn ends that thread, not the host.
      thread.injection?.onLost();
      thread.injection = null;
      this.#unwound(thread, error);
    }
  }

  #prepareTurn(thread: Thread, isUrgent: boolean): void {
    if (thread.waitsAt?.kind === 'collection') this.#collections.get(thread.waitsAt.record)?.resumed();
    if (isUrgent) {
      // An interrupted thread gives the processor up at the first safepoint of its retry, so that all of them are out of the old image soon.
      thread.injection?.retryIn?.useUpFuel();
      this.#sliceEnd = 0;
      thread.sampling.spoil(this.#begunBy(thread));
      return;
    }
    this.#sliceEnd = this.time.now() + slice;
    if (thread.sampling.resumed()) thread.owner.useUpFuel();
  }

  #runSections(): void {
    for (let section = this.#sections.shift(); section !== undefined; section = this.#sections.shift()) section();
    for (const waiter of this.#waiters) {
      const { counted, bypassing } = this.referencesOf(waiter.record);
      if (counted > 0 || (bypassing > 0 && waiter.bypasses === 'counted')) continue;
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
      waiter.then();
    }
    for (const collection of this.#dueCollections) this.#collect(collection);
  }

  #collect(collection: Collection): void {
    try {
      collection.runIfPossible();
    } catch {
      this.images.get(collection.record)?.taint('trap');
    }
    if (!collection.isDue) this.#dueCollections.delete(collection);
  }

  #continue(thread: Thread): void {
    const { continuation, injection } = thread;
    if (injection !== null) this.#abandonAccesses(thread, injection.aim === threadAim ? 'stop' : 'interruption', { from: injection.aim });
    if (!thread.savedStacks.isEmpty) this.#restoreStacks(thread, injection);
    if (!thread.isOverdue || injection !== null) thread.waitsAt = null;
    thread.continuation = running;
    thread.injection = null;
    switch (continuation.kind) {
      case 'begin':
        if (injection?.aim === threadAim) {
          this.#end(thread, { kind: 'injected', aim: threadAim, frames: [] });
        } else {
          this.#whenEnded(thread, thread.begin());
        }
        return;
      case 'resume': {
        this.#delivered = injection;
        const { isOverdue } = thread;
        thread.isOverdue = false;
        if (injection !== null) {
          this.kernelMemory.words[(thread.block + threadBlock.aim) >> 2] = injection.aim;
          continuation.reject(this.#injectedError);
        } else if (isOverdue) continuation.reject(deadlineError(thread));
        else continuation.resolve();
        return;
      }
      case 'running':
        throw new Error('a thread that has the processor was dispatched');
    }
  }

  #whenEnded(thread: Thread, promise: Promise<unknown>): void {
    promise.then(
      () => this.#end(thread, { kind: 'returned' }),
      (error) => this.#unwound(thread, error),
    );
  }

  /** An error came out of a thread's code. Stubs have handled an injected one; a trap passes them, and leaves the stack of images as it was. */
  #unwound(thread: Thread, error: unknown): void {
    const isInjected = error instanceof WebAssembly.Exception && error.is(this.#injected);
    if (isInjected) this.#delivered?.onLost();
    const frames = [...this.framesOf(thread)];
    this.#emptyStacks(thread);
    const aim = this.kernelMemory.words[(thread.block + threadBlock.aim) >> 2] ?? threadAim;
    if (!isInjected) this.#abandonAccesses(thread, error instanceof DeadlineError ? 'deadline' : 'trap', { error });
    // The accesses from the aim on were abandoned when the error was thrown; no retries were left, so those before it end too.
    else if (aim !== threadAim) this.#abandonAccesses(thread, 'interruption', { to: aim });
    this.#end(thread, isInjected ? { kind: 'injected', aim, frames } : { kind: 'trapped', error, frames });
  }

  /**
   * Counts a thread's accesses in or out. The stubs only write the stack of images; counting it where the thread takes or leaves the processor
   * spares every access two changes of a count. The counts are without the accesses of the thread that has the processor.
   */
  #count(thread: Thread, by: 1 | -1): void {
    const { words } = this.kernelMemory;
    for (let place = thread.block + threadBlock.frames; place < thread.stack; place += 4) {
      const frame = words[place >> 2] ?? 0;
      const counter = ((frame & ~bypassMark) + ((frame & bypassMark) === 0 ? imageRecord.referenceCount : imageRecord.bypassing)) >> 2;
      words[counter] = (words[counter] ?? 0) + by;
    }
  }

  /** Takes a thread's parts out of the C stacks of the images that it is inside of. */
  #saveStacks(thread: Thread): void {
    const { words } = this.kernelMemory;
    const top = this.#stack;
    for (let place = thread.block + threadBlock.frames; place < top; place += 4) {
      const record = (words[place >> 2] ?? 0) & ~bypassMark;
      if (words[(record + imageRecord.stack) >> 2] === 0) continue;
      const stack = this.#stacks.get(record);
      if (stack !== undefined) thread.savedStacks.save(stack);
    }
  }

  /** Puts a thread's parts back; not those of images that an injected error takes the thread out of. */
  #restoreStacks(thread: Thread, injection: Injection | null): void {
    const { savedStacks } = thread;
    if (injection === null) {
      savedStacks.restore(() => true);
      return;
    }
    const inside = new Set<ImageStack | undefined>();
    for (let place = thread.block + threadBlock.frames; place < injection.aim; place += 4) {
      inside.add(this.#stacks.get(this.#frameAt(place).record));
    }
    savedStacks.restore((stack) => inside.has(stack));
  }

  /** The running thread's code has ended: nothing of it is left on the C stacks. */
  #emptyStacks(thread: Thread): void {
    for (const { record } of this.framesOf(thread)) this.#stacks.get(record)?.empty();
  }

  /** Accesses between two frames end abnormally: they own nothing any more, and what they did in images with state may be half done. */
  #abandonAccesses(
    thread: Thread,
    reason: TaintReason,
    { from = threadAim, to = this.#stackOf(thread), error = null }: { from?: number; to?: number; error?: unknown },
  ): void {
    const first = thread.block + threadBlock.frames;
    const start = Math.max(from, first);
    const innermost = this.#stackOf(thread) - 4;
    for (let place = start; place < to; place += 4) {
      const frame = this.#frameAt(place);
      this.#ownership.leave(thread, frame.record, this.#framesOfImage(frame.record, first, start));
      const isAtEntry = thread.waitsAt !== null || error instanceof DeadlockError || isFetchFault(error, frame, this);
      if (place < innermost || !isAtEntry) this.images.get(frame.record)?.taint(reason);
    }
  }

  /** How many frames of an image are between two places in a stack of images. */
  #framesOfImage(record: number, from: number, to: number): number {
    let count = 0;
    for (let place = from; place < to; place += 4) if (this.#frameAt(place).record === record) count += 1;
    return count;
  }

  #frameAt(place: number): Frame {
    const word = this.kernelMemory.words[place >> 2] ?? 0;
    return { record: word & ~bypassMark, isBypass: (word & bypassMark) !== 0 };
  }

  #end(thread: Thread, ending: Ending): void {
    this.#running = null;
    this.#delivered = null;
    if (this.#closed) return;
    thread.stack = thread.block + threadBlock.frames;
    thread.effects = 0;
    thread.savedStacks.clear();
    thread.waitsAt = null;
    thread.continuation = begin;
    const next = thread.owner.ended(thread, ending);
    if (next === 'again') {
      thread.sampling.spoil(this.#begunBy(thread));
      this.#ready.push(thread);
    } else if (next === 'gone') this.endThread(thread);
    this.#scheduleDispatch();
  }

  #emit(channel: number, value: bigint): void {
    // A self-check, a start function of an idle device or a transfer of state is no call of anyone's: its effects are nobody's.
    if (this.#running === null) return;
    const thread = this.#current();
    const effects = this.#effects;
    if (effects >= effectLimit) throw new LimitError(`a call may have ${effectLimit} effects`);
    // What an interrupted access had emitted lies past the count, and is overwritten or dropped.
    thread.effectBuffer[effects] = { channel, value };
    this.#effects = effects + 1;
  }

  #commit(): void {
    const thread = this.#current();
    thread.owner.committed(thread, thread.effectBuffer.slice(0, this.#effects));
    thread.effectBuffer.length = 0;
    this.#effects = 0;
  }

  #transfer(): StateTransfer {
    if (this.stateTransfer === null) throw new Error('kernel.state_write and kernel.state_read work in state_save and state_restore only');
    return this.stateTransfer;
  }

  /** A gate was entered: the image that the thread has just entered is instantiated, and its function number `index` is called instead. */
  #resolve(index: number): WebAssembly.ExportedFunction {
    const { record } = this.#frameAt(this.#stack - 4);
    const image = this.images.get(record);
    if (image === undefined) throw new Error('a gate was entered by no access');
    return image.functionAt(index);
  }
}

function deadlineError({ callDeadline }: Thread): DeadlineError {
  return new DeadlineError(`the call ran longer than its deadline of ${callDeadline} ms`);
}

/** An instance's exported function of that name. */
export function functionOf(exports: WebAssembly.Instance['exports'], name: string): WebAssembly.ExportedFunction {
  const exported = exports[name];
  if (!isFunction(exported)) throw new Error(`the instance exports no function "${name}"`);
  return exported;
}

function isFunction(value: unknown): value is WebAssembly.ExportedFunction {
  return typeof value === 'function';
}
