// The compiler as the rest of Patchbay sees it: source in, image or diagnostics out, in worker threads with limits.

import { LRUCache } from 'lru-cache';
import type { Compilation } from './compilation.ts';
import { rejectedResult, type Stage } from './compile-error.ts';
import { CompileQueue, QueueFullError, type QueueLimits, reservedSlot } from './compile-queue.ts';
import { CompileThread, PreemptedError, WorkerError, type WorkerLimits } from './compile-thread.ts';
import type { DriverRequest } from './driver.ts';
import { compilerLimits, limitExceededMessage } from './limits.ts';
import type { CompileRequest, CompileResult } from './result.ts';

export type CompilerLimits = WorkerLimits &
  QueueLimits & {
    /** Bytes of a source or a prebuilt module. */
    readonly sourceBytes: number;
    /** Processor time of one compilation in the slot that is reserved for small ones: a few bytes can be much work. */
    readonly reservedMilliseconds: number;
  };

const defaultLimits: CompilerLimits = {
  milliseconds: compilerLimits.milliseconds.value,
  heapMebibytes: compilerLimits.heapMebibytes.value,
  binaryenMebibytes: compilerLimits.binaryenMebibytes.value,
  retainedMebibytes: compilerLimits.retainedMebibytes.value,
  queuedPerCaller: compilerLimits.queuedPerCaller.value,
  queued: compilerLimits.queued.value,
  queuedBytes: compilerLimits.queuedBytes.value,
  smallBytes: compilerLimits.smallSourceBytes.value,
  sourceBytes: compilerLimits.sourceBytes.value,
  reservedMilliseconds: compilerLimits.reservedMilliseconds.value,
};

/** Drivers kept, so that programs alike share one; the least recently used goes first. */
const driversKept = 500;
/** The service itself, which compiles drivers. */
const serviceCaller = '';

/** Compiles modules and the drivers of declared programs off the caller's thread. */
export class Compiler {
  readonly #limits: CompilerLimits;
  readonly #queue: CompileQueue;
  /** The first starts with the process and stays: later there may be no file left to be opened. */
  readonly #threads: readonly CompileThread[];
  readonly #drivers = new LRUCache<string, Promise<CompileResult>>({ max: driversKept });

  /** @param faultAt A stage that fails in every compilation; for tests. */
  constructor(limits: Partial<CompilerLimits> = {}, { faultAt = null }: { readonly faultAt?: Stage | null } = {}) {
    this.#limits = { ...defaultLimits, ...limits };
    this.#threads = Array.from(
      { length: compilerLimits.threads.value },
      (_, slot) => new CompileThread(this.#limits, { isKept: slot === reservedSlot, faultAt }),
    );
    this.#queue = new CompileQueue(this.#threads.length, this.#limits);
  }

  /**
   * Compiles one version of a module. Same request, same bytes.
   * @param caller Identifier of the API key or user; callers take turns.
   */
  async compileModule(request: CompileRequest, caller: string = serviceCaller): Promise<CompileResult> {
    const bytes = typeof request.source === 'string' ? Buffer.byteLength(request.source) : request.source.length;
    const { sourceBytes } = this.#limits;
    if (bytes > sourceBytes) {
      const limit = { ...compilerLimits.sourceBytes, value: sourceBytes };
      return rejectedResult('too-costly', limitExceededMessage('the source has', bytes, limit, 'split the module'));
    }
    return this.#compile({ kind: 'module', ...request }, caller, bytes);
  }

  /** Makes the driver of a declared program: an image that calls one export of one module through the module table. */
  async compileDriver(request: Omit<DriverRequest, 'addressing'> & Partial<Pick<DriverRequest, 'addressing'>>): Promise<CompileResult> {
    const { module, export: name, type, addressing = 'via-table' } = request;
    const key = JSON.stringify([module, name, type.parameters, type.results, addressing]);
    const known = this.#drivers.get(key);
    if (known !== undefined) return known;
    const driver = this.#compile({ kind: 'driver', module, export: name, type, addressing }, serviceCaller, 0);
    this.#drivers.set(key, driver);
    const result = await driver;
    if (!result.ok) this.#drivers.delete(key);
    return result;
  }

  /** Ends the worker threads; compilations under way are abandoned. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  async #compile(compilation: Compilation, caller: string, bytes: number): Promise<CompileResult> {
    const run = (slot: number) => this.#run(compilation, slot);
    try {
      return await this.#queue.run(caller, bytes, run).catch((error: unknown) => {
        if (!(error instanceof PreemptedError)) throw error;
        return this.#queue.run(caller, bytes, run, false);
      });
    } catch (error) {
      if (error instanceof QueueFullError) return rejectedResult('busy', `${error.message}: try again later`);
      throw error;
    }
  }

  /** @throws {PreemptedError} in the reserved slot, where a compilation turns out to be large. */
  async #run(compilation: Compilation, slot: number): Promise<CompileResult> {
    const thread = this.#threads[slot];
    if (thread === undefined) throw new Error(`the compiler has no thread ${slot}`);
    try {
      return await thread.run(compilation, slot === reservedSlot ? this.#limits.reservedMilliseconds : null);
    } catch (error) {
      if (!(error instanceof WorkerError)) throw error;
      return this.#failed(error);
    }
  }

  #failed({ reason, message }: WorkerError): CompileResult {
    const { milliseconds, heapMebibytes } = this.#limits;
    switch (reason) {
      case 'timeout':
        return rejectedResult('too-costly', `the compilation took longer than ${milliseconds / 1_000} s: make the module smaller`);
      case 'out-of-memory':
        return rejectedResult('too-costly', `the compilation needed more than ${heapMebibytes} MiB: make the module smaller`);
      case 'too-many-files':
        return rejectedResult('busy', 'the service has too many files open (ulimit -n): raise the limit, or try again later');
      case 'ended':
        return rejectedResult('too-costly', `the compilation ended its worker thread (${message}): make the module smaller`);
    }
  }
}
