// One simulated computer: memory, module table and programs, on a processor that it shares with other devices.

import type { Image } from './image.ts';
import { LimitError } from './limit.ts';
import { type LoadReport, StepRecorder } from './load-report.ts';
import { type LoadRequest, runIsolationWorkflow } from './loader.ts';
import { ModuleTable } from './module-table.ts';
import type { Processor } from './processor.ts';
import { Program, ProgramError, type ProgramRequest, type ProgramStatistics, type ProgramSurroundings } from './program.ts';
import { pageBytes, printAddress, RandomAccessMemory } from './random-access-memory.ts';
import type { Effect, Thread } from './thread.ts';
import { explainTrap } from './trap.ts';

export type DeviceOptions = {
  readonly processor: Processor;
  /** Pages of 4 KiB of executable memory, from 2. */
  readonly ramPages: number;
  /** Told of the effects of each completed call; each once. */
  readonly onEffects?: (program: string, effects: readonly Effect[]) => void;
};

export type DeviceState = {
  /** RFC 3339, UTC. */
  at: string;
  moduleTable: { module: string; version: string; image: string; address: string; referenceCount: number }[];
  memoryMap: {
    pageBytes: typeof pageBytes;
    pages: number;
    usedPages: number;
    ranges: { address: string; pages: number; owner: { module: string; version: string }; present: boolean; valid: boolean; nx: boolean }[];
  };
  programs: ProgramStatistics[];
};

/** Programs that a device remembers; when it is reached, the oldest that has ended is forgotten. */
const programLimit = 1_000;

export class Device {
  readonly #processor: Processor;
  readonly #memory: RandomAccessMemory;
  readonly #moduleTable: ModuleTable;
  readonly #programs = new Map<string, Program>();
  readonly #onEffects: NonNullable<DeviceOptions['onEffects']>;
  /** Loads run one at a time, in the order of their coming. */
  #lastLoad: Promise<unknown> = Promise.resolve();

  constructor(options: DeviceOptions) {
    this.#processor = options.processor;
    this.#memory = new RandomAccessMemory(options.ramPages);
    this.#moduleTable = new ModuleTable(options.processor);
    this.#onEffects = options.onEffects ?? (() => {});
  }

  /** Runs the isolation workflow; every load ends in one outcome, and a refused or failed one changes nothing. */
  load(request: { readonly image: Image; readonly strategy: 'inject'; readonly invalidation: 'nx' }): Promise<LoadReport> {
    return this.#inTurn(request.image, { strategy: request.strategy, invalidation: request.invalidation, comparison: 'required' });
  }

  /** Puts a module back that was in memory before a reboot: the same workflow, without the comparison of versions. */
  restore(image: Image): Promise<LoadReport> {
    return this.#inTurn(image, { strategy: 'inject', invalidation: 'nx', comparison: 'none' });
  }

  /**
   * Starts a program.
   * @throws {ProgramError} when it cannot be started; the message says why.
   */
  startProgram(request: Omit<ProgramRequest, 'driver'> & { readonly driver: Image }): void {
    const { driver } = request;
    if (driver.kind !== 'driver') throw new ProgramError(`${driver.digest} is a module's image, not a program's driver`);
    if (this.#programs.has(request.program)) throw new ProgramError(`the program ${request.program} has been started already`);
    this.#makeRoom();
    try {
      this.#programs.set(request.program, new Program({ ...request, driver }, this.#surroundingsOf(driver)));
    } catch (error) {
      throw error instanceof LimitError ? new ProgramError(error.message) : error;
    }
  }

  /**
   * Ends a program's threads, whatever they are inside of.
   * @throws {ProgramError} when there is no such program.
   */
  async stopProgram(program: string): Promise<void> {
    const found = this.#programs.get(program);
    if (found === undefined) throw new ProgramError(`the device has no program ${program}`);
    await found.stop();
  }

  /** What the device looks like now. */
  state(): DeviceState {
    return {
      at: new Date().toISOString(),
      moduleTable: this.#moduleTable.loaded.map(({ image, range, referenceCount }) => ({
        module: image.stamp.module,
        version: image.stamp.version,
        image: image.digest,
        address: printAddress(range.firstPage),
        referenceCount,
      })),
      memoryMap: {
        pageBytes,
        pages: this.#memory.pages,
        usedPages: this.#memory.usedPages,
        ranges: this.#memory.ranges.map(({ firstPage, ...range }) => ({ address: printAddress(firstPage), ...range })),
      },
      programs: [...this.#programs.values()].map((program) => program.statistics()),
    };
  }

  /** Stops every program and takes the device out of the processor. */
  async close(): Promise<void> {
    await this.#lastLoad;
    await Promise.all([...this.#programs.values()].map((program) => program.stop()));
    this.#moduleTable.close();
  }

  #inTurn(image: Image, how: Omit<LoadRequest, 'image'>): Promise<LoadReport> {
    const load = this.#lastLoad.then(() => this.#run(image, how));
    this.#lastLoad = load.catch(() => {});
    return load;
  }

  async #run(image: Image, how: Omit<LoadRequest, 'image'>): Promise<LoadReport> {
    if (image.kind !== 'module') return this.#refuseDriver(image);
    return runIsolationWorkflow(
      {
        processor: this.#processor,
        memory: this.#memory,
        moduleTable: this.#moduleTable,
        threads: () => this.#threads(),
        interrupted: (program, accesses) => this.#programs.get(program)?.interrupted(accesses),
      },
      { image, ...how },
    );
  }

  #refuseDriver(image: Image): LoadReport {
    const recorder = new StepRecorder(this.#processor.clock);
    const { module, version } = image.stamp;
    const reason = `${image.digest} is a program's driver, not a module's image`;
    recorder.record('received', { module, version, image: image.digest, bytes: image.bytes });
    recorder.record('refused', { reason });
    const microseconds = recorder.elapsed;
    recorder.record('completed', { outcome: 'refused-image', microseconds });
    const { steps } = recorder;
    return { outcome: 'refused-image', reason, previous: null, current: null, interrupted: 0, retried: 0, failed: 0, microseconds, steps };
  }

  #surroundingsOf(driver: Image): ProgramSurroundings {
    return {
      processor: this.#processor,
      deviceImports: { patchbay: { space: this.#memory.table }, ...this.#moduleTable.importsFor(driver) },
      versionOf: (record) => this.#processor.images.get(record)?.image.stamp.version ?? '',
      explainTrap: (error, records) => explainTrap(error, records, this.#processor, this.#memory),
      onEffects: this.#onEffects,
    };
  }

  *#threads(): Iterable<{ thread: Thread; program: string }> {
    for (const program of this.#programs.values()) for (const thread of program.threads) yield { thread, program: program.id };
  }

  #makeRoom(): void {
    if (this.#programs.size < programLimit) return;
    const ended = [...this.#programs.values()].find((program) => !program.isRunning);
    if (ended === undefined) throw new ProgramError(`the device runs ${programLimit} programs, its limit: stop one first`);
    this.#programs.delete(ended.id);
  }
}
