// The processes of the benchmark, started as a user starts them and looked at from outside.

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Lines kept of what a process says. */
const linesKept = 100;
/** A process that has been told to end is killed after this, in milliseconds: it may have a profile to write. */
const endMilliseconds = 60_000;
/** How long a process may take to say that it is ready, in milliseconds. */
const readyMilliseconds = 120_000;
/** Linux counts processor time in these. */
const tickMilliseconds = 10;

const running = new Set<MeasuredProcess>();
process.once('exit', () => {
  for (const one of running) one.kill();
});

/** Ends every process of the benchmark that still runs. */
export async function endAll(): Promise<void> {
  await Promise.all([...running].map((one) => one.end()));
}

export class MeasuredProcess {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #ended: Promise<number | string>;
  readonly #lines: string[] = [];
  #heard: () => void = () => {};
  #isAsked = false;

  /**
   * Starts the runtime with a file and its arguments.
   * @param profile Folder in which it leaves a folder of its own with CPU profiles when it ends; null: it leaves none.
   */
  constructor(name: string, file: string, args: readonly string[], profile: string | null) {
    this.name = name;
    const profiling = profile === null ? [] : ['--cpu-prof', '--cpu-prof-dir', join(profile, name)];
    this.#process = spawn(process.execPath, [...profiling, file, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => this.#hear(text));
    this.#ended = new Promise((resolve) => {
      this.#process.once('error', (error) => resolve(error.message));
      this.#process.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
    });
    running.add(this);
    this.#ended.then((end) => {
      running.delete(this);
      this.#heard();
      if (!this.#isAsked) process.stderr.write(`${name} ended by itself (${end}):\n${this.#lines.join('\n')}\n`);
    });
  }

  /** The first match in what it says. @throws {Error} when it ends without, or takes too long. */
  async says(pattern: RegExp): Promise<RegExpMatchArray> {
    const deadline = Date.now() + readyMilliseconds;
    while (running.has(this) && Date.now() < deadline) {
      const match = this.#lines.map((line) => pattern.exec(line)).find((found) => found !== null);
      if (match) return match;
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
        setTimeout(resolve, 200);
      });
    }
    throw new Error(`${this.name} did not say ${pattern}:\n${this.#lines.join('\n')}`);
  }

  /** Processor time of all its threads so far, in milliseconds; NaN where the system does not tell. */
  processorTime(): number {
    // After the name, which may hold anything: utime and stime are the 14th and 15th field of all.
    const fields = this.#told('stat')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) * tickMilliseconds;
  }

  /** Memory that it holds, in bytes; NaN where the system does not tell. */
  residentBytes(): number {
    return Number(/VmRSS:\s+(\d+) kB/.exec(this.#told('status'))?.[1] ?? Number.NaN) * 1_024;
  }

  /** Resolves when it has ended. */
  async end(): Promise<void> {
    this.#isAsked = true;
    this.#process.kill('SIGTERM');
    const timer = setTimeout(() => this.kill(), endMilliseconds);
    await this.#ended.finally(() => clearTimeout(timer));
  }

  kill(): void {
    this.#isAsked = true;
    this.#process.kill('SIGKILL');
  }

  #told(file: string): string {
    try {
      return readFileSync(`/proc/${this.#process.pid}/${file}`, 'utf8');
    } catch {
      return '';
    }
  }

  #hear(text: string): void {
    this.#lines.push(...text.split('\n').filter((line) => line !== ''));
    this.#lines.splice(0, Math.max(0, this.#lines.length - linesKept));
    this.#heard();
  }
}
