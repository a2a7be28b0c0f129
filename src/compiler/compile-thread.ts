// Compiler worker threads: started on demand, and terminated when they are idle, exceed a limit or are broken.

import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Compilation, CompilationResult } from './compilation.ts';
import type { Stage } from './compile-error.ts';
import { watchCpuTime } from './cpu-time.ts';
import type { CompileResult } from './result.ts';

export type WorkerLimits = {
  /** Maximum duration of one compilation, from its start in a worker thread. */
  readonly milliseconds: number;
  /** Maximum JavaScript heap of a worker thread, in MiB. */
  readonly heapMebibytes: number;
  /** Maximum memory of binaryen in a worker thread, in MiB. */
  readonly binaryenMebibytes: number;
  /** A worker thread that retains more memory after a compilation is replaced, in MiB. */
  readonly retainedMebibytes: number;
};

/** Stack size of a worker thread: binaryen and AssemblyScript's compiler recurse over nested code. */
const stackMebibytes = 64;
/** Idle timeout of a worker thread that is not kept alive: starting another takes a second or two. */
const idleMilliseconds = 60_000;

/** How long a termination waits for a worker thread that is still starting. */
const startTimeoutMilliseconds = 10_000;

/** A message of a worker thread: `ready` when it has started, then a result for each compilation. */
export type WorkerMessage = 'ready' | CompilationResult;

/** A worker thread did not return a result. */
export class WorkerError extends Error {
  override readonly name = 'WorkerError';
  readonly reason: 'timeout' | 'out-of-memory' | 'too-many-files' | 'ended';

  constructor(reason: WorkerError['reason'], message: string) {
    super(message);
    this.reason = reason;
  }
}

/** A compilation exceeded its CPU time. */
export class PreemptedError extends Error {
  override readonly name = 'PreemptedError';
}

/** Error codes of the operating system for too many open files. */
const tooManyFilesCodes = new Set(['EMFILE', 'ENFILE']);

function reasonOf(error: unknown): WorkerError['reason'] {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') return 'out-of-memory';
  return tooManyFilesCodes.has(code) ? 'too-many-files' : 'ended';
}

/** One worker thread and its replacements. At most one compilation runs at a time. */
export class CompileThread {
  readonly #limits: WorkerLimits;
  readonly #faultAt: Stage | null;
  /** Whether the thread keeps running while it is idle. */
  readonly #keepAlive: boolean;
  #worker: Worker | null = null;
  /** Promises that resolve when a worker thread has started or exited. */
  readonly #starts = new WeakMap<Worker, Promise<void>>();
  /** Whether the current worker thread has started. */
  #isReady = false;
  #idle: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(limits: WorkerLimits, { keepAlive, faultAt }: { readonly keepAlive: boolean; readonly faultAt: Stage | null }) {
    this.#limits = limits;
    this.#keepAlive = keepAlive;
    this.#faultAt = faultAt;
    if (keepAlive) this.#worker = this.#start();
  }

  /**
   * Runs a compilation.
   * @param cpuLimit Maximum CPU time of this compilation in milliseconds, without the start of the thread; null: unlimited.
   * @throws {WorkerError}
   * @throws {PreemptedError}
   */
  async run(compilation: Compilation, cpuLimit: number | null = null): Promise<CompileResult> {
    this.#isClosed = false;
    clearTimeout(this.#idle);
    this.#worker ??= this.#start();
    const worker = this.#worker;
    try {
      const { result, breaksThread } = await this.#exchange(worker, compilation, cpuLimit);
      if (breaksThread) await this.#end(worker);
      return result;
    } catch (error) {
      await this.#end(worker);
      throw error;
    } finally {
      if (!this.#keepAlive && !this.#isClosed) this.#idle = setTimeout(() => void this.#endCurrent(), idleMilliseconds).unref();
      else if (this.#keepAlive && this.#worker === null && !this.#isClosed) this.#worker = this.#start();
    }
  }

  #start(): Worker {
    const { heapMebibytes, binaryenMebibytes, retainedMebibytes } = this.#limits;
    const worker = new Worker(new URL('./compile-worker.ts', import.meta.url), {
      workerData: { faultAt: this.#faultAt, binaryenMebibytes, retainedMebibytes },
      resourceLimits: { maxOldGenerationSizeMb: heapMebibytes, stackSizeMb: stackMebibytes },
    });
    worker.unref();
    this.#isReady = false;
    const { promise: started, resolve: hasStarted } = Promise.withResolvers<void>();
    this.#starts.set(worker, started);
    worker.once('message', () => {
      if (this.#worker === worker) this.#isReady = true;
      hasStarted();
    });
    // A thread that crashes between compilations is replaced; without this listener the crash would end the process.
    worker.on('error', () => this.#forget(worker));
    worker.on('exit', () => {
      this.#forget(worker);
      hasStarted();
    });
    return worker;
  }

  #forget(worker: Worker): void {
    if (this.#worker === worker) this.#worker = null;
  }

  async #end(worker: Worker): Promise<void> {
    this.#forget(worker);
    // Keeps the process alive until the thread has ended.
    worker.ref();
    // V8 (in Node 26.10) aborts the process if a thread is terminated while it starts.
    await this.#waitForStart(worker);
    await worker.terminate();
  }

  async #waitForStart(worker: Worker): Promise<void> {
    const settled = new AbortController();
    const timeout = delay(startTimeoutMilliseconds, undefined, { signal: settled.signal }).catch(() => {});
    await Promise.race([this.#starts.get(worker), timeout]);
    settled.abort();
  }

  #exchange(worker: Worker, compilation: Compilation, cpuLimit: number | null): Promise<CompilationResult> {
    const { promise, resolve, reject } = Promise.withResolvers<CompilationResult>();
    const { milliseconds } = this.#limits;
    const timer = setTimeout(() => reject(new WorkerError('timeout', `took longer than ${milliseconds / 1_000} s`)), milliseconds);
    let endWatch = () => {};
    const watch = () => {
      if (cpuLimit !== null) endWatch = watchCpuTime(worker, cpuLimit, () => reject(new PreemptedError()));
    };
    const onMessage = (message: WorkerMessage) => (message === 'ready' ? watch() : resolve(message));
    if (this.#isReady) watch();
    const onError = (error: unknown) => reject(new WorkerError(reasonOf(error), error instanceof Error ? error.message : String(error)));
    const onExit = () => reject(new WorkerError('ended', 'the worker thread ended'));
    worker.ref();
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    worker.postMessage(compilation);
    return promise.finally(() => {
      clearTimeout(timer);
      endWatch();
      worker.unref();
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
    });
  }

  async #endCurrent(): Promise<void> {
    if (this.#worker !== null) await this.#end(this.#worker);
  }

  /** Terminates the thread. A compilation under way fails, and a later one starts another thread. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    this.#isClosed = true;
    await this.#endCurrent();
  }
}
