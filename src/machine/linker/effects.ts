// Effects: side effects of a call outside its own stack. They are buffered and take place when the outermost access exits.

import { LimitError } from '../limit.ts';
import type { RunningThread } from '../threads/running-thread.ts';

/** Maximum effects of one call. */
const effectLimit = 1_024;

export class Effects {
  readonly #running: RunningThread;

  constructor(running: RunningThread) {
    this.#running = running;
  }

  /** Adds an effect to the running thread's call. @throws {LimitError} if the call's effect limit is reached. */
  emit(channel: number, value: bigint): void {
    const { thread, effects } = this.#running;
    // Self-checks, state transfers and start functions on an idle device are no calls of a program: their effects are dropped.
    if (thread === null) return;
    if (effects >= effectLimit) throw new LimitError(`limit reached (${effectLimit} effects per call)`);
    // Effects of an interrupted access lie past the count, and are overwritten or dropped.
    thread.effectBuffer[effects] = { channel, value };
    this.#running.effects = effects + 1;
  }

  /** Commits the effects of the running thread's call, which has completed. */
  commit(): void {
    const thread = this.#running.current;
    thread.owner.onCommit(thread, thread.effectBuffer.slice(0, this.#running.effects));
    thread.effectBuffer.length = 0;
    this.#running.effects = 0;
  }
}
