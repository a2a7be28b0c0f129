// One simulated computer: memory, module table and programs, on a processor that it shares with other devices.

import type { Taint } from './accesses/taint.ts';
import { explainTrap, type Trap, type Violation } from './accesses/trap.ts';
import type { DriverImage, Image } from './images/image.ts';
import type { ImageInterface } from './images/stamp.ts';
import { isVerified, unverifiedMessage, type VerifiedImage } from './images/verified-image.ts';
import type { LoadReport, VersionPolicy } from './isolation/load-report.ts';
import type { DeviceThread, LoadRequest } from './isolation/load-request.ts';
import type { LoadedImage } from './isolation/loaded-image.ts';
import { runIsolationWorkflow } from './isolation/loader.ts';
import { type LinkedInterface, ModuleTable } from './isolation/module-table.ts';
import { RetiredImages } from './isolation/retired-images.ts';
import { LimitError } from './limit.ts';
import { formatAddress, pageBytes, RandomAccessMemory } from './memory/random-access-memory.ts';
import type { Processor } from './processor.ts';
import { HostCall, type HostCallRequest } from './programs/host-call.ts';
import { Program, type ProgramDependencies, ProgramError, type ProgramRequest, type ProgramStatistics } from './programs/program.ts';
import type { ThreadGroup } from './threads/run-queue.ts';
import type { Effect, Frame, Thread } from './threads/thread.ts';

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
  moduleTable: {
    module: string;
    version: string;
    image: string;
    address: string;
    referenceCount: number;
    /** Abnormal ends of accesses inside the image, which has state; null where there were none. */
    tainted: Taint | null;
  }[];
  memoryMap: {
    pageBytes: typeof pageBytes;
    pages: number;
    usedPages: number;
    ranges: {
      address: string;
      pages: number;
      owner: { module: string; version: string };
      present: boolean;
      valid: boolean;
      nx: boolean;
      /** Whether another image gets these pages when it needs them: nothing is inside the image, and no program holds its address. */
      reclaimable: boolean;
    }[];
  };
  programs: ProgramStatistics[];
  /** Findings of the ABI test: how many there were, and those that the device remembers. */
  abiViolations: { total: number; newest: AbiViolation[] };
};

/** A finding of the ABI test, with how often the program has faulted by it and when, first and last (RFC 3339, UTC). */
export type AbiViolation = Violation & { readonly at: string; readonly lastAt: string; readonly faults: number };

/** How a load is carried out; what is left out is as in the patent: whoever is inside is interrupted, and the old pages are marked NX. */
export type LoadOptions = Partial<Omit<LoadRequest, 'image' | 'versionPolicy' | 'downgradeReason'>> & {
  readonly image: VerifiedImage;
  /** `newer`: only a version of higher precedence. `different`: any other. `downgrade`: any other, for the reason given. */
  readonly versionPolicy?: Exclude<VersionPolicy, 'downgrade'> | { readonly downgrade: string };
};

/** Settings of a load where the options say nothing else. Drains wait 10 s. */
const defaultLoad = {
  signedBy: [],
  strategy: 'inject',
  drainMilliseconds: 10_000,
  invalidation: 'nx',
  downgradeReason: null,
  similarityPolicy: 'require',
} as const satisfies Omit<LoadRequest, 'image' | 'versionPolicy'>;

/** Programs that a device remembers; when it is reached, the oldest that has ended is forgotten. */
const programLimit = 1_000;
/** Findings of the ABI test that a device remembers; of more, the one whose last fault is the longest ago is forgotten. */
const violationLimit = 1_000;

/** @throws {ProgramError} when the image is no driver, or was not verified. */
function driverOf(image: Image): DriverImage {
  if (image.kind !== 'driver') throw new ProgramError(`${image.digest} is a module's image, not a program's driver`);
  if (!isVerified(image)) throw new ProgramError(unverifiedMessage(image));
  return image;
}

export class Device {
  readonly #processor: Processor;
  readonly #memory: RandomAccessMemory;
  readonly #moduleTable: ModuleTable;
  readonly #group: ThreadGroup<Thread>;
  readonly #programs = new Map<string, Program>();
  readonly #entries: HostCall[] = [];
  readonly #onEffects: NonNullable<DeviceOptions['onEffects']>;
  /** By program and address, in the order of their last faults. */
  readonly #violations = new Map<string, AbiViolation>();
  #violationsFound = 0;
  /** Images that have a record: in memory, or deleted while a program may hold the address. */
  readonly #images = new Set<LoadedImage>();
  readonly #retired: RetiredImages;
  /** Loads run one at a time, in the order of their coming. */
  #lastLoad: Promise<unknown> = Promise.resolve();

  constructor(options: DeviceOptions) {
    this.#processor = options.processor;
    this.#memory = new RandomAccessMemory(options.ramPages);
    this.#moduleTable = new ModuleTable(options.processor, () => this.#linked());
    this.#retired = new RetiredImages(
      this.#memory,
      () => this.#programs.values(),
      (image) => this.#images.delete(image),
    );
    this.#group = options.processor.createGroup();
    this.#onEffects = options.onEffects ?? (() => {});
  }

  /** Runs the isolation workflow; every load ends in one outcome, and a refused or failed one changes nothing. */
  load({ image, versionPolicy = 'newer', ...options }: LoadOptions): Promise<LoadReport> {
    const precedence =
      typeof versionPolicy === 'string'
        ? { versionPolicy }
        : ({ versionPolicy: 'downgrade', downgradeReason: versionPolicy.downgrade } as const);
    return this.#inTurn(() => this.#load({ image, ...defaultLoad, ...options, ...precedence }));
  }

  /** Puts a module back that was in memory before a reboot: the same workflow, without the comparison of versions. */
  restore(image: VerifiedImage): Promise<LoadReport> {
    return this.#inTurn(() => this.#load({ image, ...defaultLoad, similarityPolicy: 'off', versionPolicy: 'any' }));
  }

  /**
   * Starts a program.
   * @throws {ProgramError} when it cannot be started; the message says why.
   */
  startProgram(request: Omit<ProgramRequest, 'driver'> & { readonly driver: VerifiedImage }): void {
    const driver = driverOf(request.driver);
    if (this.#programs.has(request.program)) throw new ProgramError(`the program ${request.program} has been started already`);
    this.#makeRoom();
    try {
      this.#programs.set(request.program, new Program({ ...request, driver }, this.#surroundingsOf(driver)));
    } catch (error) {
      throw error instanceof LimitError ? new ProgramError(error.message) : error;
    }
  }

  /**
   * Opens an export to calls from JavaScript, until the device is closed.
   * @throws {ProgramError} when it cannot be opened; the message says why.
   */
  openHostCall(request: Omit<HostCallRequest, 'driver'> & { readonly driver: VerifiedImage }): HostCall {
    const driver = driverOf(request.driver);
    if (this.#entries.length >= programLimit) throw new ProgramError(`the device has ${programLimit} entries, its limit`);
    try {
      const entry = new HostCall({ ...request, driver }, this.#surroundingsOf(driver));
      this.#entries.push(entry);
      return entry;
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

  /** Findings of the ABI test: programs that held on to the address of code that had gone, in the order of their last faults. */
  abiViolations(): AbiViolation[] {
    return [...this.#violations.values()];
  }

  /** Whether a program runs: if none does, only what is asked of the device changes it. */
  get hasRunningPrograms(): boolean {
    for (const program of this.#programs.values()) if (program.isRunning) return true;
    return false;
  }

  /** What the device looks like now. */
  state(): DeviceState {
    const reclaimable = this.#retired.reclaimableRanges();
    return {
      at: new Date().toISOString(),
      moduleTable: this.#moduleTable.loaded.map(({ image, range, referenceCount, tainted }) => ({
        module: image.stamp.module,
        version: image.stamp.version,
        image: image.digest,
        address: formatAddress(range.firstPage),
        referenceCount,
        tainted,
      })),
      memoryMap: {
        pageBytes,
        pages: this.#memory.pages,
        usedPages: this.#memory.usedPages,
        ranges: this.#memory.ranges.map((range) => {
          const { firstPage, pages, owner, present, valid, nx } = range;
          return { address: formatAddress(firstPage), pages, owner, present, valid, nx, reclaimable: reclaimable.has(range) };
        }),
      },
      programs: [...this.#programs.values()].map((program) => program.statistics()),
      abiViolations: { total: this.#violationsFound, newest: this.abiViolations() },
    };
  }

  /** Stops every program and takes the device out of the processor. */
  async close(): Promise<void> {
    await this.#lastLoad;
    await Promise.all([...this.#programs.values()].map((program) => program.stop()));
    await Promise.all(this.#entries.map((entry) => entry.close()));
    for (const image of this.#images) image.release();
    this.#images.clear();
    this.#moduleTable.close();
  }

  #inTurn<Result>(run: () => Promise<Result>): Promise<Result> {
    const result = this.#lastLoad.then(run);
    this.#lastLoad = result.catch(() => {});
    return result;
  }

  #load(request: LoadRequest<Image>): Promise<LoadReport> {
    return runIsolationWorkflow(
      {
        processor: this.#processor,
        memory: this.#memory,
        moduleTable: this.#moduleTable,
        threads: () => this.#threads(),
        addImage: (image) => this.#images.add(image),
        programsHolding: (record) => [...this.#programs.values()].filter((program) => program.holdsAddressOf(record)).map(({ id }) => id),
        retired: this.#retired,
      },
      request,
    );
  }

  #surroundingsOf(driver: Image): ProgramDependencies {
    // Not the driver itself: a program keeps its surroundings when it has ended.
    const { imports } = driver.stamp.interface;
    return {
      processor: this.#processor,
      group: this.#group,
      deviceImports: { patchbay: { space: this.#memory.table }, ...this.#moduleTable.importsFor(driver) },
      versionOf: (record) => this.#processor.images.get(record)?.image.stamp.version ?? '',
      explainTrap: (error, frames, program) => this.#explainTrap(error, frames, { program, imports }),
      onEffects: this.#onEffects,
    };
  }

  #explainTrap(
    error: unknown,
    frames: readonly Frame[],
    { program, imports }: { readonly program: string; readonly imports: ImageInterface['imports'] },
  ): Trap {
    const trap = explainTrap(error, frames, this.#processor, imports);
    if (trap.violation !== null) this.#noteViolation({ program, ...trap.violation });
    return trap;
  }

  #noteViolation(violation: Violation): void {
    const key = `${violation.program} ${violation.address} ${violation.version}`;
    const known = this.#violations.get(key);
    const lastAt = new Date().toISOString();
    if (known === undefined) this.#violationsFound += 1;
    // Taken out first, so that it comes last.
    this.#violations.delete(key);
    this.#violations.set(key, { ...violation, at: known?.at ?? lastAt, lastAt, faults: (known?.faults ?? 0) + 1 });
    const [oldest] = this.#violations.keys();
    if (this.#violations.size > violationLimit && oldest !== undefined) this.#violations.delete(oldest);
  }

  /** Images linked to the module table: those that may be entered, and the drivers of running programs. */
  *#linked(): Iterable<LinkedInterface> {
    for (const { stamp } of this.#images) if (stamp !== null) yield { module: stamp.module, ...stamp.interface };
    for (const program of this.#programs.values()) if (program.isRunning) yield { module: null, exports: [], imports: program.imports };
    for (const { imports } of this.#entries) yield { module: null, exports: [], imports };
  }

  *#threads(): Iterable<DeviceThread> {
    for (const program of this.#programs.values()) {
      for (const thread of program.threads) {
        yield { thread, program: program.id, recovery: program.recovery, onInterrupt: () => program.countInterruption() };
      }
    }
    for (const entry of this.#entries) {
      for (const thread of entry.threads) yield { thread, program: entry.id, recovery: 'module', onInterrupt: () => {} };
    }
  }

  #makeRoom(): void {
    if (this.#programs.size < programLimit) return;
    const ended = [...this.#programs.values()].find((program) => !program.isRunning);
    if (ended === undefined) throw new ProgramError(`the device runs ${programLimit} programs, its limit: stop one first`);
    this.#programs.delete(ended.id);
  }
}
