// Runs a set of random modules in plain V8 and on a device that interrupts and patches them at random, and compares results, traps and memories.

import { type Compilation, compile } from '../../src/compiler/compilation.ts';
import { CallError, Device, digestOf, type HostCall, Processor, type VerifiedImage } from '../../src/machine/index.ts';
import { entryTypes, type GeneratedModule, type GeneratedSet, generateSet, RandomNumbers } from './module-generator.ts';
import { readVerified } from './read-verified.ts';
import { SimulatedClock, settle } from './simulated-clock.ts';
import { assembleText } from './text-assembler.ts';

const ramPages = 16_384;
const stepLimit = 200_000;
/** Maximum work between two safepoints that suspend their thread. */
const workLimit = 4_000;
const minimumWork = 40;
/** Maximum patches during one batch of calls; less than the retries of an access. */
const patchLimit = 12;
/** Every n-th set is optimized by binaryen; the modules of the others are instrumented without optimization. */
const optimizedShare = 5;

export type RunOptions = {
  /** Indices of the calls to make; by default, all. */
  readonly calls?: readonly number[];
  /** Concurrent threads, in a pure set; by default, random. */
  readonly threads?: number;
  /** Whether modules are patched while calls run. */
  readonly patched?: boolean;
};

/** Statistics of a run without a difference. */
export type RunStatistics = { modules: number; calls: number; traps: number; patches: number; interrupted: number; steps: number };

/** A device returned something other than plain V8. */
export class Difference extends Error {
  override readonly name = 'Difference';
}

type Outcome = string;
const trapped: Outcome = 'trap';

type Prepared = { readonly module: GeneratedModule; readonly code: WebAssembly.Module; readonly image: VerifiedImage };

/** Compares the set of a seed. @throws {Difference} if the device differs; @throws {Error} if the compiler rejects a module. */
export async function compareSet(seed: number, options: RunOptions = {}): Promise<RunStatistics> {
  const set = generateSet(seed);
  const random = new RandomNumbers(seed ^ 0x5eed);
  const prepared: Prepared[] = [];
  const optimize = seed % optimizedShare === 0;
  for (const module of set.modules) prepared.push(await prepare(module, random, optimize));
  const run = new DeviceRun(set, prepared, random, options);
  try {
    await run.prepare();
    if (set.kind === 'pure') await run.runPure();
    else await run.runStateful();
    return { ...run.statistics, modules: set.modules.length };
  } finally {
    await run.close();
  }
}

/** Returns the smallest options with which the set of a seed still differs, and the difference; null if none of them differs. */
export async function shrink(seed: number): Promise<{ options: RunOptions; message: string } | null> {
  const set = generateSet(seed);
  const single = set.calls.map((_, index) => ({ calls: [index] }));
  const smaller: RunOptions[] = [
    ...single.map((calls) => ({ ...calls, threads: 1, patched: false })),
    { threads: 1, patched: false },
    ...single,
    { patched: false },
    {},
  ];
  for (const options of smaller) {
    try {
      await compareSet(seed, options);
    } catch (error) {
      return { options, message: error instanceof Error ? error.message : String(error) };
    }
  }
  return null;
}

async function prepare(module: GeneratedModule, random: RandomNumbers, optimize: boolean): Promise<Prepared> {
  const source = assembleText(module.text);
  const image = await compileImage(
    { kind: 'module', module: module.name, version: '1.0.0', language: 'wasm', source, optimize },
    minimumWork + random.below(workLimit),
  );
  return { module, code: new WebAssembly.Module(source), image };
}

/** Compiles an image. @param work The work that an access does before it yields again; for a module's image. */
async function compileImage(compilation: Compilation, work?: number): Promise<VerifiedImage> {
  const { result } = await compile(compilation);
  if (!result.ok) throw new Error(`not accepted: ${JSON.stringify(result.diagnostics)}`);
  const { image } = result.compiled;
  const bytes = work === undefined ? new Uint8Array(image) : withFuel(image, work);
  return readVerified(bytes, digestOf(bytes));
}

/** `i32.const 16384; local.set`: the refill of fuel after a suspension (src/compiler/fuel.ts). */
const refill = Buffer.from([0x41, 0x80, 0x80, 0x01, 0x21]);

/** Changes the fuel after each suspension in an image, so that short calls are suspended often. */
function withFuel(image: Uint8Array, work: number): Uint8Array<ArrayBuffer> {
  const patched = Buffer.from(image);
  const at = patched.indexOf(refill);
  // An image without loops and calls has no fuel.
  if (at >= 0) patched.set([(work & 127) | 128, ((work >> 7) & 127) | 128, 0], at + 1);
  return new Uint8Array(patched);
}

const drivers = new Map<string, Promise<VerifiedImage>>();

function driverOf(module: string, name: string, type: (typeof entryTypes)[number]): Promise<VerifiedImage> {
  const key = `${module} ${name} ${type.parameters} ${type.results}`;
  const driver = drivers.get(key) ?? compileImage({ kind: 'driver', module, export: name, type, addressing: 'via-table' });
  drivers.set(key, driver);
  return driver;
}

/** Runs the set in plain V8. */
class Reference {
  readonly #prepared: readonly Prepared[];
  #exports: WebAssembly.Instance['exports'][] = [];

  constructor(prepared: readonly Prepared[]) {
    this.#prepared = prepared;
    this.restart();
  }

  /** Instantiates all modules again, as a patch of all modules does. */
  restart(): void {
    const imports: Record<string, Record<string, WebAssembly.ImportValue>> = {};
    this.#exports = this.#prepared
      .toReversed()
      .map(({ module, code }) => {
        const { exports } = new WebAssembly.Instance(code, imports);
        imports[module.name] = Object.fromEntries(
          Object.entries(exports).flatMap(([name, value]) => (isImportable(value) ? [[name, value]] : [])),
        );
        return exports;
      })
      .toReversed();
  }

  call(name: string, values: readonly (number | bigint)[], index = 0): Outcome {
    const called = this.#exports[index]?.[name];
    if (typeof called !== 'function') throw new Error(`no export ${name}`);
    try {
      return printed(called(...values));
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError || error instanceof RangeError)) throw error;
      this.#returnStacks();
      return trapped;
    }
  }

  /** Resets the stack pointers, which a trap leaves unchanged; a device resets the stack. */
  #returnStacks(): void {
    for (const exports of this.#exports) {
      const pointer = exports['__stack_pointer'] ?? exports['sp'];
      if (pointer instanceof WebAssembly.Global) pointer.value = 32_768;
    }
  }
}

function isImportable(value: unknown): value is WebAssembly.ImportValue {
  return typeof value === 'function' || value instanceof WebAssembly.Global;
}

function printed(results: unknown): Outcome {
  const list = Array.isArray(results) ? results : results === undefined ? [] : [results];
  return list.map((value) => (Object.is(value, -0) ? '-0' : String(value))).join(', ');
}

class DeviceRun {
  readonly statistics: RunStatistics = { modules: 0, calls: 0, traps: 0, patches: 0, interrupted: 0, steps: 0 };
  readonly #set: GeneratedSet;
  readonly #prepared: readonly Prepared[];
  readonly #random: RandomNumbers;
  readonly #options: RunOptions;
  readonly #reference: Reference;
  readonly #time = new SimulatedClock();
  readonly #processor = new Processor({ clock: this.#time });
  readonly #device = new Device({ processor: this.#processor, ramPages });
  #run: HostCall | null = null;
  #checksums: HostCall[] = [];

  constructor(set: GeneratedSet, prepared: readonly Prepared[], random: RandomNumbers, options: RunOptions) {
    this.#set = set;
    this.#prepared = prepared;
    this.#random = random;
    this.#options = options;
    this.#reference = new Reference(prepared);
    this.#time.begin(() => random.chance(50), random.chance(70) ? 5 : 0.2);
  }

  async prepare(): Promise<void> {
    const type = entryTypes[this.#set.modules[0]?.entryType ?? 0];
    if (type === undefined) throw new Error('the set has no entry');
    for (const { image } of this.#prepared.toReversed()) await this.#load(image);
    this.#run = this.#device.openHostCall({ program: 'run', driver: await driverOf('a', 'run', type) });
    for (const { module } of this.#prepared) {
      const driver = await driverOf(module.name, 'checksum', { parameters: [], results: ['i64'] });
      this.#checksums.push(this.#device.openHostCall({ program: `checksum-${module.name}`, driver }));
    }
  }

  async close(): Promise<void> {
    const closed = this.#device.close();
    await this.#until(closed).catch(() => {});
    this.#processor.close();
  }

  /** Runs the calls of a pure set on several threads, while any module is patched at any time. */
  async runPure(): Promise<void> {
    const indices = this.#calls();
    const threads = this.#options.threads ?? 1 + this.#random.below(8);
    while (indices.length > 0) {
      const batch = indices.splice(0, threads);
      const calls = batch.map((index) => this.#call(index));
      const outcomes = await this.#until(Promise.all(calls), () => this.#patchOne());
      for (const [place, index] of batch.entries())
        this.#compare(index, outcomes[place] ?? '', this.#reference.call('run', this.#set.calls[index] ?? []));
    }
    await this.#compareMemories();
  }

  /**
   * Runs the calls of a stateful set one after another. A patch starts with new memories, so all modules are patched between calls; a set of one module
   * is also patched during a call.
   */
  async runStateful(): Promise<void> {
    for (const index of this.#calls()) {
      const values = this.#set.calls[index] ?? [];
      const isPatched = this.#isPatched && this.#prepared.length === 1 && this.#random.chance(30);
      let interrupted = 0;
      let patches = 0;
      const patch = async () => {
        if (!isPatched || patches > 0) return;
        patches += 1;
        interrupted = await this.#patchOne();
      };
      const outcome = await this.#until(this.#call(index), patch);
      if (patches > 0 && interrupted > 0) this.#reference.restart();
      this.#compare(index, outcome, this.#reference.call('run', values));
      if (patches > 0 && interrupted === 0) this.#reference.restart();
      await this.#compareMemories();
      if (this.#isPatched && this.#random.chance(15)) await this.#patchAll();
    }
  }

  get #isPatched(): boolean {
    return this.#options.patched ?? true;
  }

  #calls(): number[] {
    return [...(this.#options.calls ?? this.#set.calls.keys())];
  }

  async #load(image: VerifiedImage): Promise<number> {
    const report = await this.#until(this.#device.restore(image));
    if (!['installed', 'replaced', 'replaced-interrupting'].includes(report.outcome)) {
      throw new Difference(`the load of ${image.stamp.module} ended ${report.outcome}: ${report.reason ?? ''}`);
    }
    return report.interrupted;
  }

  async #call(index: number): Promise<Outcome> {
    this.statistics.calls += 1;
    try {
      return printed(await this.#run?.call(...(this.#set.calls[index] ?? [])));
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      this.statistics.traps += 1;
      return trapped;
    }
  }

  /** Patches a random module with the same code; returns how many accesses were interrupted. */
  async #patchOne(): Promise<number> {
    if (!this.#isPatched) return 0;
    const interrupted = await this.#load(this.#random.pick(this.#prepared).image);
    this.statistics.patches += 1;
    this.statistics.interrupted += interrupted;
    return interrupted;
  }

  async #patchAll(): Promise<void> {
    for (const { image } of this.#prepared.toReversed()) await this.#load(image);
    this.statistics.patches += this.#prepared.length;
    this.#reference.restart();
  }

  #compare(index: number, actual: Outcome, expected: Outcome): void {
    if (actual !== expected) throw new Difference(`call ${index} of a ${this.#set.kind} set returned ${actual}; V8 alone: ${expected}`);
  }

  async #compareMemories(): Promise<void> {
    for (const [index, checksum] of this.#checksums.entries()) {
      const actual = printed(await this.#until(checksum.call()));
      const expected = this.#reference.call('checksum', [], index);
      if (actual !== expected)
        throw new Difference(`the state of module ${this.#prepared[index]?.module.name} has the checksum ${actual}; V8 alone: ${expected}`);
    }
  }

  /** Runs the machine until a promise settles; starts `patch` at random steps, one at a time. */
  async #until<Result>(promise: Promise<Result>, patch?: () => Promise<unknown>): Promise<Result> {
    let settled = false;
    let patching = false;
    let patches = 0;
    let patched: Promise<unknown> = Promise.resolve();
    const ended = promise.finally(() => {
      settled = true;
    });
    // Awaited below; this handles a rejection before that.
    ended.catch(() => {});
    await settle();
    for (let steps = 0; !settled || patching; steps += 1) {
      if (steps > stepLimit) throw new Difference(`a call does not end in ${stepLimit} steps`);
      if (!settled && !patching && patch !== undefined && patches < patchLimit && this.#random.chance(8)) {
        patching = true;
        patches += 1;
        patched = patch().finally(() => {
          patching = false;
        });
        patched.catch(() => {});
      }
      this.statistics.steps += 1;
      const isStep = await this.#time.step();
      if (!isStep) await settle();
      if (!isStep && !settled && !patching) throw new Difference('the machine is idle, but a call has not ended');
    }
    await patched;
    return ended;
  }
}
