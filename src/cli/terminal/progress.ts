// Draws progress bars on a terminal, one per line; elsewhere draws nothing.

import { stripVTControlCharacters } from 'node:util';
import { colour } from './colours.ts';

/** Characters per bar. */
const barWidth = 30;
/** Minimum milliseconds between drawings, except for the last. */
const drawInterval = 50;

/** One bar. */
export type Progress = { readonly name: string; readonly done: number; readonly total: number; readonly remark: string };

export class ProgressBars {
  readonly #stream: NodeJS.WriteStream;
  readonly #isSilent: boolean;
  /** Whether bars are drawn: the stream is a terminal. */
  readonly isDrawn: boolean;
  #lines = 0;
  #drawnAt = 0;

  /** @param isSilent Whether neither bars nor lines are written. */
  constructor(isSilent: boolean, stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
    this.#isSilent = isSilent;
    this.isDrawn = !isSilent && stream.isTTY && process.env['TERM'] !== 'dumb';
  }

  /** Redraws the bars, at most every 50 ms. */
  update(bars: readonly Progress[]): void {
    if (performance.now() - this.#drawnAt >= drawInterval) this.#draw(bars);
  }

  /** Draws the final state of the bars. */
  finish(bars: readonly Progress[]): void {
    this.#draw(bars);
    this.#lines = 0;
  }

  /** Writes a line above the bars. */
  log(text: string): void {
    if (this.#isSilent) return;
    const clear = this.#lines === 0 ? '' : `\u001b[${this.#lines}A\r\u001b[J`;
    this.#lines = 0;
    this.#stream.write(`${clear}${text}\n`);
  }

  #draw(bars: readonly Progress[]): void {
    if (!this.isDrawn) return;
    this.#drawnAt = performance.now();
    const up = this.#lines === 0 ? '' : `\u001b[${this.#lines}A`;
    const width = Math.max(...bars.map(({ name }) => name.length));
    // A wrapped line would take two rows, and the next drawing would start too low.
    const lines = bars.map((bar) => truncate(this.#line(bar, width), (this.#stream.columns || 80) - 1));
    this.#stream.write(`${up}${lines.map((line) => `\r\u001b[2K${line}\n`).join('')}`);
    this.#lines = lines.length;
  }

  #line({ name, done, total, remark }: Progress, width: number): string {
    const filled = total === 0 ? barWidth : Math.floor((done * barWidth) / total);
    const bar = colour('green', '█'.repeat(filled), this.#stream) + '░'.repeat(barWidth - filled);
    return `${name.padEnd(width)}  ${bar}  ${String(done).padStart(String(total).length)}/${total}${remark === '' ? '' : `  ${remark}`}`;
  }
}

/** Returns the text if it fits; otherwise its beginning, without colours. */
function truncate(text: string, width: number): string {
  const plain = stripVTControlCharacters(text);
  return plain.length <= width ? text : plain.slice(0, width);
}
