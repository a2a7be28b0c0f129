// A simulated computer: memory, module table and programs, on a processor that it shares with other devices.

import type { Taint } from './accesses/taint.ts';
import { explainTrap, type Trap, type Violation } from './accesses/trap.ts';
import type { DriverImage, Image } from './images/image.ts';
import type { ImageInterface } from './images/stamp.ts';
import { isVerified, unverifiedMessage, type VerifiedImage } from './images/verified-image.ts';
import type { Drain, DrainState } from './isolation/drain.ts';
import type { LoadReport, VersionPolicy } from './isolation/load-report.ts';
import { type ArrivingImage, type DeviceThread, type LoadRequest, type MemberRequest, moduleOf } from './isolation/load-request.ts';
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
  /** Size of the executable memory in pages of 4 KiB; minimum 2. */
  readonly ramPages: number;
  /** Called with the effects of each completed call, exactly once per call. */
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
    /** Abnormal exits of accesses inside the image; null if there were none, or if the image has no state. */
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
      /** Whether these pages can be given to another image: no access is inside, and no program holds the address. */
      reclaimable: boolean;
    }[];
  };
  programs: ProgramStatistics[];
  /** The load that waits for the accesses inside the old version to exit; absent if none does. */
  draining?: DrainState;
  /** Violations of the ABI: how many were found, and the most recent ones. */
  abiViolations: { total: number; newest: AbiViolation[] };
};

/** A violation of the ABI, with the number of faults and the times of the first and last one (RFC 3339, UTC). */
export type AbiViolation = Violation & { readonly at: string; readonly lastAt: string; readonly faults: number };

type IsolationOptions = Pick<LoadRequest, 'strategy' | 'drainMilliseconds' | 'invalidation'>;

/** Options of every load. The defaults are the patent's: interrupt the accesses inside the old version, and mark its pages NX. */
type Policies = Partial<IsolationOptions & Pick<LoadRequest, 'similarityPolicy' | 'linkPolicy'>> & {
  /** `newer`: only a version of higher precedence. `different`: any other version. `downgrade`: any other version, with a reason. */
  readonly versionPolicy?: Exclude<VersionPolicy, 'downgrade'> | { readonly downgrade: string };
};

type Signatures = Partial<Pick<ArrivingImage, 'signedBy'>>;

export type LoadOptions = Policies & Signatures & { readonly image: VerifiedImage };

/** Maximum members of a patch set. */
export const patchSetLimit = 16;

/** Options of a load of a patch set: each module at most once. */
export type PatchSetOptions = Policies & {
  readonly members: readonly ((Signatures & { readonly image: VerifiedImage }) | { readonly unload: string })[];
};

export type UnloadOptions = Partial<IsolationOptions> & {
  readonly module: string;
  /** Why the module is unloaded although modules in memory import it; null if it then stays. */
  readonly forceReason?: string | null;
};

/** Default load options. Drains wait 10 s. */
const defaultLoad = {
  strategy: 'inject',
  drainMilliseconds: 10_000,
  invalidation: 'nx',
  downgradeReason: null,
  similarityPolicy: 'require',
  linkPolicy: 'require',
  forceReason: null,
} as const satisfies Omit<LoadRequest, 'kind' | 'members' | 'versionPolicy'>;

/** Programs that a device stores. At the limit, a new program replaces the oldest one that has ended. */
const programLimit = 1_000;
/** ABI violations that a device stores. Past the limit, the one that faulted least recently is dropped. */
const violationLimit = 1_000;

/** Returns the image as a driver. @throws {ProgramError} if the image is not a driver or is not verified. */
function driverOf(image: Image): DriverImage {
  if (image.kind !== 'driver') throw new ProgramError(`${image.digest} is a module image: expected a driver image`);
  if (!isVerified(image)) throw new ProgramError(unverifiedMessage(image));
  return image;
}

/** Returns the request of a load without its members. */
function requestOf({ versionPolicy = 'newer', ...policies }: Policies): Omit<LoadRequest, 'kind' | 'members'> {
  if (typeof versionPolicy === 'string') return { ...defaultLoad, ...policies, versionPolicy };
  return { ...defaultLoad, ...policies, versionPolicy: 'downgrade', downgradeReason: versionPolicy.downgrade };
}

/** @throws {RangeError} if the members are not those of a patch set, or if programs with hard-coded addresses could run old members with new ones. */
function checkPatchSet(members: readonly MemberRequest<Image>[], { invalidation }: Policies): void {
  if (members.length < 1 || members.length > patchSetLimit)
    throw new RangeError(`a patch set has 1 to ${patchSetLimit} members, received ${members.length}`);
  const modules = members.map(moduleOf);
  const repeated = modules.find((module, index) => modules.indexOf(module) !== index);
  if (repeated !== undefined) throw new RangeError(`a patch set has each module once: ${repeated} occurs twice`);
  if (invalidation === 'none')
    throw new RangeError('a patch set cannot leave the pages of old versions executable: use nx, mark-invalid or delete');
}

export class Device {
  readonly #processor: Processor;
  readonly #memory: RandomAccessMemory;
  readonly #moduleTable: ModuleTable;
  readonly #group: ThreadGroup<Thread>;
  readonly #programs = new Map<string, Program>();
  readonly #hostCalls: HostCall[] = [];
  readonly #onEffects: NonNullable<DeviceOptions['onEffects']>;
  /** By program and address, least recent fault first. */
  readonly #violations = new Map<string, AbiViolation>();
  #violationsFound = 0;
  /** Images that have a record: in memory, or deleted while a program may still hold their address. */
  readonly #images = new Set<LoadedImage>();
  readonly #retired: RetiredImages;
  /** Loads run one at a time, in order of arrival. */
  #lastLoad: Promise<unknown> = Promise.resolve();
  /** The drain of the running load; null if it does not drain. */
  #drain: Drain | null = null;

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

  /** Runs the isolation workflow. Every load ends in one outcome; a refused or failed load changes nothing. */
  load({ image, signedBy = [], ...policies }: LoadOptions): Promise<LoadReport> {
    return this.#runSerially(() => this.#load({ ...requestOf(policies), kind: 'build', members: [{ image, signedBy }] }));
  }

  /**
   * Loads the members of a patch set as one: all entries swap at one safepoint, and if one member is refused or fails, nothing changes. Members that are
   * in memory already stay.
   * @throws {RangeError} if the set has no member, more than `patchSetLimit`, a module twice, or pages that stay executable.
   */
  async loadPatchSet({ members, ...policies }: PatchSetOptions): Promise<LoadReport> {
    const requested = members.map((member) => ('unload' in member ? member : { signedBy: [], ...member }));
    checkPatchSet(requested, policies);
    return this.#runSerially(() => this.#load({ ...requestOf(policies), kind: 'patch-set', members: requested }));
  }

  /** Takes a module out of memory (claims 8 and 17): accesses inside exit by themselves or are interrupted, and later ones fault. */
  unload({ module, ...options }: UnloadOptions): Promise<LoadReport> {
    return this.#runSerially(() =>
      this.#load({ ...defaultLoad, ...options, versionPolicy: 'newer', kind: 'unload', members: [{ unload: module }] }),
    );
  }

  /** Restores a module after a reboot: runs the same workflow without comparing versions or checking links, so that the order does not matter. */
  restore(image: VerifiedImage): Promise<LoadReport> {
    const policies = { similarityPolicy: 'off', linkPolicy: 'off', versionPolicy: 'any' } as const;
    return this.#runSerially(() => this.#load({ ...defaultLoad, ...policies, kind: 'build', members: [{ image, signedBy: [] }] }));
  }

  /**
   * Ends the wait of a draining load, whatever its strategy: interrupts the accesses inside the old version at the next safepoint.
   * Returns `not-draining`, and changes nothing, if no load drains or its drain ends in another way before.
   */
  async interruptDrain(): Promise<'interrupted' | 'not-draining'> {
    return (await this.#drain?.interrupt()) ? 'interrupted' : 'not-draining';
  }

  /**
   * Cancels a draining load at the next safepoint: the old version is in the module table again, and the load ends as `cancelled` with the reason.
   * Returns `not-draining`, and changes nothing, if no load drains or its drain ends in another way before.
   */
  async cancelDrain(reason: string): Promise<'cancelled' | 'not-draining'> {
    return (await this.#drain?.cancel(reason)) ? 'cancelled' : 'not-draining';
  }

  /**
   * Starts a program.
   * @throws {ProgramError} if the program cannot be started; the message says why.
   */
  startProgram(request: Omit<ProgramRequest, 'driver'> & { readonly driver: VerifiedImage }): void {
    const driver = driverOf(request.driver);
    if (this.#programs.has(request.program)) throw new ProgramError(`program ${request.program} is already started`);
    this.#evictEndedProgram();
    try {
      this.#programs.set(request.program, new Program({ ...request, driver }, this.#dependenciesOf(driver)));
    } catch (error) {
      throw error instanceof LimitError ? new ProgramError(error.message) : error;
    }
  }

  /**
   * Opens an export for calls from JavaScript, until the device is closed.
   * @throws {ProgramError} if the export cannot be opened; the message says why.
   */
  openHostCall(request: Omit<HostCallRequest, 'driver'> & { readonly driver: VerifiedImage }): HostCall {
    const driver = driverOf(request.driver);
    if (this.#hostCalls.length >= programLimit) throw new ProgramError(`limit reached (${programLimit} open host calls per device)`);
    try {
      const hostCall = new HostCall({ ...request, driver }, this.#dependenciesOf(driver));
      this.#hostCalls.push(hostCall);
      return hostCall;
    } catch (error) {
      throw error instanceof LimitError ? new ProgramError(error.message) : error;
    }
  }

  /**
   * Stops a program: ends its threads, including those inside a module.
   * @throws {ProgramError} if the device has no such program.
   */
  async stopProgram(program: string): Promise<void> {
    const found = this.#programs.get(program);
    if (found === undefined) throw new ProgramError(`the device has no program ${program}`);
    await found.stop();
  }

  /** Returns the ABI violations, least recent fault first. */
  abiViolations(): AbiViolation[] {
    return [...this.#violations.values()];
  }

  /** Whether a program is running. If not, the device changes only on request. */
  get hasRunningPrograms(): boolean {
    for (const program of this.#programs.values()) if (program.isRunning) return true;
    return false;
  }

  /** Returns a snapshot of the device. */
  state(): DeviceState {
    const reclaimable = this.#retired.reclaimableRanges();
    const draining = this.#drain?.state() ?? null;
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
      ...(draining === null ? {} : { draining }),
      abiViolations: { total: this.#violationsFound, newest: this.abiViolations() },
    };
  }

  /** Stops every program and detaches the device from the processor. */
  async close(): Promise<void> {
    await this.#lastLoad;
    await Promise.all([...this.#programs.values()].map((program) => program.stop()));
    await Promise.all(this.#hostCalls.map((hostCall) => hostCall.close()));
    for (const image of this.#images) image.release();
    this.#images.clear();
    this.#moduleTable.close();
  }

  #runSerially<Result>(run: () => Promise<Result>): Promise<Result> {
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
        setDrain: (drain) => {
          this.#drain = drain;
        },
      },
      request,
    );
  }

  #dependenciesOf(driver: Image): ProgramDependencies {
    // Capture the imports, not the driver: an ended program keeps its dependencies.
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
    const absentModuleAt = (record: number) => this.#moduleTable.moduleAt(record);
    const trap = explainTrap(error, frames, { images: this.#processor.images, absentModuleAt }, { program, imports });
    if (trap.violation !== null) this.#recordViolation({ program, ...trap.violation });
    return trap;
  }

  #recordViolation(violation: Violation): void {
    const key = `${violation.program} ${violation.address} ${violation.version}`;
    const known = this.#violations.get(key);
    const lastAt = new Date().toISOString();
    if (known === undefined) this.#violationsFound += 1;
    // Delete and reinsert, so that the most recent fault comes last.
    this.#violations.delete(key);
    this.#violations.set(key, { ...violation, at: known?.at ?? lastAt, lastAt, faults: (known?.faults ?? 0) + 1 });
    const [oldest] = this.#violations.keys();
    if (this.#violations.size > violationLimit && oldest !== undefined) this.#violations.delete(oldest);
  }

  /** Returns the interfaces linked to the module table: images that may be entered, and drivers of running programs. */
  *#linked(): Iterable<LinkedInterface> {
    for (const { stamp } of this.#images) if (stamp !== null) yield { module: stamp.module, ...stamp.interface };
    for (const program of this.#programs.values()) if (program.isRunning) yield { module: null, exports: [], imports: program.imports };
    for (const { imports } of this.#hostCalls) yield { module: null, exports: [], imports };
  }

  *#threads(): Iterable<DeviceThread> {
    for (const program of this.#programs.values()) {
      for (const thread of program.threads) {
        yield { thread, program: program.id, recovery: program.recovery, onInterrupt: () => program.countInterruption() };
      }
    }
    for (const hostCall of this.#hostCalls) {
      for (const thread of hostCall.threads) yield { thread, program: hostCall.id, recovery: 'module', onInterrupt: () => {} };
    }
  }

  #evictEndedProgram(): void {
    if (this.#programs.size < programLimit) return;
    const ended = [...this.#programs.values()].find((program) => !program.isRunning);
    if (ended === undefined) throw new ProgramError(`limit reached (${programLimit} running programs per device): stop a program first`);
    this.#programs.delete(ended.id);
  }
}
