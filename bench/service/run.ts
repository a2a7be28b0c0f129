// A run of a benchmark: what it says while it goes on, and its figures at the terminal and as JSON in the end.

import console from 'node:console';
import { writeFileSync } from 'node:fs';
import { machineFacts } from './machine-facts.ts';
import { type ComparedFigure, numberText, resultLines } from './results.ts';

export class Run {
  readonly #began = performance.now();
  readonly #machine = machineFacts();

  /** Says how far it is, on standard error. */
  readonly progress = (line: string): void => {
    console.error(`${this.#seconds.toFixed(0).padStart(4)} s  ${line}`);
  };

  /** Prints the figures and writes them into a file. @param facts What the file says besides. */
  finish(out: string, figures: readonly ComparedFigure[], facts: Readonly<Record<string, unknown>>): void {
    const result = { at: new Date(), machine: this.#machine, ...facts, seconds: this.#seconds, figures };
    writeFileSync(out, `${JSON.stringify(result, null, 2)}\n`);
    console.log(`${resultLines(figures).join('\n')}\n`);
    console.log(`One fdatasync of this disk takes ${numberText(this.#machine.syncMilliseconds)} ms. Figures are in ${out}.`);
  }

  get #seconds(): number {
    return (performance.now() - this.#began) / 1_000;
  }
}
