// Calls of one export from JavaScript: each is made on a thread of its own, as a program's are, and answers with a promise of what it returned.

import { pinnedRecordExport } from '../abi.ts';
import type { DriverImage } from '../images/image.ts';
import { getExportedFunction } from '../images/instance-exports.ts';
import type { ImportedFunction } from '../images/stamp.ts';
import { LimitError } from '../limit.ts';
import { type Effect, type Ending, type Thread, type ThreadOwner, wholeThread } from '../threads/thread.ts';
import { type ProgramDependencies, ProgramError } from './program.ts';

/** A call failed: it trapped, it was stopped, or the host has too many threads. */
export class CallError extends Error {
  override readonly name = 'CallError';
}

export type HostCallRequest = {
  /** By what name its accesses and effects are known. */
  readonly program: string;
  /** Compiled for the export that is called, with addressing through the module table. */
  readonly driver: DriverImage;
  /** How long one call may take, in milliseconds; null: for ever. */
  readonly deadlineMilliseconds?: number | null;
};

/** Threads that are kept for the next calls. */
const idleLimit = 64;

export class HostCall implements ThreadOwner {
  readonly id: string;
  /** What the driver imports of modules. */
  readonly imports: readonly ImportedFunction[];
  readonly #surroundings: ProgramDependencies;
  readonly #deadline: number | null;
  readonly #function: (...values: readonly (number | bigint)[]) => Promise<WebAssembly.Results>;
  readonly #idle: Thread[] = [];
  /** Calls that have not answered at once, by their threads. */
  readonly #calls = new Map<Thread, PromiseWithResolvers<WebAssembly.Results>>();
  #closed = false;

  /** @throws {ProgramError} when the driver keeps a hard-coded address. */
  constructor(request: HostCallRequest, surroundings: ProgramDependencies) {
    this.id = request.program;
    this.imports = request.driver.stamp.interface.imports;
    this.#surroundings = surroundings;
    this.#deadline = request.deadlineMilliseconds ?? null;
    const { exports } = surroundings.processor.instantiate(request.driver, surroundings.deviceImports);
    if (pinnedRecordExport in exports)
      throw new ProgramError('calls from JavaScript go through the module table: compile the driver for that');
    const [access] = request.driver.stamp.interface.imports;
    if (access?.results.some((type) => !['i32', 'i64', 'f32', 'f64'].includes(type)))
      throw new ProgramError(`${access.module}.${access.name} returns what is no number: JavaScript cannot call it`);
    this.#function = WebAssembly.promising(getExportedFunction(exports, 'call'));
  }

  /** Threads whose calls are under way. */
  get threads(): Iterable<Thread> {
    return this.#calls.keys();
  }

  /**
   * Calls the export, with one number for each parameter, a bigint where it is an i64.
   * @throws {CallError} when a number is none of its parameter's type, when the call traps or is ended, or when the host has no thread for it.
   */
  call(...values: readonly (number | bigint)[]): Promise<WebAssembly.Results> {
    if (this.#closed) return Promise.reject(new CallError('the device has been closed'));
    let thread = this.#idle.pop();
    try {
      const { processor, group } = this.#surroundings;
      thread ??= processor.createThread(this, group, this.#deadline);
    } catch (error) {
      return Promise.reject(error instanceof LimitError ? new CallError(error.message) : error);
    }
    return this.#callOn(thread, values);
  }

  /** Ends the calls that are under way, and takes no more. */
  async close(): Promise<void> {
    this.#closed = true;
    const { processor } = this.#surroundings;
    for (const thread of this.#idle.splice(0)) processor.removeThread(thread);
    while (this.#calls.size > 0) {
      const ended = [...this.#calls.values()].map(({ promise }) => promise.catch(() => {}));
      await processor.atSafepoint(() => {
        for (const thread of this.#calls.keys()) if (thread.injection === null) processor.inject(thread, wholeThread);
      });
      await Promise.race(ended);
    }
  }

  onVersionSwitch(): void {}

  onCallsMeasured(): void {}

  exhaustFuel(): void {}

  onCommit(_thread: Thread, effects: readonly Effect[]): void {
    this.#surroundings.onEffects(this.id, effects);
  }

  onEnd(thread: Thread, ending: Ending): 'idle' | 'gone' {
    const { reject } = this.#pending(thread);
    this.#calls.delete(thread);
    if (ending.kind === 'trapped') reject(new CallError(this.#surroundings.explainTrap(ending.error, ending.frames, this.id).message));
    if (ending.kind === 'injected') {
      reject(
        new CallError(ending.aim === wholeThread ? 'the call was ended' : 'an injected error left the access, which had no retries left'),
      );
    }
    if (this.#closed || this.#idle.length >= idleLimit) return 'gone';
    this.#idle.push(thread);
    return 'idle';
  }

  #callOn(thread: Thread, values: readonly (number | bigint)[]): Promise<WebAssembly.Results> {
    const answer = this.#surroundings.processor.runOnIdleThread(
      thread,
      () => this.#function(thread.block, ...values),
      (promise) => {
        const { resolve } = this.#pending(thread);
        // A failure is told by the thread's ending, in words.
        promise.then(resolve, () => {});
      },
    );
    if (answer === null) return this.#pending(thread).promise;
    if (this.#idle.length < idleLimit) this.#idle.push(thread);
    else this.#surroundings.processor.removeThread(thread);
    return answer;
  }

  #pending(thread: Thread): PromiseWithResolvers<WebAssembly.Results> {
    const known = this.#calls.get(thread) ?? Promise.withResolvers<WebAssembly.Results>();
    this.#calls.set(thread, known);
    return known;
  }
}
