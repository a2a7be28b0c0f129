// Execution: what happens to a thread where it gets the processor, gives it up, and where its code ends.

import { threadBlock } from '../abi.ts';
import type { CStacks } from '../accesses/c-stacks.ts';
import type { KernelMemory } from '../memory/kernel-memory.ts';
import { type Frames, firstFrameOf } from '../threads/frames.ts';
import type { RunningThread } from '../threads/running-thread.ts';
import { begin, type Ending, type Injection, running, type Thread, wholeThread } from '../threads/thread.ts';
import type { AbnormalExits } from './abnormal-exits.ts';
import { DeadlineError } from './call-timer.ts';

type Surroundings = {
  readonly kernelMemory: KernelMemory;
  readonly running: RunningThread;
  readonly frames: Frames;
  readonly imageStacks: CStacks;
  readonly abnormalExits: AbnormalExits;
  /** A thread's code has ended; no thread has the processor. */
  readonly onEnd: (thread: Thread, ending: Ending) => void;
};

export class Execution {
  /** The tag of injected errors. */
  readonly injected = new WebAssembly.Tag({ parameters: [] });
  /** The one error that is injected: what it is aimed at stands in the thread's block. */
  readonly #injectedError = new WebAssembly.Exception(this.injected, []);
  readonly #words: Int32Array;
  readonly #running: RunningThread;
  readonly #frames: Frames;
  readonly #imageStacks: CStacks;
  readonly #abnormalExits: AbnormalExits;
  readonly #onEnd: Surroundings['onEnd'];
  /** The error that the running thread was resumed with, until it has been seen to be taken. */
  #delivered: Injection | null = null;

  constructor({ kernelMemory, running, frames, imageStacks, abnormalExits, onEnd }: Surroundings) {
    this.#words = kernelMemory.words;
    this.#running = running;
    this.#frames = frames;
    this.#imageStacks = imageStacks;
    this.#abnormalExits = abnormalExits;
    this.#onEnd = onEnd;
  }

  /** Gives the processor to an idle thread, to call its code at once. */
  beginCall(thread: Thread): void {
    this.#running.thread = thread;
    thread.continuation = running;
    // The first safepoint of the code comes before the code sets these itself.
    this.#running.stack = firstFrameOf(thread);
    this.#running.effects = 0;
    this.#words[(thread.block + threadBlock.returned) >> 2] = 0;
  }

  /** Returns whether the code that `beginCall` was for has ended already; the thread is idle then. */
  tryEndCall(thread: Thread): boolean {
    if (this.#running.thread !== thread || this.#words[(thread.block + threadBlock.returned) >> 2] !== 1) return false;
    this.#running.thread = null;
    thread.continuation = begin;
    return true;
  }

  /** Gives the processor to a thread, which `resume` must follow. */
  switchIn(thread: Thread): void {
    this.#running.thread = thread;
    this.#frames.addReferences(thread, -1);
    this.#running.stack = thread.stack;
    this.#running.effects = thread.effects;
  }

  /** Runs the code of the thread that has the processor: from its beginning, or from where it was suspended. */
  resume(thread: Thread): void {
    const { continuation, injection } = thread;
    if (injection !== null)
      this.#abnormalExits.end(thread, injection.target === wholeThread ? 'stop' : 'interruption', { from: injection.target });
    this.#imageStacks.restore(thread, injection);
    if (!thread.isOverdue || injection !== null) thread.entryWait = null;
    thread.continuation = running;
    thread.injection = null;
    switch (continuation.kind) {
      case 'begin':
        if (injection?.target === wholeThread) {
          this.#end(thread, { kind: 'injected', aim: wholeThread, frames: [] });
        } else {
          this.watchEnd(thread, thread.begin());
        }
        return;
      case 'resume': {
        this.#delivered = injection;
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
        throw new Error('a thread that has the processor was dispatched');
    }
  }

  /**
   * A fault of the machine ends the thread that has the processor, not the host.
   * @throws the error where the thread has ended already: its block may be another thread's by then.
   */
  fail(thread: Thread, error: unknown): void {
    if (this.#running.thread !== thread) throw error;
    thread.injection?.onUncaught();
    thread.injection = null;
    this.#unwound(thread, error);
  }

  /**
   * Takes the processor from the thread that has it.
   * @throws {LimitError} when one of its C stacks has overflowed or is too large; the thread then still has the processor.
   */
  switchOut(): Thread {
    const thread = this.#running.current;
    this.#imageStacks.save(thread);
    thread.stack = this.#running.stack;
    thread.effects = this.#running.effects;
    this.#frames.addReferences(thread, 1);
    this.#running.thread = null;
    this.#delivered = null;
    return thread;
  }

  /** Ends the thread when its code does. */
  watchEnd(thread: Thread, promise: Promise<unknown>): void {
    promise.then(
      () => this.#end(thread, { kind: 'returned' }),
      (error) => this.#unwound(thread, error),
    );
  }

  /** An error came out of a thread's code. Stubs have handled an injected one; a trap passes them, and leaves the stack of images as it was. */
  #unwound(thread: Thread, error: unknown): void {
    const isInjected = error instanceof WebAssembly.Exception && error.is(this.injected);
    if (isInjected) this.#delivered?.onUncaught();
    const frames = [...this.#frames.of(thread)];
    this.#imageStacks.resetStacksOf(thread);
    const aim = this.#words[(thread.block + threadBlock.injectionTarget) >> 2] ?? wholeThread;
    if (!isInjected) this.#abnormalExits.end(thread, error instanceof DeadlineError ? 'deadline' : 'trap', { error });
    // The accesses from the aim on were abandoned when the error was thrown; no retries were left, so those before it end too.
    else if (aim !== wholeThread) this.#abnormalExits.end(thread, 'interruption', { to: aim });
    this.#end(thread, isInjected ? { kind: 'injected', aim, frames } : { kind: 'trapped', error, frames });
  }

  #end(thread: Thread, ending: Ending): void {
    this.#running.thread = null;
    this.#delivered = null;
    this.#onEnd(thread, ending);
  }
}
