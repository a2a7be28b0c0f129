// A process of Patchbay's that another one starts, watches and ends.

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const commandFile = fileURLToPath(new URL('../../../bin/patchbay.js', import.meta.url));

/** Lines kept of what a process says. */
const linesKept = 200;
/** A process that has been told to end is killed after this, where nothing else is said. */
const endMilliseconds = 5_000;

/** What is run, and the flags of the runtime that runs it. */
type Program = { readonly file?: string | undefined; readonly flags?: readonly string[] };

export class PatchbayProcess {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  readonly #ended: Promise<number | string>;
  readonly #waiting = new Set<() => void>();
  #hasEnded = false;

  /**
   * Starts a program with these arguments; its environment is this process's.
   * @param program By itself `patchbay`, without flags for the runtime.
   */
  constructor(name: string, args: readonly string[], { file = commandFile, flags = [] }: Program = {}) {
    this.name = name;
    this.#process = spawn(process.execPath, [...flags, file, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => this.#hear(text));
    this.#ended = new Promise((resolve) => {
      this.#process.on('error', (error) => resolve(error.message));
      this.#process.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
    });
    this.#ended.then(() => {
      this.#hasEnded = true;
      this.#notify();
    });
  }

  /** What the system knows it by; undefined where it could not be started. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Its last lines, on both streams. */
  get lastLines(): string {
    return this.#lines.slice(-20).join('\n');
  }

  /** Its exit code, or the signal that ended it. */
  get exited(): Promise<number | string> {
    return this.#ended;
  }

  /** The first match in what it says. @throws {Error} when it ends without, or takes longer than the time given in milliseconds. */
  async waitForLine(pattern: RegExp, milliseconds = 30_000): Promise<RegExpMatchArray> {
    const deadline = Date.now() + milliseconds;
    for (;;) {
      for (const line of this.#lines) {
        const match = pattern.exec(line);
        if (match !== null) return match;
      }
      if (this.#hasEnded) throw new Error(`${this.name} ended (${await this.#ended}) before it said ${pattern}:\n${this.lastLines}`);
      if (Date.now() > deadline) throw new Error(`${this.name} did not say ${pattern} in ${milliseconds / 1_000} s:\n${this.lastLines}`);
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
        setTimeout(resolve, 200);
      });
    }
  }

  /** Sends a signal, and kills the process if it takes more milliseconds than that to end by it; resolves when it has ended. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', milliseconds = endMilliseconds): Promise<number | string> {
    if (!this.#hasEnded) this.#process.kill(signal);
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), milliseconds);
    return this.#ended.finally(() => clearTimeout(timer));
  }

  #hear(text: string): void {
    this.#lines.push(...text.split('\n').filter((line) => line !== ''));
    this.#lines.splice(0, Math.max(0, this.#lines.length - linesKept));
    this.#notify();
  }

  #notify(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
