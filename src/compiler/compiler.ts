// The compiler as the rest of Patchbay sees it: source in, image or diagnostics out, in worker threads with limits.

import { Piscina } from 'piscina';

export { digestOf } from '../machine/image.ts';

import type { Compilation, DriverRequest } from './compilation.ts';
import type { CompiledImage, CompileProblem, CompileRequest, CompileResult } from './result.ts';

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

/** Compiles modules and the drivers of declared programs off the caller's thread. */
export class Compiler {
  readonly #limits: CompilerLimits;
  readonly #workers: Piscina<Compilation, CompileResult>;
  readonly #drivers = new Map<string, Promise<CompiledImage>>();

  constructor(limits: Partial<CompilerLimits> = {}) {
    this.#limits = { ...defaultLimits, ...limits };
    this.#workers = new Piscina<Compilation, CompileResult>({
      filename: new URL('./compilation.ts', import.meta.url).href,
      minThreads: 0,
      maxThreads: 2,
      idleTimeout: 10_000,
      maxQueue: this.#limits.waiting,
      resourceLimits: { maxOldGenerationSizeMb: this.#limits.heapMebibytes, stackSizeMb: 16 },
    });
  }

  /** Compiles one version of a module. Same request, same bytes. */
  async compileModule(request: CompileRequest): Promise<CompileResult> {
    const bytes = typeof request.source === 'string' ? Buffer.byteLength(request.source) : request.source.length;
    if (bytes > this.#limits.sourceBytes)
      return refused('too-costly', `the source is of ${bytes} bytes; the limit is ${this.#limits.sourceBytes}`);
    return this.#compile({ kind: 'module', ...request });
  }

  /** Makes the driver of a declared program: an image that calls one export of one module through the module table. */
  compileDriver(request: DriverRequest): Promise<CompiledImage> {
    const key = JSON.stringify([request.module, request.export, request.type.parameters, request.type.results]);
    const known = this.#drivers.get(key);
    if (known !== undefined) return known;
    const driver = this.#compile({ kind: 'driver', module: request.module, export: request.export, type: request.type }).then((result) => {
      if (result.ok) return result.compiled;
      throw new Error(
        `the driver of ${request.module}.${request.export} did not compile: ${result.diagnostics.map(({ message }) => message).join('; ')}`,
      );
    });
    driver.catch(() => this.#drivers.delete(key));
    const [oldest] = this.#drivers.keys();
    if (this.#drivers.size >= driversKept && oldest !== undefined) this.#drivers.delete(oldest);
    this.#drivers.set(key, driver);
    return driver;
  }

  /** Ends the worker threads; compilations under way are abandoned. */
  async close(): Promise<void> {
    await this.#workers.destroy();
  }

  async #compile(compilation: Compilation): Promise<CompileResult> {
    const { milliseconds, heapMebibytes } = this.#limits;
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), milliseconds);
    try {
      return await this.#workers.run(compilation, { signal: deadline.signal });
    } catch (error) {
      if (deadline.signal.aborted)
        return refused('too-costly', `the compilation took longer than ${milliseconds / 1_000} s: make the module smaller`);
      if (isOutOfMemory(error))
        return refused('too-costly', `the compilation needed more than ${heapMebibytes} MiB: make the module smaller`);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

function refused(problem: CompileProblem, message: string): CompileResult {
  return { ok: false, problem, diagnostics: [{ severity: 'error', message, file: null, line: null, column: null }] };
}

function isOutOfMemory(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY';
}
