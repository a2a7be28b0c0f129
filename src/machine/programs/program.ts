// A declared program: threads that call one export of one module repeatedly, and the statistics of those calls.

import { fuelExport, pinnedRecordExport, retryLimit, threadBlock } from '../abi.ts';
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

/** A program cannot be started as requested; the message says what to change. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError';
}

/** Failure of a call whose access was interrupted too often. */
export const retriesExhausted = `limit reached (${retryLimit} retries per access): the access was interrupted again`;

/** What handles an injected error: the targeted access, or the program, which repeats the whole call. */
export type Recovery = 'module' | 'percolate';

export type ProgramRequest = {
  readonly program: string;
  readonly driver: DriverImage;
  readonly module: string;
  readonly export: string;
  /** One decimal number for each parameter. */
  readonly arguments: readonly string[];
  readonly threads: number;
  /** Calls of each thread; null: until the program is stopped. */
  readonly calls: number | null;
  readonly pauseMilliseconds: number;
  readonly recovery?: Recovery;
  /** Maximum duration of one call in milliseconds; null: no limit. */
  readonly deadlineMilliseconds?: number | null;
};

export type ProgramStatistics = {
  program: string;
  state: 'running' | 'finished' | 'stopped' | 'failed';
  threads: number;
  callsCompleted: number;
  callsFailed: number;
  /** Failed calls that ended in a segmentation fault. */
  faults: number;
  accessesInterrupted: number;
  accessesRetried: number;
  effects: number;
  lastFailure: string | null;
  /** Result of the last completed call, of the newest version that has served one. */
  lastResult: string | null;
  /** Statistics by version; their calls add up to the program's. */
  versions: VersionStatistics[];
};

/** What a program needs of its device. */
export type ProgramDependencies = {
  readonly processor: Processor;
  readonly deviceImports: WebAssembly.Imports;
  versionOf(record: number): string;
  readonly group: ThreadGroup<Thread>;
  /** Explains a trap of the program; records it if it is an ABI violation. */
  explainTrap(error: unknown, frames: readonly Frame[], program: string): Pick<Trap, 'message' | 'isSegmentationFault'>;
  onEffects(program: string, effects: readonly Effect[]): void;
};

export class Program implements ThreadOwner {
  readonly id: string;
  readonly recovery: Recovery;
  readonly #dependencies: Omit<ProgramDependencies, 'deviceImports'>;
  readonly #resultType: ValueType | undefined;
  /** Drivers with hard-coded addressing: the record of the pinned image, 0 before the first access. */
  #pinnedRecord: WebAssembly.Global | null;
  /** Imports of the driver. */
  readonly imports: readonly ImportedFunction[];
  /** The driver's fuel. */
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
  /** The thread that most recently switched to a new version. */
  #latestThread: Thread | null = null;
  /** The statistics of an ended program, the only thing that it keeps. */
  #finalStatistics: ProgramStatistics | null = null;

  /**
   * Starts the threads.
   * @throws {ProgramError} if an argument is not a number of its parameter's type, or the threads would exceed the limit.
   * @throws {LimitError} if the host's thread limit is reached.
   */
  constructor(request: ProgramRequest, { deviceImports, ...dependencies }: ProgramDependencies) {
    this.id = request.program;
    this.#dependencies = dependencies;
    const { processor } = dependencies;
    const access = request.driver.stamp.interface.imports.find(({ module, name }) => module === request.module && name === request.export);
    if (access === undefined)
      throw new ProgramError(`the driver ${request.driver.digest} does not call ${request.module}.${request.export}`);
    this.imports = request.driver.stamp.interface.imports;
    this.#resultType = access.results[0];
    const values = readArguments(request.arguments, access.parameters);
    if (processor.runningThreads + request.threads > processor.threadLimit) {
      throw new ProgramError(
        `limit reached (${processor.threadLimit} threads per host, ${processor.runningThreads} running): start up to ${processor.threadLimit - processor.runningThreads}, or stop a program first`,
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

  /** Returns whether it holds the address of the record's image hard-coded. */
  holdsAddressOf(record: number): boolean {
    return this.isRunning && this.#pinnedRecord?.value === record;
  }

  /** Counts an access that is about to be interrupted. */
  countInterruption(): void {
    this.#accessesInterrupted += 1;
  }

  /** Counts the calls recorded under an image's record, so that the record can be released. */
  forgetRecord(record: number): void {
    for (const thread of this.#threads.values()) {
      if (this.#word(thread, threadBlock.servedBy) !== record) continue;
      this.#countCompleted(thread);
      this.#dependencies.processor.kernelMemory.words[(thread.block + threadBlock.servedBy) >> 2] = 0;
    }
  }

  /** Stops the program: ends every thread at a safepoint, even inside a module. Resolves when all threads have ended. */
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
      lastResult: this.#latestThread === null ? this.#lastResult : this.#resultOf(this.#latestThread),
      versions,
    };
  }

  onVersionSwitch(thread: Thread, record: number): void {
    this.#countCompleted(thread);
    // A version is listed from its first call on, so that the list is in order of first use.
    this.#versions.forVersion(this.#dependencies.versionOf(record));
    this.#dependencies.processor.kernelMemory.words[(thread.block + threadBlock.servedBy) >> 2] = record;
    this.#latestThread = thread;
  }

  onCallsMeasured(thread: Thread, { milliseconds, calls }: CallSample): void {
    this.#versions.forVersion(this.#versionOf(thread)).latency.add(milliseconds * 1_000, calls);
  }

  exhaustFuel(): void {
    if (this.#fuel !== null) this.#fuel.value = 0;
  }

  onCommit(_thread: Thread, effects: readonly Effect[]): void {
    this.#effects += effects.length;
    this.#dependencies.onEffects(this.id, effects);
  }

  onEnd(thread: Thread, ending: Ending): 'restart' | 'remove' {
    if (ending.kind === 'trapped') {
      const { message, isSegmentationFault: isFault } = this.#dependencies.explainTrap(ending.error, ending.frames, this.id);
      this.#countFailed(thread, ending.frames);
      if (isFault) this.#faults += 1;
      this.#lastFailure = sanitizeReason(message);
    } else if (ending.kind === 'injected' && ending.target !== wholeThread) {
      this.#countFailed(thread, ending.frames);
      this.#lastFailure = retriesExhausted;
    }
    if (ending.kind !== 'returned' && !this.#stopping) return 'restart';
    this.#reap(thread);
    return 'remove';
  }

  /** Ends all threads. A thread that already has an injected error pending takes that one first, so that its access counts as retried. */
  async #endThreads(): Promise<void> {
    const { processor } = this.#dependencies;
    await processor.atSafepoint(() => {
      for (const thread of this.#threads.values()) {
        processor.kernelMemory.doubleWords[(thread.block + threadBlock.callsRemaining) >> 3] = 0n;
        if (thread.injection === null) processor.inject(thread, wholeThread);
      }
    });
    if ([...this.#threads.values()].some((thread) => thread.injection?.target !== wholeThread)) await this.#endThreads();
  }

  #startThread(createStart: (block: number) => () => Promise<unknown>, request: ProgramRequest): void {
    const { processor } = this.#dependencies;
    const thread = processor.startThread(this, this.#dependencies.group, createStart, request.deadlineMilliseconds ?? null);
    this.#threads.set(thread.block, thread);
    const { words, doubleWords } = processor.kernelMemory;
    doubleWords[(thread.block + threadBlock.callsRemaining) >> 3] = BigInt(request.calls ?? -1);
    words[(thread.block + threadBlock.pauseMilliseconds) >> 2] = request.pauseMilliseconds;
  }

  #reap(thread: Thread): void {
    this.#countCompleted(thread);
    this.#accessesRetried += this.#word(thread, threadBlock.accessesRetried);
    if (this.#latestThread === thread) {
      this.#lastResult = this.#resultOf(thread);
      this.#latestThread = null;
    }
    this.#threads.delete(thread.block);
    if (this.isRunning) return;
    this.#finalStatistics = this.statistics();
    this.#release();
    this.#end.resolve();
  }

  /** Drops references to the driver's instance: a device stores many ended programs. */
  #release(): void {
    this.#pinnedRecord = null;
    this.#fuel = null;
    this.#versions = new VersionCounters();
  }

  /** Adds the calls counted in the thread's block. */
  #countCompleted(thread: Thread): void {
    // As two words: each version switch comes here, and reading a bigint allocates it.
    const { words } = this.#dependencies.processor.kernelMemory;
    const low = (thread.block + threadBlock.callsCompleted) >> 2;
    const calls = (words[low + 1] ?? 0) * 2 ** 32 + ((words[low] ?? 0) >>> 0);
    if (calls === 0) return;
    this.#versions.forVersion(this.#versionOf(thread)).completed += calls;
    words[low] = 0;
    words[low + 1] = 0;
  }

  /** Counts a failed call for the version that it was inside; otherwise for the version of the thread's previous call, or for the newest version. */
  #countFailed(thread: Thread, [outermost]: readonly Frame[]): void {
    const inside = outermost === undefined ? '' : this.#dependencies.versionOf(outermost.record);
    this.#versions.forVersion(inside || this.#versionOf(thread) || this.#versions.newest).failed += 1;
  }

  /** Returns the version that served the thread's last call; empty if none has, or if its image was removed. */
  #versionOf(thread: Thread): string {
    return this.#dependencies.versionOf(this.#word(thread, threadBlock.servedBy));
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
    return this.#dependencies.processor.kernelMemory.words[(thread.block + offset) >> 2] ?? 0;
  }

  #doubleWord(thread: Thread, offset: number): bigint {
    return this.#dependencies.processor.kernelMemory.doubleWords[(thread.block + offset) >> 3] ?? 0n;
  }
}

function readArguments(texts: readonly string[], types: readonly ValueType[]): (number | bigint)[] {
  if (texts.length !== types.length)
    throw new ProgramError(`expected ${types.length} ${types.length === 1 ? 'argument' : 'arguments'}, received ${texts.length}`);
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
    throw new ProgramError(`argument ${index + 1}: expected ${isInteger ? 'an integer' : 'a number'} of type ${type}, received "${text}"`);
  }
  return type === 'i64' ? BigInt.asIntN(64, BigInt(text)) : number;
}
