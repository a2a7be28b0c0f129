// The processes of the benchmark, started as a user starts them and observed from outside.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';

/** A process that was asked to stop is killed after this time, in milliseconds: it may have to write a profile. */
const endMilliseconds = 60_000;
/** Timeout until a process reports that it is ready, in milliseconds. */
const readyMilliseconds = 120_000;
/** Duration of a clock tick of Linux CPU times, in milliseconds. */
const tickMilliseconds = 10;

/** The file of a process, and the flags of its runtime besides those for profiling. */
type Running = { readonly profile?: string | null; readonly file?: string; readonly flags?: readonly string[] };

const running = new Set<MeasuredProcess>();
process.once('exit', () => {
  for (const one of running) one.kill();
});

/** Stops every process of the benchmark that is still running. */
export async function endAll(): Promise<void> {
  await Promise.all([...running].map((one) => one.end()));
}

export class MeasuredProcess {
  readonly #child: PatchbayProcess;
  #isAsked = false;

  /**
   * Starts a file, by default `patchbay`, with arguments.
   * @param profile Folder for CPU profiles, which the process writes when it ends; null: no profiles.
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

  /** Waits for the first match in the output. @throws {Error} if the process ends without a match, or the wait times out. */
  says(pattern: RegExp): Promise<RegExpMatchArray> {
    return this.#child.waitForLine(pattern, readyMilliseconds);
  }

  /** Returns the CPU time of all threads so far, in milliseconds; NaN if the system does not report it. */
  processorTime(): number {
    // The fields after the name, which can contain any characters: utime and stime are fields 14 and 15.
    const fields = this.#told('stat')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) * tickMilliseconds;
  }

  /** Returns the resident memory in bytes; NaN if the system does not report it. */
  residentBytes(): number {
    return Number(/VmRSS:\s+(\d+) kB/.exec(this.#told('status'))?.[1] ?? Number.NaN) * 1_024;
  }

  /** Resolves when the process has ended. */
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
