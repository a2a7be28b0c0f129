// Runs random schedules of patch sets, single loads and unloads over modules with random call graphs, and checks after every step that no stack has
// frames of an old and a new version of a set together.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Device, type LoadReport, type VerifiedImage } from '../../src/machine/index.ts';
import type { LoadedImage } from '../../src/machine/isolation/loaded-image.ts';
import { SimulatedClock, settle } from './simulated-clock.ts';
import { driverImage, moduleImage } from './test-machine.ts';
import { WatchedProcessor } from './watched-processor.ts';

const modules = ['a', 'b', 'c', 'd', 'e'] as const;
type ModuleName = (typeof modules)[number];

/** The modules that each variant of a module calls. Together they give 243 call graphs, most of them with cycles. */
const callees: Record<ModuleName, readonly (readonly ModuleName[])[]> = {
  a: [['b'], ['b', 'c'], []],
  b: [['c'], ['a', 'd'], []],
  c: [['d'], ['e'], ['b']],
  d: [['e'], ['a'], ['c', 'd']],
  e: [[], ['a'], ['d']],
};
const variants = [0, 1, 2] as const;
type Graph = Readonly<Record<ModuleName, (typeof variants)[number]>>;

/** Flaws of a version. `unwilling`: its `before_unload` traps the first time. */
const kinds = ['fine', 'trapping', 'unchecked', 'unwilling'] as const;
type Kind = (typeof kinds)[number];

/** Versions with a flaw exist once for single loads and once for sets. Sets and single loads have different versions. */
const minors = { build: [1, 2, 3], set: [11, 12, 13] } as const;
const flawedMinors = { build: 4, set: 14 } as const;

/** Maximum depth of a call: each access calls with one less. */
const depths = [0, 1, 2, 3] as const;

function textOf(module: ModuleName, calls: readonly ModuleName[], kind: Kind, minor: number): string {
  const imports = calls.map((callee) => `(import "${callee}" "work" (func $${callee} (param i32) (result i32)))`).join('\n');
  const nested = calls.map((callee) => `(drop (call $${callee} (i32.sub (local.get $n) (i32.const 1))))`).join('\n');
  const emit = `(call $emit (i32.const ${minor}) (i64.const 0))`;
  const hooks: Record<Kind, string> = {
    fine: '',
    trapping: '',
    unchecked: '(func (export "self_check") (result i32) (i32.const 1))',
    unwilling: `(global $refused (mut i32) (i32.const 0))
      (func (export "before_unload") (if (i32.eqz (global.get $refused)) (then (global.set $refused (i32.const 1)) (unreachable))))`,
  };
  return `(module ${module === 'e' ? '(import "kernel" "sleep" (func $sleep (param i32)))' : ''} (import "kernel" "emit" (func $emit (param i32 i64))) ${imports} ${hooks[kind]}
    (func (export "work") (param $n i32) (result i32) (local $i i32)
      ${emit} ${module === 'e' ? '(call $sleep (i32.const 20))' : ''}
      (if (i32.gt_s (local.get $n) (i32.const 0)) (then ${nested}))
      (local.set $i (i32.const 2000))
      (loop $next (br_if $next (i32.gt_s (local.tee $i (i32.sub (local.get $i) (i32.const 1))) (i32.const 0))))
      ${kind === 'trapping' ? '(unreachable)' : ''} ${emit} (i32.const ${minor})))`;
}

/** Returns the effects of one completed call. */
function effectsOf(graph: Graph, module: ModuleName, depth: number): number {
  const nested = depth > 0 ? (callees[module][graph[module]] ?? []) : [];
  return 2 + nested.reduce((sum, callee) => sum + effectsOf(graph, callee, depth - 1), 0);
}

const isolation = {
  strategy: fc.constantFrom('inject', 'inject', 'drain', 'drain-then-inject'),
  drainMilliseconds: fc.constantFrom(0, 30, 300, 10_000),
} as const;
const flaw = fc.constantFrom<Kind>('fine', 'fine', 'fine', 'fine', 'fine', ...kinds);

const operation = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('load-set' as const),
      members: fc.uniqueArray(
        fc.record({
          module: fc.constantFrom(...modules),
          minor: fc.constantFrom(...minors.set),
          flaw,
          isUnloaded: fc.nat(11).map((value) => value === 0),
        }),
        { minLength: 2, maxLength: 5, selector: ({ module }) => module },
      ),
      ...isolation,
      invalidation: fc.constantFrom('mark-invalid', 'nx', 'delete'),
      versionPolicy: fc.constantFrom('different', 'different', 'newer'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('load' as const),
      module: fc.constantFrom(...modules),
      minor: fc.constantFrom(...minors.build),
      flaw,
      ...isolation,
      invalidation: fc.constantFrom('mark-invalid', 'nx', 'delete'),
      versionPolicy: fc.constant('different' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('unload' as const),
      module: fc.constantFrom(...modules),
      ...isolation,
      invalidation: fc.constantFrom('none', 'mark-invalid', 'nx', 'delete'),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('start' as const),
      module: fc.constantFrom(...modules),
      depth: fc.constantFrom(...depths),
      threads: fc.integer({ min: 1, max: 4 }),
      calls: fc.integer({ min: 1, max: 4 }),
      pauseMilliseconds: fc.constantFrom(0, 0, 10),
      recovery: fc.constantFrom('module', 'percolate'),
      addressing: fc.constantFrom('via-table', 'via-table', 'via-table', 'hard-coded'),
      deadlineMilliseconds: fc.constantFrom(null, null, null, 100),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stop' as const), which: fc.nat(5) }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never;
type OperationOf<Name extends Operation['kind']> = Extract<Operation, { kind: Name }>;

/** A schedule over one call graph: operations, each a number of steps after the previous one, and the machine's free choices. */
export const patchSetSchedule = fc.record({
  graph: fc.record({
    a: fc.constantFrom(...variants),
    b: fc.constantFrom(...variants),
    c: fc.constantFrom(...variants),
    d: fc.constantFrom(...variants),
    e: fc.constantFrom(...variants),
  }),
  ramPages: fc.constantFrom(9, 12, 64),
  operations: fc.array(fc.record({ steps: fc.nat(12), operation }), { minLength: 1, maxLength: 10 }),
  choices: fc.infiniteStream(fc.boolean()),
  /** What happens to a draining load at each step of its drain. */
  endings: fc.infiniteStream(fc.constantFrom(null, null, null, 'interrupt-drain', 'cancel-drain')),
});
type Schedule = typeof patchSetSchedule extends fc.Arbitrary<infer Value> ? Value : never;

type ImageOf = (module: ModuleName, flaw: Kind, minor: number) => VerifiedImage;
type Images = ReadonlyMap<string, VerifiedImage>;

/** Compiles the images that all schedules share. */
async function prepareImages(): Promise<Images> {
  const images = new Map<string, VerifiedImage>();
  const add = async (module: ModuleName, variant: number, kind: Kind, minor: number) => {
    const text = textOf(module, callees[module][variant] ?? [], kind, minor);
    images.set(`${module} ${variant} ${kind} ${minor}`, await moduleImage(module, `1.${minor}.0`, text));
  };
  for (const module of modules) {
    for (const variant of variants) {
      for (const minor of [...minors.build, ...minors.set]) await add(module, variant, 'fine', minor);
      for (const kind of kinds)
        if (kind !== 'fine') for (const minor of Object.values(flawedMinors)) await add(module, variant, kind, minor);
    }
  }
  return images;
}

/** The machine on which schedules run one after another. */
export class PatchSetSimulation {
  #time = new SimulatedClock();
  #processor = new WatchedProcessor({ clock: this.#time });
  readonly #images: Images;
  readonly #drivers: Images;
  /** Steps of all schedules. */
  steps = 0;
  /** What happened in all schedules, so that a test can show that they reach what they are for. */
  readonly reached = { setsSwapped: 0, setsInterrupting: 0, setsFailed: 0, setsReverted: 0, unloaded: 0, oldStacks: 0 };

  private constructor(images: Images, drivers: Images) {
    this.#images = images;
    this.#drivers = drivers;
  }

  static async create(): Promise<PatchSetSimulation> {
    const drivers = new Map<string, VerifiedImage>();
    for (const module of modules)
      for (const addressing of ['via-table', 'hard-coded'] as const)
        drivers.set(`${module} ${addressing}`, await driverImage(module, 'work', 1, addressing));
    return new PatchSetSimulation(await prepareImages(), drivers);
  }

  /** Runs a schedule to its end. @throws {AssertionError} if an invariant is violated. */
  async run(schedule: Schedule): Promise<void> {
    try {
      await this.#run(schedule);
    } catch (error) {
      // Work left by a failed schedule must not affect the next one, with which the case is shrunk.
      this.#time = new SimulatedClock();
      this.#processor = new WatchedProcessor({ clock: this.#time });
      throw error;
    }
  }

  async #run({ graph, ramPages, operations, choices, endings }: Schedule): Promise<void> {
    this.#time.begin(() => choices.next().value ?? true);
    const imageOf: ImageOf = (module, kind, minor) => {
      const image = this.#images.get(`${module} ${graph[module]} ${kind} ${minor}`);
      assert(image !== undefined);
      return image;
    };
    const run = new PatchSetRun(this.#processor, { ramPages, graph, imageOf, drivers: this.#drivers }, this.reached);
    const step = async () => {
      if (run.isDraining) run.endDrain(endings.next().value ?? null);
      const isStep = await this.#time.step();
      run.check();
      run.stepsTaken += 1;
      this.steps += 1;
      return isStep;
    };
    for (const { steps, operation } of operations) {
      run.begin(operation);
      await settle();
      run.check();
      for (let taken = 0; taken < steps; taken += 1) await step();
    }
    while (await step()) assert(run.stepsTaken < 50_000, 'the schedule does not end');
    run.checkEnd();
    await run.close();
    assert.equal(this.#processor.runningThreads, 0);
  }
}

type Started = OperationOf<'start'> & { readonly program: string; isStopped: boolean };
/** Versions that a set took out of the module table and those that it put in. */
type SetSwap = { readonly old: ReadonlySet<LoadedImage>; readonly next: ReadonlySet<LoadedImage> };

class PatchSetRun {
  stepsTaken = 0;
  readonly #device: Device;
  readonly #processor: WatchedProcessor;
  readonly #graph: Graph;
  readonly #imageOf: ImageOf;
  readonly #drivers: Images;
  readonly #reached: PatchSetSimulation['reached'];
  readonly #programs: Started[] = [];
  readonly #sets = new Set<ReadonlyMap<string, string | null>>();
  readonly #swaps: SetSwap[] = [];
  readonly #everInTable = new WeakSet<LoadedImage>();
  #inTable = new Map<string, LoadedImage>();
  #pending = 0;
  #failure: unknown = null;

  constructor(
    processor: WatchedProcessor,
    world: { readonly ramPages: number; readonly graph: Graph; readonly imageOf: ImageOf; readonly drivers: Images },
    reached: PatchSetSimulation['reached'],
  ) {
    this.#processor = processor;
    this.#graph = world.graph;
    this.#imageOf = world.imageOf;
    this.#drivers = world.drivers;
    this.#reached = reached;
    this.#device = new Device({ processor, ramPages: world.ramPages });
  }

  get isDraining(): boolean {
    return this.#device.state().draining !== undefined;
  }

  begin(operation: Operation): void {
    switch (operation.kind) {
      case 'load-set':
        this.#loadSet(operation);
        break;
      case 'load': {
        const { module, flaw: kind, minor, ...options } = operation;
        const image = this.#imageOf(module, kind, kind === 'fine' ? minor : flawedMinors.build);
        this.#track(this.#device.load({ image, linkPolicy: 'off', ...options }).then((report) => this.#checkReport(report)));
        break;
      }
      case 'unload': {
        const { kind: _, ...options } = operation;
        const unloading = this.#device.unload({ ...options, forceReason: 'the schedule says so' });
        this.#track(
          unloading.then(({ outcome }) => {
            if (outcome.startsWith('unloaded')) this.#reached.unloaded += 1;
          }),
        );
        break;
      }
      case 'start':
        this.#start(operation);
        break;
      case 'stop': {
        const program = this.#programs[operation.which];
        if (program === undefined) break;
        program.isStopped = true;
        this.#track(this.#device.stopProgram(program.program));
        break;
      }
    }
  }

  endDrain(ending: 'interrupt-drain' | 'cancel-drain' | null): void {
    if (ending === 'interrupt-drain') this.#track(this.#device.interruptDrain());
    if (ending === 'cancel-drain') this.#track(this.#device.cancelDrain('cancelled by the schedule'));
  }

  /** Checks the invariants of every step. */
  check(): void {
    if (this.#failure !== null) throw this.#failure;
    this.#observeTable();
    const stacks = this.#processor.stacks();
    for (const stack of stacks) {
      const images = stack.flatMap(({ record }) => this.#loadedImages().get(record) ?? []);
      for (const image of images) assert(this.#everInTable.has(image), 'an access is inside a version that was never in the module table');
      for (const { old, next } of this.#swaps) {
        const outer = images.find((image) => old.has(image) || next.has(image));
        if (outer === undefined) continue;
        const forbidden = old.has(outer) ? next : old;
        const names = images.map(({ image: { stamp } }) => `${stamp.module}@${stamp.version}`).join(' → ');
        assert(!images.some((image) => forbidden.has(image)), `a stack has old and new versions of a patch set: ${names}`);
        if (old.has(outer)) this.#reached.oldStacks += 1;
      }
    }
    this.#checkReferenceCounts();
    for (const image of this.#processor.fetchable()) {
      assert(image !== null, 'a fetch from an address that no image has would succeed');
      const { owner, present, valid, nx } = image.range;
      assert(present && valid && !nx, `a fetch from ${owner.module}@${owner.version} would succeed`);
    }
  }

  checkEnd(): void {
    assert.equal(this.#pending, 0, 'an operation has not ended');
    assert.equal(this.#device.state().draining, undefined, 'a drain has not ended');
    const statistics = new Map(this.#device.state().programs.map((program) => [program.program, program]));
    for (const { program, module, depth, threads, calls, addressing, isStopped } of this.#programs) {
      const found = statistics.get(program);
      assert(found !== undefined);
      const { callsCompleted, callsFailed, effects, lastFailure } = found;
      if (!isStopped) assert.equal(callsCompleted + callsFailed, threads * calls, 'a call is lost or doubled');
      assert.equal(effects, callsCompleted * effectsOf(this.#graph, module, depth), 'an effect is lost or doubled');
      if (addressing === 'via-table')
        assert.doesNotMatch(
          lastFailure ?? '',
          /fetch|illegal cast|does not export|signature/,
          'an access through the table met another version',
        );
    }
    assert.deepEqual(this.#processor.accesses(), []);
    for (const { referenceCount, bypassCount } of this.#processor.images.values()) assert.equal(referenceCount + bypassCount, 0);
  }

  close(): Promise<void> {
    return this.#device.close();
  }

  /** Notes which images entered and left the module table since the last step, and whether a patch set swapped them. */
  #observeTable(): void {
    const byAddress = new Map(
      [...this.#loadedImages().values()].map((image) => [`0x${(image.range.firstPage * 4_096).toString(16)}`, image]),
    );
    const inTable = new Map<string, LoadedImage>();
    for (const { module, address } of this.#device.state().moduleTable) {
      const image = byAddress.get(address);
      assert(image !== undefined, 'the module table names an address that no image has');
      inTable.set(module, image);
      this.#everInTable.add(image);
    }
    const changed = modules.filter((module) => this.#inTable.get(module) !== inTable.get(module));
    const before = this.#inTable;
    this.#inTable = inTable;
    if (changed.length < 2) return;
    const isOfSet = [...this.#sets].some((set) => isSwapOf(set, changed, inTable) || isSwapOf(set, changed, before));
    if (!isOfSet) return;
    this.#reached.setsSwapped += 1;
    const imagesIn = (table: ReadonlyMap<string, LoadedImage>) => new Set(changed.flatMap((module) => table.get(module) ?? []));
    this.#swaps.push({ old: imagesIn(before), next: imagesIn(inTable) });
  }

  #loadedImages(): ReadonlyMap<number, LoadedImage> {
    return this.#processor.loadedImages();
  }

  #checkReferenceCounts(): void {
    const accesses = this.#processor.accesses();
    for (const [record, { image, referenceCount, bypassCount }] of this.#processor.images) {
      const inside = accesses.filter((access) => access.record === record);
      const past = inside.filter(({ isBypass }) => isBypass).length;
      const { module, version } = image.stamp;
      assert.deepEqual([referenceCount, bypassCount], [inside.length - past, past], `references of ${module}@${version}`);
    }
  }

  #loadSet({ members, kind: _, ...options }: OperationOf<'load-set'>): void {
    const requested = members.map(({ module, flaw: kind, minor, isUnloaded }) => {
      return isUnloaded ? { unload: module } : { image: this.#imageOf(module, kind, kind === 'fine' ? minor : flawedMinors.set) };
    });
    this.#sets.add(
      new Map(requested.map((member) => ('unload' in member ? [member.unload, null] : [member.image.stamp.module, member.image.digest]))),
    );
    this.#track(
      this.#device.loadPatchSet({ members: requested, linkPolicy: 'off', ...options }).then((report) => {
        this.#checkReport(report);
        assert.equal(report.members?.length, members.length);
        const isLoaded = report.outcome === 'installed' || report.outcome.startsWith('replaced');
        if (report.outcome === 'replaced-interrupting') this.#reached.setsInterrupting += 1;
        if (report.outcome === 'failed') this.#reached.setsFailed += 1;
        if (report.outcome === 'cancelled' || /still inside/.test(report.reason ?? '')) this.#reached.setsReverted += 1;
        if (isLoaded) return;
        for (const { previous, current } of report.members ?? [])
          assert.deepEqual(current, previous, 'a set that was not loaded changed a member');
        if (this.#pending > 1) return;
        const table = new Map(this.#device.state().moduleTable.map(({ module, address }) => [module, address]));
        for (const { module, previous } of report.members ?? []) assert.equal(table.get(module), previous?.address);
      }),
    );
  }

  #checkReport({ interrupted, retried, failed }: LoadReport): void {
    assert.equal(retried + failed, interrupted);
  }

  #start(operation: OperationOf<'start'>): void {
    const { module, depth, addressing, kind: _, ...request } = operation;
    const program = `p${this.#programs.length}`;
    const driver = this.#drivers.get(`${module} ${addressing}`);
    assert(driver !== undefined);
    this.#programs.push({ ...operation, program, isStopped: false });
    this.#device.startProgram({ program, driver, module, export: 'work', arguments: [String(depth)], ...request });
  }

  #track(operation: Promise<unknown>): void {
    this.#pending += 1;
    operation.then(
      () => {
        this.#pending -= 1;
      },
      (error) => {
        this.#failure ??= error;
      },
    );
  }
}

/** Returns whether the changed modules are those of a set, with its versions in a module table. */
function isSwapOf(set: ReadonlyMap<string, string | null>, changed: readonly string[], table: ReadonlyMap<string, LoadedImage>): boolean {
  return changed.every((module) => set.has(module) && set.get(module) === (table.get(module)?.image.digest ?? null));
}
