// Starts, watches and stops a process of Patchbay.

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const commandFile = fileURLToPath(new URL('../../../bin/patchbay.js', import.meta.url));

/** Output lines kept in memory. */
const maxLines = 200;
/** Default time between the signal to end and SIGKILL. */
const stopMilliseconds = 5_000;

/** The script to run, and flags for Node. */
type Program = { readonly file?: string | undefined; readonly flags?: readonly string[] };

export class PatchbayProcess {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  readonly #exited: Promise<number | string>;
  readonly #waiting = new Set<() => void>();
  #hasExited = false;

  /**
   * Starts a script with these arguments, in the environment of this process.
   * @param program The default is `patchbay`, without flags for Node.
   */
  constructor(name: string, args: readonly string[], { file = commandFile, flags = [] }: Program = {}) {
    this.name = name;
    this.#process = spawn(process.execPath, [...flags, file, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => this.#addLines(text));
    this.#exited = new Promise((resolve) => {
      this.#process.on('error', (error) => resolve(error.message));
      this.#process.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
    });
    this.#exited.then(() => {
      this.#hasExited = true;
      this.#notify();
    });
  }

  /** The process ID; undefined if the process could not be started. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** The last 20 lines of both streams. */
  get lastLines(): string {
    return this.#lines.slice(-20).join('\n');
  }

  /** Resolves with the exit code, or the signal that ended the process. */
  get exited(): Promise<number | string> {
    return this.#exited;
  }

  /** Waits for the first output line that matches. @throws {Error} if the process exits first, or after this many milliseconds. */
  async waitForLine(pattern: RegExp, milliseconds = 30_000): Promise<RegExpMatchArray> {
    const deadline = Date.now() + milliseconds;
    for (;;) {
      for (const line of this.#lines) {
        const match = pattern.exec(line);
        if (match !== null) return match;
      }
      if (this.#hasExited)
        throw new Error(`${this.name} exited (${await this.#exited}) without a line that matches ${pattern}:\n${this.lastLines}`);
      if (Date.now() > deadline)
        throw new Error(`${this.name} printed no line that matches ${pattern} within ${milliseconds / 1_000} s:\n${this.lastLines}`);
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
        setTimeout(resolve, 200);
      });
    }
  }

  /** Sends a signal, and SIGKILL if the process still runs after this many milliseconds. Resolves when the process has exited. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', milliseconds = stopMilliseconds): Promise<number | string> {
    if (!this.#hasExited) this.#process.kill(signal);
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), milliseconds);
    return this.#exited.finally(() => clearTimeout(timer));
  }

  #addLines(text: string): void {
    this.#lines.push(...text.split('\n').filter((line) => line !== ''));
    this.#lines.splice(0, Math.max(0, this.#lines.length - maxLines));
    this.#notify();
  }

  #notify(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
