// The compiler as the rest of Patchbay sees it: source in, image or diagnostics out, in worker threads with limits.

import { Piscina } from 'piscina';

export { digestOf } from '../machine/image.ts';

import type { Compilation } from './compilation.ts';
import type { DriverRequest } from './driver.ts';
import type { CompileProblem, CompileRequest, CompileResult } from './result.ts';

export type CompilerLimits = {
  /** Of one compilation, from its start in a worker thread. */
  readonly milliseconds: number;
  /** JavaScript heap of a worker thread, in MiB. */
  readonly heapMebibytes: number;
  /** Compilations that wait for a worker thread. */
  readonly waiting: number;
  /** Bytes of a source or a prebuilt module. */
  readonly sourceBytes: number;
};

const defaultLimits: CompilerLimits = { milliseconds: 20_000, heapMebibytes: 512, waiting: 256, sourceBytes: 4 * 1024 * 1024 };

/** Drivers kept, so that programs alike share one. */
const driversKept = 500;
/** How long a worker thread beyond the first is kept without work: another takes a second or two to start. */
const idleMilliseconds = 60_000;
/** Compilations at once. The first thread starts with the process and stays: later there may be no file left to be opened. */
const workerThreads = 2;
/** What the operating system says when a process has as many files open as it may. */
const tooManyFiles = new Set(['EMFILE', 'ENFILE']);

/** Compiles modules and the drivers of declared programs off the caller's thread. */
export class Compiler {
  readonly #limits: CompilerLimits;
  readonly #workers: Piscina<Compilation, CompileResult>;
  readonly #drivers = new Map<string, Promise<CompileResult>>();
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(limits: Partial<CompilerLimits> = {}) {
    this.#limits = { ...defaultLimits, ...limits };
    this.#workers = new Piscina<Compilation, CompileResult>({
      filename: new URL('./compilation.ts', import.meta.url).href,
      minThreads: 1,
      maxThreads: workerThreads,
      idleTimeout: idleMilliseconds,
      resourceLimits: { maxOldGenerationSizeMb: this.#limits.heapMebibytes, stackSizeMb: 16 },
    });
    // A worker thread that dies between compilations is replaced; its death must not be the service's.
    this.#workers.on('error', () => {});
  }

  /** Compiles one version of a module. Same request, same bytes. */
  async compileModule(request: CompileRequest): Promise<CompileResult> {
    const bytes = typeof request.source === 'string' ? Buffer.byteLength(request.source) : request.source.length;
    const { sourceBytes } = this.#limits;
    if (bytes > sourceBytes) return refused('too-costly', `the source is of ${bytes} bytes; the limit is ${sourceBytes}`);
    return this.#compile({ kind: 'module', ...request });
  }

  /** Makes the driver of a declared program: an image that calls one export of one module through the module table. */
  async compileDriver(request: Omit<DriverRequest, 'addressing'> & Partial<Pick<DriverRequest, 'addressing'>>): Promise<CompileResult> {
    const { module, export: name, type, addressing = 'via-table' } = request;
    const key = JSON.stringify([module, name, type.parameters, type.results, addressing]);
    const known = this.#drivers.get(key);
    if (known !== undefined) return known;
    const [oldest] = this.#drivers.keys();
    if (this.#drivers.size >= driversKept && oldest !== undefined) this.#drivers.delete(oldest);
    const driver = this.#compile({ kind: 'driver', module, export: name, type, addressing });
    this.#drivers.set(key, driver);
    const result = await driver;
    if (!result.ok) this.#drivers.delete(key);
    return result;
  }

  /** Ends the worker threads; compilations under way are abandoned. */
  async close(): Promise<void> {
    await this.#workers.destroy();
  }

  async #compile(compilation: Compilation): Promise<CompileResult> {
    const { milliseconds, heapMebibytes, waiting } = this.#limits;
    if (this.#running >= workerThreads && this.#waiting.length >= waiting) {
      return refused('busy', `${waiting} compilations are waiting, as many as may: try again in a while`);
    }
    await this.#enter();
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), milliseconds);
    try {
      return await this.#workers.run(compilation, { signal: deadline.signal });
    } catch (error) {
      const reason = deadline.signal.aborted
        ? `took longer than ${milliseconds / 1_000} s`
        : isOutOfMemory(error)
          ? `needed more than ${heapMebibytes} MiB`
          : null;
      if (isTooManyFiles(error))
        return refused('busy', 'the service has as many files open as it may (ulimit -n): allow it more, or try again in a while');
      if (reason === null) throw error;
      return refused('too-costly', `the compilation ${reason}: make the module smaller`);
    } finally {
      clearTimeout(timer);
      this.#leave();
    }
  }

  /** Waits for a worker thread: the time of a compilation counts from its start. */
  async #enter(): Promise<void> {
    if (this.#running < workerThreads) this.#running += 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}

function refused(problem: CompileProblem, message: string): CompileResult {
  return { ok: false, problem, diagnostics: [{ severity: 'error', message, file: null, line: null, column: null }] };
}

function isTooManyFiles(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && tooManyFiles.has(error.code);
}

function isOutOfMemory(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY';
}
