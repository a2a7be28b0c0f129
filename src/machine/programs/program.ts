// A declared program: threads that call one export of one module again and again, and what came of it.

import { fuelExport, pinnedRecordExport, threadBlock } from '../abi.ts';
import type { Trap } from '../accesses/trap.ts';
import type { DriverImage } from '../images/image.ts';
import { getExportedFunction } from '../images/instance-exports.ts';
import type { ImportedFunction, ValueType } from '../images/stamp.ts';
import type { Processor } from '../processor.ts';
import { sanitizeReason } from '../reason.ts';
import type { CallSample } from '../threads/call-sampler.ts';
import type { ThreadGroup } from '../threads/run-queue.ts';
import { type Effect, type Ending, type Frame, type Thread, type ThreadOwner, wholeThread } from '../threads/thread.ts';
import { VersionCounters, type VersionStatistics } from './version-counters.ts';

/** A program cannot be started as asked; the message says what to change. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError';
}

/** Where an injected error is taken: by the access that it is aimed at, or by the program, which makes the whole call anew. */
export type Recovery = 'module' | 'percolate';

export type ProgramRequest = {
  readonly program: string;
  readonly driver: DriverImage;
  readonly module: string;
  readonly export: string;
  /** One decimal number for each parameter. */
  readonly arguments: readonly string[];
  readonly threads: number;
  /** Calls of each thread; null: until it is stopped. */
  readonly calls: number | null;
  readonly pauseMilliseconds: number;
  readonly recovery?: Recovery;
  /** How long one call may take, in milliseconds; null: for ever. */
  readonly deadlineMilliseconds?: number | null;
};

export type ProgramStatistics = {
  program: string;
  state: 'running' | 'finished' | 'stopped' | 'failed';
  threads: number;
  callsCompleted: number;
  callsFailed: number;
  /** Of the failed calls, those that ended in a segmentation fault. */
  faults: number;
  accessesInterrupted: number;
  accessesRetried: number;
  effects: number;
  lastFailure: string | null;
  /** What a call of the newest version that has answered returned. */
  lastResult: string | null;
  /** Their calls add up to the program's. */
  versions: VersionStatistics[];
};

/** What a program needs to know of the device that it runs on. */
export type ProgramDependencies = {
  readonly processor: Processor;
  readonly deviceImports: WebAssembly.Imports;
  versionOf(record: number): string;
  readonly group: ThreadGroup<Thread>;
  /** A trap of the program's, in words; what it tells of the device is kept there. */
  explainTrap(error: unknown, frames: readonly Frame[], program: string): Pick<Trap, 'message' | 'isSegmentationFault'>;
  onEffects(program: string, effects: readonly Effect[]): void;
};

export class Program implements ThreadOwner {
  readonly id: string;
  readonly recovery: Recovery;
  readonly #surroundings: Omit<ProgramDependencies, 'deviceImports'>;
  readonly #resultType: ValueType | undefined;
  /** The record of the image whose address the program keeps, where its addressing is hard-coded; 0 before its first access. */
  #pinnedRecord: WebAssembly.Global | null;
  /** What the driver imports of modules. */
  readonly imports: readonly ImportedFunction[];
  /** The driver's work until its threads ask the processor. */
  #fuel: WebAssembly.Global | null;
  readonly #threads = new Map<number, Thread>();
  #versions = new VersionCounters();
  readonly #end = Promise.withResolvers<void>();
  #stopping = false;
  #faults = 0;
  #accessesInterrupted = 0;
  #accessesRetried = 0;
  #effects = 0;
  #lastFailure: string | null = null;
  #lastResult: string | null = null;
  /** The thread that was last seen to call a new version. */
  #latest: Thread | null = null;
  /** Its statistics once it has ended, which is all that it keeps then. */
  #finalStatistics: ProgramStatistics | null = null;

  /**
   * Starts the threads.
   * @throws {ProgramError} when an argument is not a number of its parameter's type.
   * @throws {LimitError} when the host has too many threads.
   */
  constructor(request: ProgramRequest, { deviceImports, ...surroundings }: ProgramDependencies) {
    this.id = request.program;
    this.#surroundings = surroundings;
    const { processor } = surroundings;
    const access = request.driver.stamp.interface.imports.find(({ module, name }) => module === request.module && name === request.export);
    if (access === undefined)
      throw new ProgramError(`the driver ${request.driver.digest} does not call ${request.module}.${request.export}`);
    this.imports = request.driver.stamp.interface.imports;
    this.#resultType = access.results[0];
    const values = readArguments(request.arguments, access.parameters);
    if (processor.runningThreads + request.threads > processor.threadLimit) {
      throw new ProgramError(
        `this host runs ${processor.runningThreads} of at most ${processor.threadLimit} threads: start at most ${processor.threadLimit - processor.runningThreads}, or stop a program first`,
      );
    }
    const { exports } = processor.instantiate(request.driver, deviceImports);
    const pinned = exports[pinnedRecordExport];
    this.#pinnedRecord = pinned instanceof WebAssembly.Global ? pinned : null;
    const fuel = exports[fuelExport];
    this.#fuel = fuel instanceof WebAssembly.Global ? fuel : null;
    this.recovery = request.recovery ?? 'module';
    const main = WebAssembly.promising(getExportedFunction(exports, 'main'));
    try {
      for (let count = 0; count < request.threads; count += 1) this.#startThread((block) => () => main(block, ...values), request);
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  get threads(): Iterable<Thread> {
    return this.#threads.values();
  }

  get isRunning(): boolean {
    return this.#threads.size > 0;
  }

  /** Whether it keeps the address of that record's image, hard-coded. */
  holdsAddressOf(record: number): boolean {
    return this.isRunning && this.#pinnedRecord?.value === record;
  }

  /** An access of one of its threads is about to be interrupted. */
  countInterruption(): void {
    this.#accessesInterrupted += 1;
  }

  /** Counts the calls that an image's record stands for, so that the record may go. */
  forgetRecord(record: number): void {
    for (const thread of this.#threads.values()) {
      if (this.#word(thread, threadBlock.servedBy) !== record) continue;
      this.#countCompleted(thread);
      this.#surroundings.processor.kernelMemory.words[(thread.block + threadBlock.servedBy) >> 2] = 0;
    }
  }

  /** Ends every thread, at a safepoint, whatever it is inside of; resolves when they have ended. */
  async stop(): Promise<void> {
    if (!this.isRunning) return;
    this.#stopping = true;
    await this.#endThreads();
    await this.#end.promise;
  }

  statistics(): ProgramStatistics {
    if (this.#finalStatistics !== null) return this.#finalStatistics;
    let accessesRetried = this.#accessesRetried;
    for (const thread of this.#threads.values()) {
      this.#countCompleted(thread);
      accessesRetried += this.#word(thread, threadBlock.accessesRetried);
    }
    const versions = this.#versions.statistics();
    return {
      program: this.id,
      state: this.isRunning ? 'running' : this.#stopping ? 'stopped' : 'finished',
      threads: this.#threads.size,
      callsCompleted: versions.reduce((sum, version) => sum + version.callsCompleted, 0),
      callsFailed: versions.reduce((sum, version) => sum + version.callsFailed, 0),
      faults: this.#faults,
      accessesInterrupted: this.#accessesInterrupted,
      accessesRetried,
      effects: this.#effects,
      lastFailure: this.#lastFailure,
      lastResult: this.#latest === null ? this.#lastResult : this.#resultOf(this.#latest),
      versions,
    };
  }

  onVersionSwitch(thread: Thread, record: number): void {
    this.#countCompleted(thread);
    // The version is listed from its first call on, so that the list is in the order of the versions' coming.
    this.#versions.forVersion(this.#surroundings.versionOf(record));
    this.#surroundings.processor.kernelMemory.words[(thread.block + threadBlock.servedBy) >> 2] = record;
    this.#latest = thread;
  }

  onCallsMeasured(thread: Thread, { milliseconds, calls }: CallSample): void {
    this.#versions.forVersion(this.#versionOf(thread)).latency.add(milliseconds * 1_000, calls);
  }

  exhaustFuel(): void {
    if (this.#fuel !== null) this.#fuel.value = 0;
  }

  onCommit(_thread: Thread, effects: readonly Effect[]): void {
    this.#effects += effects.length;
    this.#surroundings.onEffects(this.id, effects);
  }

  onEnd(thread: Thread, ending: Ending): 'again' | 'gone' {
    if (ending.kind === 'trapped') {
      const { message, isSegmentationFault: isFault } = this.#surroundings.explainTrap(ending.error, ending.frames, this.id);
      this.#countFailed(thread, ending.frames);
      if (isFault) this.#faults += 1;
      this.#lastFailure = sanitizeReason(message);
    } else if (ending.kind === 'injected' && ending.aim !== wholeThread) {
      this.#countFailed(thread, ending.frames);
      this.#lastFailure = 'an injected error left the access, which had no retries left';
    }
    if (ending.kind !== 'returned' && !this.#stopping) return 'again';
    this.#reap(thread);
    return 'gone';
  }

  /** A thread with an error to be thrown is let out of the module that it leaves first: its access counts as retried there. */
  async #endThreads(): Promise<void> {
    const { processor } = this.#surroundings;
    await processor.atSafepoint(() => {
      for (const thread of this.#threads.values()) {
        processor.kernelMemory.doubleWords[(thread.block + threadBlock.callsRemaining) >> 3] = 0n;
        if (thread.injection === null) processor.inject(thread, wholeThread);
      }
    });
    if ([...this.#threads.values()].some((thread) => thread.injection?.target !== wholeThread)) await this.#endThreads();
  }

  #startThread(makeBegin: (block: number) => () => Promise<unknown>, request: ProgramRequest): void {
    const { processor } = this.#surroundings;
    const thread = processor.startThread(this, this.#surroundings.group, makeBegin, request.deadlineMilliseconds ?? null);
    this.#threads.set(thread.block, thread);
    const { words, doubleWords } = processor.kernelMemory;
    doubleWords[(thread.block + threadBlock.callsRemaining) >> 3] = BigInt(request.calls ?? -1);
    words[(thread.block + threadBlock.pauseMilliseconds) >> 2] = request.pauseMilliseconds;
  }

  #reap(thread: Thread): void {
    this.#countCompleted(thread);
    this.#accessesRetried += this.#word(thread, threadBlock.accessesRetried);
    if (this.#latest === thread) {
      this.#lastResult = this.#resultOf(thread);
      this.#latest = null;
    }
    this.#threads.delete(thread.block);
    if (this.isRunning) return;
    this.#finalStatistics = this.statistics();
    this.#release();
    this.#end.resolve();
  }

  /** Lets the driver's instance be collected: a device remembers many programs that have ended. */
  #release(): void {
    this.#pinnedRecord = null;
    this.#fuel = null;
    this.#versions = new VersionCounters();
  }

  /** Counts the calls of the thread that its block has counted. */
  #countCompleted(thread: Thread): void {
    const calls = Number(this.#doubleWord(thread, threadBlock.callsCompleted));
    if (calls === 0) return;
    this.#versions.forVersion(this.#versionOf(thread)).completed += calls;
    this.#surroundings.processor.kernelMemory.doubleWords[(thread.block + threadBlock.callsCompleted) >> 3] = 0n;
  }

  /** Counts a failed call: with the version that it was inside of, or else with the one that served the thread's call before, or came last. */
  #countFailed(thread: Thread, [outermost]: readonly Frame[]): void {
    const inside = outermost === undefined ? '' : this.#surroundings.versionOf(outermost.record);
    this.#versions.forVersion(inside || this.#versionOf(thread) || this.#versions.newest).failed += 1;
  }

  /** The version that served the thread's last call; empty where none has, or it has gone. */
  #versionOf(thread: Thread): string {
    return this.#surroundings.versionOf(this.#word(thread, threadBlock.servedBy));
  }

  #resultOf(thread: Thread): string | null {
    const bits = this.#doubleWord(thread, threadBlock.result);
    switch (this.#resultType) {
      case 'i32':
      case 'i64':
        return String(bits);
      case 'f32':
        return String(new Float32Array(new BigInt64Array([bits]).buffer)[0]);
      case 'f64':
        return String(new Float64Array(new BigInt64Array([bits]).buffer)[0]);
      default:
        return null;
    }
  }

  #word(thread: Thread, offset: number): number {
    return this.#surroundings.processor.kernelMemory.words[(thread.block + offset) >> 2] ?? 0;
  }

  #doubleWord(thread: Thread, offset: number): bigint {
    return this.#surroundings.processor.kernelMemory.doubleWords[(thread.block + offset) >> 3] ?? 0n;
  }
}

function readArguments(texts: readonly string[], types: readonly ValueType[]): (number | bigint)[] {
  if (texts.length !== types.length) throw new ProgramError(`the export takes ${types.length} arguments, not ${texts.length}`);
  return types.map((type, index) => readArgument(texts[index] ?? '', type, index));
}

function readArgument(text: string, type: ValueType, index: number): number | bigint {
  const isInteger = type === 'i32' || type === 'i64';
  const number = Number(text);
  if (
    (type !== 'f32' && type !== 'f64' && !isInteger) ||
    text.trim() === '' ||
    Number.isNaN(number) ||
    (isInteger && !/^-?\d+$/.test(text))
  ) {
    throw new ProgramError(`argument ${index + 1} is "${text}", which is not ${isInteger ? 'an integer' : 'a number'} of type ${type}`);
  }
  return type === 'i64' ? BigInt.asIntN(64, BigInt(text)) : number;
}
