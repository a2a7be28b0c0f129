// State carried from an old version into a new one: 64-bit words, written by the old one's `state_save` and read by the new one's `state_restore`.

import { LimitError } from '../limit.ts';

/** Words that a module may carry over. */
const wordLimit = 65_536;

/** The exports by which a module opts in; both without parameters and results. */
export const stateExports = { save: 'state_save', restore: 'state_restore' } as const;

export class StateTransfer {
  readonly #words: bigint[] = [];
  #read = 0;

  get length(): number {
    return this.#words.length;
  }

  /** `kernel.state_write`. @throws {LimitError} past the limit. */
  write(word: bigint): void {
    if (this.#words.length >= wordLimit) throw new LimitError(`a module may carry ${wordLimit} words of state over`);
    this.#words.push(word);
  }

  /** `kernel.state_read`. @throws {Error} when the old version has written no more. */
  read(): bigint {
    const word = this.#words[this.#read];
    if (word === undefined) throw new Error(`the old version saved ${this.#words.length} words of state, and the new one reads more`);
    this.#read += 1;
    return word;
  }
}
