// State transfer: 64-bit words that the old version's `state_save` writes and the new version's `state_restore` reads.

import { LimitError } from '../limit.ts';

/** Maximum words of one transfer. */
const wordLimit = 65_536;

export class StateTransfer {
  readonly #words: bigint[] = [];
  #read = 0;

  get length(): number {
    return this.#words.length;
  }

  /** Implements `kernel.state_write`. @throws {LimitError} if the word limit is reached. */
  write(word: bigint): void {
    if (this.#words.length >= wordLimit) throw new LimitError(`limit reached (${wordLimit} words per state transfer)`);
    this.#words.push(word);
  }

  /** Implements `kernel.state_read`. @throws {Error} if all saved words have been read. */
  read(): bigint {
    const word = this.#words[this.#read];
    if (word === undefined) throw new Error(`the new version reads more words of state than the old version saved (${this.#words.length})`);
    this.#read += 1;
    return word;
  }
}
