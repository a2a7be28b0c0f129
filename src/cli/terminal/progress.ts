// Progress bars on a terminal, one below the other; elsewhere nothing is drawn.

import { stripVTControlCharacters } from 'node:util';
import { colour } from './colours.ts';

/** Characters of a bar. */
const barWidth = 30;
/** Milliseconds between drawings, but for the last. */
const drawInterval = 50;

/** How far one thing is. */
export type Progress = { readonly name: string; readonly done: number; readonly total: number; readonly remark: string };

export class ProgressBars {
  readonly #stream: NodeJS.WriteStream;
  /** Whether there is a terminal to draw on. */
  readonly isDrawn: boolean;
  #lines = 0;
  #drawnAt = 0;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
    this.isDrawn = stream.isTTY && process.env['TERM'] !== 'dumb';
  }

  /** Draws the bars anew, if it is time to. */
  update(bars: readonly Progress[]): void {
    if (performance.now() - this.#drawnAt >= drawInterval) this.#draw(bars);
  }

  /** Draws the bars as they stay. */
  finish(bars: readonly Progress[]): void {
    this.#draw(bars);
    this.#lines = 0;
  }

  /** Says something above the bars, or by itself where none are drawn. */
  log(text: string): void {
    const clear = this.#lines === 0 ? '' : `\u001b[${this.#lines}A\r\u001b[J`;
    this.#lines = 0;
    this.#stream.write(`${clear}${text}\n`);
  }

  #draw(bars: readonly Progress[]): void {
    if (!this.isDrawn) return;
    this.#drawnAt = performance.now();
    const up = this.#lines === 0 ? '' : `\u001b[${this.#lines}A`;
    const width = Math.max(...bars.map(({ name }) => name.length));
    // A line that wraps would be two, and the next drawing one too low.
    const lines = bars.map((bar) => cut(this.#line(bar, width), (this.#stream.columns || 80) - 1));
    this.#stream.write(`${up}${lines.map((line) => `\r\u001b[2K${line}\n`).join('')}`);
    this.#lines = lines.length;
  }

  #line({ name, done, total, remark }: Progress, width: number): string {
    const filled = total === 0 ? barWidth : Math.floor((done * barWidth) / total);
    const bar = colour('green', '█'.repeat(filled), this.#stream) + '░'.repeat(barWidth - filled);
    return `${name.padEnd(width)}  ${bar}  ${String(done).padStart(String(total).length)}/${total}${remark === '' ? '' : `  ${remark}`}`;
  }
}

/** The text as it is if it fits, and without its colours, cut off, where it does not. */
function cut(text: string, width: number): string {
  const plain = stripVTControlCharacters(text);
  return plain.length <= width ? text : plain.slice(0, width);
}
