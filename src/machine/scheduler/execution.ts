// Execution: switches threads in and out of the processor, and handles the end of their code.

import { threadBlock } from '../abi.ts';
import type { CStacks } from '../accesses/c-stacks.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import { type Frames, firstFrameOf } from '../threads/frames.ts';
import type { RunningThread } from '../threads/running-thread.ts';
import { begin, type Ending, type Injection, running, type Thread, wholeThread } from '../threads/thread.ts';
import type { AbnormalExits } from './abnormal-exits.ts';
import { DeadlineError } from './call-timer.ts';

type Dependencies = {
  readonly kernelMemory: KernelMemory;
  readonly running: RunningThread;
  readonly frames: Frames;
  readonly cStacks: CStacks;
  readonly abnormalExits: AbnormalExits;
  /** Called when a thread's code has ended and no thread has the processor. */
  readonly onEnd: (thread: Thread, ending: Ending) => void;
};

export class Execution {
  /** The tag of injected errors. */
  readonly injected = new WebAssembly.Tag({ parameters: [] });
  /** The exception shared by all injections; its target is stored in the thread's block. */
  readonly #injectedError = new WebAssembly.Exception(this.injected, []);
  readonly #words: Int32Array;
  readonly #running: RunningThread;
  readonly #frames: Frames;
  readonly #cStacks: CStacks;
  readonly #abnormalExits: AbnormalExits;
  readonly #onEnd: Dependencies['onEnd'];
  /** The injection that the running thread was resumed with, until an access is known to have caught it. */
  #deliveredInjection: Injection | null = null;

  constructor({ kernelMemory, running, frames, cStacks, abnormalExits, onEnd }: Dependencies) {
    this.#words = kernelMemory.words;
    this.#running = running;
    this.#frames = frames;
    this.#cStacks = cStacks;
    this.#abnormalExits = abnormalExits;
    this.#onEnd = onEnd;
  }

  /** Gives the processor to an idle thread, whose code the caller then calls. */
  beginCall(thread: Thread): void {
    this.#running.thread = thread;
    thread.continuation = running;
    // The code's first safepoint comes before the code sets these words.
    this.#running.stack = firstFrameOf(thread);
    this.#running.effects = 0;
    this.#words[(thread.block + threadBlock.returned) >> 2] = 0;
  }

  /** Returns whether the code called after `beginCall` has already returned; the thread is then idle. */
  tryEndCall(thread: Thread): boolean {
    if (this.#running.thread !== thread || this.#words[(thread.block + threadBlock.returned) >> 2] !== 1) return false;
    this.#running.thread = null;
    thread.continuation = begin;
    return true;
  }

  /** Gives the processor to a thread. `resume` must follow. */
  switchIn(thread: Thread): void {
    this.#running.thread = thread;
    this.#frames.addReferences(thread, -1);
    this.#running.stack = thread.stack;
    this.#running.effects = thread.effects;
  }

  /** Runs the code of the thread that has the processor, from its start or from its suspension. */
  resume(thread: Thread): void {
    const { continuation, injection } = thread;
    if (injection !== null)
      this.#abnormalExits.end(thread, injection.target === wholeThread ? 'stop' : 'interruption', { from: injection.target });
    this.#cStacks.restore(thread, injection);
    if (!thread.isOverdue || injection !== null) thread.entryWait = null;
    thread.continuation = running;
    thread.injection = null;
    switch (continuation.kind) {
      case 'begin':
        if (injection?.target === wholeThread) {
          this.#end(thread, { kind: 'injected', target: wholeThread, frames: [] });
        } else {
          this.watchEnd(thread, thread.begin());
        }
        return;
      case 'resume': {
        this.#deliveredInjection = injection;
        const { isOverdue } = thread;
        thread.isOverdue = false;
        if (injection !== null) {
          this.#words[(thread.block + threadBlock.injectionTarget) >> 2] = injection.target;
          continuation.reject(this.#injectedError);
        } else if (isOverdue) continuation.reject(new DeadlineError(thread));
        else continuation.resolve();
        return;
      }
      case 'running':
        throw new Error('a running thread was dispatched again');
    }
  }

  /**
   * Ends the running thread because of an internal error, so that the host survives.
   * @throws The error, if the thread has already ended: its block may belong to another thread by then.
   */
  fail(thread: Thread, error: unknown): void {
    if (this.#running.thread !== thread) throw error;
    thread.injection?.onUncaught();
    thread.injection = null;
    this.#handleError(thread, error);
  }

  /**
   * Takes the processor from the running thread and returns the thread.
   * @throws {LimitError} if one of its C stacks has overflowed or is too large; the thread then still has the processor.
   */
  switchOut(): Thread {
    const thread = this.#running.current;
    this.#cStacks.save(thread);
    thread.stack = this.#running.stack;
    thread.effects = this.#running.effects;
    this.#frames.addReferences(thread, 1);
    this.#running.thread = null;
    this.#deliveredInjection = null;
    return thread;
  }

  /** Ends the thread when its code ends. */
  watchEnd(thread: Thread, promise: Promise<unknown>): void {
    promise.then(
      () => this.#end(thread, { kind: 'returned' }),
      (error) => this.#handleError(thread, error),
    );
  }

  /** Handles an error that left a thread's code. Stubs pop frames for injected errors; a trap leaves the frames in place. */
  #handleError(thread: Thread, error: unknown): void {
    const isInjected = error instanceof WebAssembly.Exception && error.is(this.injected);
    if (isInjected) this.#deliveredInjection?.onUncaught();
    const frames = [...this.#frames.of(thread)];
    this.#cStacks.resetStacksOf(thread);
    const target = this.#words[(thread.block + threadBlock.injectionTarget) >> 2] ?? wholeThread;
    if (!isInjected) this.#abnormalExits.end(thread, error instanceof DeadlineError ? 'deadline' : 'trap', { error });
    // Accesses from the target on were abandoned when the error was thrown. No retries are left, so the accesses before it end too.
    else if (target !== wholeThread) this.#abnormalExits.end(thread, 'interruption', { to: target });
    this.#end(thread, isInjected ? { kind: 'injected', target, frames } : { kind: 'trapped', error, frames });
  }

  #end(thread: Thread, ending: Ending): void {
    this.#running.thread = null;
    this.#deliveredInjection = null;
    this.#onEnd(thread, ending);
  }
}
