// Worker threads that compile: started when they are needed, ended when they are idle, over their limits or broken.

import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Compilation, CompilationResult } from './compilation.ts';
import type { Stage } from './compile-error.ts';
import { watchCpuTime } from './cpu-time.ts';
import type { CompileResult } from './result.ts';

export type WorkerLimits = {
  /** Of one compilation, from its start in a worker thread. */
  readonly milliseconds: number;
  /** JavaScript heap of a worker thread, in MiB. */
  readonly heapMebibytes: number;
  /** Memory of binaryen in a worker thread, in MiB. */
  readonly binaryenMebibytes: number;
  /** A worker thread that keeps more after a compilation is replaced, in MiB. */
  readonly retainedMebibytes: number;
};

/** Stack of a worker thread: binaryen and AssemblyScript's compiler recurse over nested code. */
const stackMebibytes = 64;
/** How long a worker thread beyond the first is kept without work: another takes a second or two to start. */
const idleMilliseconds = 60_000;

/** How long a worker thread that is to be ended may take to start before, in milliseconds. */
const startMilliseconds = 10_000;

/** What a worker thread sends: that it has started, then a result for each compilation. */
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

/** A compilation used more processor time than it was given. */
export class PreemptedError extends Error {
  override readonly name = 'PreemptedError';
}

/** What the operating system says when a process has as many files open as it may. */
const tooManyFiles = new Set(['EMFILE', 'ENFILE']);

function reasonOf(error: unknown): WorkerError['reason'] {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') return 'out-of-memory';
  return tooManyFiles.has(code) ? 'too-many-files' : 'ended';
}

/** One worker thread and its successors. At most one compilation runs at a time. */
export class CompileThread {
  readonly #limits: WorkerLimits;
  readonly #faultAt: Stage | null;
  /** Whether the thread stays when it has no work. */
  readonly #isKept: boolean;
  #worker: Worker | null = null;
  /** Resolves when a worker thread has started, or ended before. */
  readonly #starts = new WeakMap<Worker, Promise<void>>();
  /** Whether the worker thread has started. */
  #isReady = false;
  #idle: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(limits: WorkerLimits, { isKept, faultAt }: { readonly isKept: boolean; readonly faultAt: Stage | null }) {
    this.#limits = limits;
    this.#isKept = isKept;
    this.#faultAt = faultAt;
    if (isKept) this.#worker = this.#start();
  }

  /**
   * Runs a compilation.
   * @param processorLimit Limit of the processor time of this compilation, in milliseconds; the start of the thread does not count.
   * @throws {WorkerError}
   * @throws {PreemptedError}
   */
  async run(compilation: Compilation, processorLimit: number | null = null): Promise<CompileResult> {
    this.#isClosed = false;
    clearTimeout(this.#idle);
    this.#worker ??= this.#start();
    const worker = this.#worker;
    try {
      const { result, breaksThread } = await this.#exchange(worker, compilation, processorLimit);
      if (breaksThread) await this.#end(worker);
      return result;
    } catch (error) {
      await this.#end(worker);
      throw error;
    } finally {
      if (!this.#isKept && !this.#isClosed) this.#idle = setTimeout(() => void this.#endCurrent(), idleMilliseconds).unref();
      else if (this.#isKept && this.#worker === null && !this.#isClosed) this.#worker = this.#start();
    }
  }

  #start(): Worker {
    const { heapMebibytes, binaryenMebibytes, retainedMebibytes: keptMebibytes } = this.#limits;
    const worker = new Worker(new URL('./compile-worker.ts', import.meta.url), {
      workerData: { faultAt: this.#faultAt, binaryenMebibytes, keptMebibytes },
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
    // A thread that dies between compilations is replaced; its death must not be the service's.
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
    // Who waits for the end must not be ended before it.
    worker.ref();
    // V8 (of Node 26.10) ends the process where a thread is terminated while it starts.
    await this.#startOf(worker);
    await worker.terminate();
  }

  async #startOf(worker: Worker): Promise<void> {
    const isOver = new AbortController();
    const over = delay(startMilliseconds, undefined, { signal: isOver.signal }).catch(() => {});
    await Promise.race([this.#starts.get(worker), over]);
    isOver.abort();
  }

  #exchange(worker: Worker, compilation: Compilation, processorLimit: number | null): Promise<CompilationResult> {
    const { promise, resolve, reject } = Promise.withResolvers<CompilationResult>();
    const { milliseconds } = this.#limits;
    const timer = setTimeout(() => reject(new WorkerError('timeout', `took longer than ${milliseconds / 1_000} s`)), milliseconds);
    let endWatch = () => {};
    const watch = () => {
      if (processorLimit !== null) endWatch = watchCpuTime(worker, processorLimit, () => reject(new PreemptedError()));
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

  /** Ends the thread; a compilation under way fails, and a later one starts another thread. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    this.#isClosed = true;
    await this.#endCurrent();
  }
}
