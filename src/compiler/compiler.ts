// The public interface of the compiler: compiles a source to an image or to diagnostics, in worker threads with limits.

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
    /** Maximum size of a source or a prebuilt module, in bytes. */
    readonly sourceBytes: number;
    /** Maximum CPU time of a compilation in the slot reserved for small ones, in milliseconds: a few bytes can be much work. */
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

/** Number of cached drivers, which programs with the same target share. The least recently used driver is evicted first. */
const maxCachedDrivers = 500;
/** The caller of compilations that the service itself requests, such as drivers. */
const systemCaller = '';

/** Compiles modules and the drivers of declared programs in worker threads. */
export class Compiler {
  readonly #limits: CompilerLimits;
  readonly #queue: CompileQueue;
  /** The first thread starts with the process and keeps running: later the process may have no file descriptor left to start one. */
  readonly #threads: readonly CompileThread[];
  readonly #drivers = new LRUCache<string, Promise<CompileResult>>({ max: maxCachedDrivers });

  /** @param faultAt A stage that fails in every compilation, for tests. */
  constructor(limits: Partial<CompilerLimits> = {}, { faultAt = null }: { readonly faultAt?: Stage | null } = {}) {
    this.#limits = { ...defaultLimits, ...limits };
    this.#threads = Array.from(
      { length: compilerLimits.threads.value },
      (_, slot) => new CompileThread(this.#limits, { keepAlive: slot === reservedSlot, faultAt }),
    );
    this.#queue = new CompileQueue(this.#threads.length, this.#limits);
  }

  /**
   * Compiles one version of a module. The same request produces the same bytes.
   * @param caller Identifier of the API key or user, for round-robin scheduling.
   */
  async compileModule(request: CompileRequest, caller: string = systemCaller): Promise<CompileResult> {
    const bytes = typeof request.source === 'string' ? Buffer.byteLength(request.source) : request.source.length;
    const { sourceBytes } = this.#limits;
    if (bytes > sourceBytes) {
      const limit = { ...compilerLimits.sourceBytes, value: sourceBytes };
      return rejectedResult('too-costly', limitExceededMessage('the source has', bytes, limit, 'split the module'));
    }
    return this.#compile({ kind: 'module', ...request }, caller, bytes);
  }

  /** Compiles the driver of a declared program: an image that calls one export of one module through the module table. */
  async compileDriver(request: Omit<DriverRequest, 'addressing'> & Partial<Pick<DriverRequest, 'addressing'>>): Promise<CompileResult> {
    const { module, export: name, type, addressing = 'via-table' } = request;
    const key = JSON.stringify([module, name, type.parameters, type.results, addressing]);
    const cached = this.#drivers.get(key);
    if (cached !== undefined) return cached;
    const driver = this.#compile({ kind: 'driver', module, export: name, type, addressing }, systemCaller, 0);
    this.#drivers.set(key, driver);
    const result = await driver;
    if (!result.ok) this.#drivers.delete(key);
    return result;
  }

  /** Terminates the worker threads. Compilations under way are abandoned. */
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

  /** @throws {PreemptedError} if a compilation in the reserved slot exceeds its CPU time. */
  async #run(compilation: Compilation, slot: number): Promise<CompileResult> {
    const thread = this.#threads[slot];
    if (thread === undefined) throw new Error(`the compiler has no thread ${slot}`);
    try {
      return await thread.run(compilation, slot === reservedSlot ? this.#limits.reservedMilliseconds : null);
    } catch (error) {
      if (!(error instanceof WorkerError)) throw error;
      return this.#toResult(error);
    }
  }

  #toResult({ reason, message }: WorkerError): CompileResult {
    const { milliseconds, heapMebibytes } = this.#limits;
    switch (reason) {
      case 'timeout':
        return rejectedResult('too-costly', `the compilation took longer than ${milliseconds / 1_000} s (limit): make the module smaller`);
      case 'out-of-memory':
        return rejectedResult(
          'too-costly',
          `the compilation needs more than ${heapMebibytes} MiB of JavaScript heap: make the module smaller`,
        );
      case 'too-many-files':
        return rejectedResult('busy', 'the service has too many open files: raise its limit (ulimit -n), or try again later');
      case 'ended':
        return rejectedResult('too-costly', `the compilation crashed its worker thread (${message}): make the module smaller`);
    }
  }
}
