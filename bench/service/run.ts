// A benchmark run: its progress, and its figures on the terminal and as JSON.

import console from 'node:console';
import { writeFileSync } from 'node:fs';
import { machineFacts } from './machine-facts.ts';
import { type ComparedFigure, numberText, resultLines } from './results.ts';

export class Run {
  readonly #began = performance.now();
  readonly #machine = machineFacts();

  /** Prints progress to standard error. */
  readonly progress = (line: string): void => {
    console.error(`${this.#seconds.toFixed(0).padStart(4)} s  ${line}`);
  };

  /** Prints the figures and writes them to a file. @param facts Additional members of the file. */
  finish(out: string, figures: readonly ComparedFigure[], facts: Readonly<Record<string, unknown>>): void {
    const result = { at: new Date(), machine: this.#machine, ...facts, seconds: this.#seconds, figures };
    writeFileSync(out, `${JSON.stringify(result, null, 2)}\n`);
    console.log(`${resultLines(figures).join('\n')}\n`);
    console.log(`One fdatasync of this disk takes ${numberText(this.#machine.syncMilliseconds)} ms. The figures are in ${out}.`);
  }

  get #seconds(): number {
    return (performance.now() - this.#began) / 1_000;
  }
}
