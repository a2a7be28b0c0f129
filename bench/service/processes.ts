// The processes of the benchmark, started as a user starts them and looked at from outside.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';

/** A process that has been told to end is killed after this, in milliseconds: it may have a profile to write. */
const endMilliseconds = 60_000;
/** How long a process may take to say that it is ready, in milliseconds. */
const readyMilliseconds = 120_000;
/** Linux counts processor time in these. */
const tickMilliseconds = 10;

/** How a process is run: what file, with which flags of the runtime beside those for a profile. */
type Running = { readonly profile?: string | null; readonly file?: string; readonly flags?: readonly string[] };

const running = new Set<MeasuredProcess>();
process.once('exit', () => {
  for (const one of running) one.kill();
});

/** Ends every process of the benchmark that still runs. */
export async function endAll(): Promise<void> {
  await Promise.all([...running].map((one) => one.end()));
}

export class MeasuredProcess {
  readonly #child: PatchbayProcess;
  #isAsked = false;

  /**
   * Starts a file with its arguments, by itself `patchbay`.
   * @param profile Folder in which it leaves a folder of its own with CPU profiles when it ends; null: it leaves none.
   */
  constructor(name: string, args: readonly string[], { profile = null, file, flags = [] }: Running = {}) {
    const profiling = profile === null ? [] : ['--cpu-prof', '--cpu-prof-dir', join(profile, name)];
    this.#child = new PatchbayProcess(name, args, { file, flags: [...profiling, ...flags] });
    running.add(this);
    this.#child.exited.then((end) => {
      running.delete(this);
      if (!this.#isAsked) process.stderr.write(`${name} ended by itself (${end}):\n${this.#child.lastLines}\n`);
    });
  }

  /** The first match in what it says. @throws {Error} when it ends without, or takes too long. */
  says(pattern: RegExp): Promise<RegExpMatchArray> {
    return this.#child.waitForLine(pattern, readyMilliseconds);
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
    await this.#child.stop('SIGTERM', endMilliseconds);
  }

  kill(): void {
    this.#isAsked = true;
    void this.#child.stop('SIGKILL');
  }

  #told(file: string): string {
    try {
      return readFileSync(`/proc/${this.#child.pid}/${file}`, 'utf8');
    } catch {
      return '';
    }
  }
}
