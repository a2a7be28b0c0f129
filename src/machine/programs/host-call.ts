// Host calls: calls of one export from JavaScript. Each runs on its own thread, like a program's calls, and returns a promise of the result.

import { pinnedRecordExport } from '../abi.ts';
import type { DriverImage } from '../images/image.ts';
import { getExportedFunction } from '../images/instance-exports.ts';
import type { ImportedFunction } from '../images/stamp.ts';
import { LimitError } from '../limit.ts';
import { type Effect, type Ending, type Thread, type ThreadOwner, wholeThread } from '../threads/thread.ts';
import { type ProgramDependencies, ProgramError, retriesExhausted } from './program.ts';

/** A call failed: it trapped, it was stopped, or the host's thread limit is reached. */
export class CallError extends Error {
  override readonly name = 'CallError';
}

export type HostCallRequest = {
  /** Name under which its accesses and effects are reported. */
  readonly program: string;
  /** Compiled for the export that is called, with addressing through the module table. */
  readonly driver: DriverImage;
  /** Maximum duration of one call in milliseconds; null: no limit. */
  readonly deadlineMilliseconds?: number | null;
};

/** Maximum idle threads kept for later calls. */
const idleLimit = 64;

export class HostCall implements ThreadOwner {
  readonly id: string;
  /** Imports of the driver. */
  readonly imports: readonly ImportedFunction[];
  readonly #dependencies: ProgramDependencies;
  readonly #deadline: number | null;
  readonly #function: (...values: readonly (number | bigint)[]) => Promise<WebAssembly.Results>;
  readonly #idle: Thread[] = [];
  /** Pending calls, by thread; calls that complete immediately are not listed. */
  readonly #pendingCalls = new Map<Thread, PromiseWithResolvers<WebAssembly.Results>>();
  #closed = false;

  /** @throws {ProgramError} if the driver has a hard-coded address. */
  constructor(request: HostCallRequest, dependencies: ProgramDependencies) {
    this.id = request.program;
    this.imports = request.driver.stamp.interface.imports;
    this.#dependencies = dependencies;
    this.#deadline = request.deadlineMilliseconds ?? null;
    const { exports } = dependencies.processor.instantiate(request.driver, dependencies.deviceImports);
    if (pinnedRecordExport in exports)
      throw new ProgramError('host calls go through the module table: compile the driver with via-table addressing');
    const [access] = request.driver.stamp.interface.imports;
    if (access?.results.some((type) => !['i32', 'i64', 'f32', 'f64'].includes(type)))
      throw new ProgramError(`${access.module}.${access.name} returns a type other than i32, i64, f32 and f64: JavaScript cannot call it`);
    this.#function = WebAssembly.promising(getExportedFunction(exports, 'call'));
  }

  /** Threads with a pending call. */
  get threads(): Iterable<Thread> {
    return this.#pendingCalls.keys();
  }

  /**
   * Calls the export with one number for each parameter; a bigint for an i64.
   * @throws {CallError} if a value does not have its parameter's type, the call traps or is stopped, or the host's thread limit is reached.
   */
  call(...values: readonly (number | bigint)[]): Promise<WebAssembly.Results> {
    if (this.#closed) return Promise.reject(new CallError('the device is closed'));
    let thread = this.#idle.pop();
    try {
      const { processor, group } = this.#dependencies;
      thread ??= processor.createThread(this, group, this.#deadline);
    } catch (error) {
      return Promise.reject(error instanceof LimitError ? new CallError(error.message) : error);
    }
    return this.#callOn(thread, values);
  }

  /** Stops pending calls and rejects new ones. */
  async close(): Promise<void> {
    this.#closed = true;
    const { processor } = this.#dependencies;
    for (const thread of this.#idle.splice(0)) processor.removeThread(thread);
    while (this.#pendingCalls.size > 0) {
      const ended = [...this.#pendingCalls.values()].map(({ promise }) => promise.catch(() => {}));
      await processor.atSafepoint(() => {
        for (const thread of this.#pendingCalls.keys()) if (thread.injection === null) processor.inject(thread, wholeThread);
      });
      await Promise.race(ended);
    }
  }

  onVersionSwitch(): void {}

  onCallsMeasured(): void {}

  exhaustFuel(): void {}

  onCommit(_thread: Thread, effects: readonly Effect[]): void {
    this.#dependencies.onEffects(this.id, effects);
  }

  onEnd(thread: Thread, ending: Ending): 'idle' | 'remove' {
    const { reject } = this.#pendingCallOf(thread);
    this.#pendingCalls.delete(thread);
    if (ending.kind === 'trapped') reject(new CallError(this.#dependencies.explainTrap(ending.error, ending.frames, this.id).message));
    if (ending.kind === 'injected') {
      reject(new CallError(ending.target === wholeThread ? 'the call was stopped' : retriesExhausted));
    }
    if (this.#closed || this.#idle.length >= idleLimit) return 'remove';
    this.#idle.push(thread);
    return 'idle';
  }

  #callOn(thread: Thread, values: readonly (number | bigint)[]): Promise<WebAssembly.Results> {
    const result = this.#dependencies.processor.runOnIdleThread(
      thread,
      () => this.#function(thread.block, ...values),
      (promise) => {
        const { resolve } = this.#pendingCallOf(thread);
        // The rejection is reported by onEnd, with an explanation.
        promise.then(resolve, () => {});
      },
    );
    if (result === null) return this.#pendingCallOf(thread).promise;
    if (this.#idle.length < idleLimit) this.#idle.push(thread);
    else this.#dependencies.processor.removeThread(thread);
    return result;
  }

  #pendingCallOf(thread: Thread): PromiseWithResolvers<WebAssembly.Results> {
    const known = this.#pendingCalls.get(thread) ?? Promise.withResolvers<WebAssembly.Results>();
    this.#pendingCalls.set(thread, known);
    return known;
  }
}
