// Effects: what a call does outside its own stack is kept until its outermost access exits, and happens then.

import { LimitError } from '../limit.ts';
import type { RunningThread } from '../threads/running-thread.ts';

/** Effects of one call. */
const effectLimit = 1_024;

export class Effects {
  readonly #running: RunningThread;

  constructor(running: RunningThread) {
    this.#running = running;
  }

  /** Adds an effect to the running thread's call. @throws {LimitError} when the call has had as many as it may. */
  emit(channel: number, value: bigint): void {
    const { thread, effects } = this.#running;
    // A self-check, a start function of an idle device or a transfer of state is no call of anyone's: its effects are nobody's.
    if (thread === null) return;
    if (effects >= effectLimit) throw new LimitError(`a call may have ${effectLimit} effects`);
    // What an interrupted access had emitted lies past the count, and is overwritten or dropped.
    thread.effectBuffer[effects] = { channel, value };
    this.#running.effects = effects + 1;
  }

  /** The running thread's call has completed. */
  commit(): void {
    const thread = this.#running.current;
    thread.owner.onCommit(thread, thread.effectBuffer.slice(0, this.#running.effects));
    thread.effectBuffer.length = 0;
    this.#running.effects = 0;
  }
}
