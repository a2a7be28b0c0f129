// Runs random schedules of programs, loads and stops on a deterministic machine, and checks invariants after every step.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Device, type DeviceState, type LoadReport, type VerifiedImage } from '../../src/machine/index.ts';
import { formatAddress } from '../../src/machine/memory/random-access-memory.ts';
import { SimulatedClock, settle } from './simulated-clock.ts';
import { driverImage, moduleImage } from './test-machine.ts';
import { WatchedProcessor } from './watched-processor.ts';

const modules = ['a', 'b', 'c'] as const;
type ModuleName = (typeof modules)[number];
/** Effects of operation completed call: a calls b, b calls c; a and b emit before and after. */
const effectsOf: Record<ModuleName, number> = { a: 5, b: 3, c: 1 };

/** Flaws of a version. */
const kinds = ['fine', 'trapping', 'unchecked', 'endless-start', 'unwilling', 'stumbling'] as const;
type Kind = (typeof kinds)[number];

const flaws: Record<Kind, string> = {
  fine: '',
  trapping: '',
  unchecked: '(func (export "self_check") (result i32) (i32.const 1))',
  'endless-start': '(func $start (unreachable)) (start $start)',
  unwilling: '',
  stumbling: '',
};

/** Hooks that count their calls. The `before_unload` of an unwilling version traps at every other call, the `after_load` of a stumbling one always. */
function hooksOf(kind: Kind): string {
  const count = (global: string) => `(global.set ${global} (i32.add (global.get ${global}) (i32.const 1)))`;
  const refuse = '(if (i32.and (global.get $unloads) (i32.const 1)) (then (unreachable)))';
  return `(global $loads (mut i32) (i32.const 0)) (global $unloads (mut i32) (i32.const 0))
    (func (export "before_unload") ${count('$unloads')} ${kind === 'unwilling' ? refuse : ''})
    (func (export "after_load") ${count('$loads')} ${kind === 'stumbling' ? '(unreachable)' : ''})
    (func (export "loads") (result i32) (global.get $loads))`;
}

/** Variant of the modules. */
export type Modules = 'plain' | 'with-stacks';

/** Channel on which a module emits if an access finds another access's data on the stack. */
const brokenChannel = 666;
const stackBase = 4_096;
const broken = `(then (call $emit (i32.const ${brokenChannel}) (i64.const 0)))`;

/** A frame of 32 bytes on the module's C stack that holds a number unique to the access. */
const withStack = {
  declarations: `
    (memory 1)
    (global $next (mut i32) (i32.const 0))
    (global $sp (export "__stack_pointer") (mut i32) (i32.const ${stackBase}))`,
  locals: '(local $frame i32) (local $own i32)',
  // No thread is inside a module twice, so each access finds the stack empty.
  enter: `
    (if (i32.ne (global.get $sp) (i32.const ${stackBase})) ${broken})
    (global.set $sp (local.tee $frame (i32.sub (global.get $sp) (i32.const 32))))
    (global.set $next (local.tee $own (i32.add (global.get $next) (i32.const 1))))
    (i32.store (local.get $frame) (local.get $own))
    (i32.store offset=28 (local.get $frame) (local.get $own))`,
  check: `
    (if (i32.ne (global.get $sp) (local.get $frame)) ${broken})
    (if (i32.ne (i32.load (local.get $frame)) (local.get $own)) ${broken})
    (if (i32.ne (i32.load offset=28 (local.get $frame)) (local.get $own)) ${broken})`,
  leave: '(global.set $sp (i32.add (local.get $frame) (i32.const 32)))',
};
const withoutStack: typeof withStack = { declarations: '', locals: '', enter: '', check: '', leave: '' };

function textOf(modules: Modules, module: ModuleName, kind: Kind, minor: number): string {
  const { declarations, locals, enter, check, leave } = modules === 'plain' ? withoutStack : withStack;
  const trap = kind === 'trapping' ? '(unreachable)' : '';
  const loop = '(loop $next (br_if $next (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 0))))';
  const emit = `(call $emit (i32.const ${minor}) (i64.const 0))`;
  const inner = module === 'a' ? 'b' : 'c';
  if (module === 'c') {
    return `(module (import "kernel" "emit" (func $emit (param i32 i64))) (import "kernel" "sleep" (func $sleep (param i32))) ${declarations} ${flaws[kind]} ${hooksOf(kind)}
      (func (export "work") (param $n i32) (result i32) ${locals} ${enter}
        ${emit} (if (i32.and (local.get $n) (i32.const 1)) (then (call $sleep (i32.const 20)))) ${check} ${loop} ${check} ${trap} ${leave} (i32.const ${minor})))`;
  }
  return `(module (import "kernel" "emit" (func $emit (param i32 i64))) (import "${inner}" "work" (func $inner (param i32) (result i32))) ${declarations} ${flaws[kind]} ${hooksOf(kind)}
    (func (export "work") (param $n i32) (result i32) (local $r i32) ${locals} ${enter}
      ${emit} (local.set $r (call $inner (local.get $n))) ${check} ${loop} ${check} ${trap} ${emit} ${leave} (local.get $r)))`;
}

const operation = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('load' as const),
      module: fc.constantFrom(...modules),
      minor: fc.nat(5),
      flaw: fc.constantFrom<Kind>('fine', 'fine', 'fine', 'fine', ...kinds),
      strategy: fc.constantFrom('inject', 'inject', 'drain', 'drain-then-inject'),
      drainMilliseconds: fc.constantFrom(0, 30, 300, 10_000),
      invalidation: fc.constantFrom('none', 'mark-invalid', 'nx', 'delete'),
      versionPolicy: fc.constantFrom('newer', 'different'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('start' as const),
      module: fc.constantFrom(...modules),
      iterations: fc.constantFrom('0', '1', '2000', '5001'),
      threads: fc.integer({ min: 1, max: 4 }),
      calls: fc.integer({ min: 1, max: 4 }),
      pauseMilliseconds: fc.constantFrom(0, 0, 10),
      recovery: fc.constantFrom('module', 'percolate'),
      addressing: fc.constantFrom('via-table', 'via-table', 'hard-coded'),
      deadlineMilliseconds: fc.constantFrom(null, null, null, 100),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stop' as const), which: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('interrupt-drain' as const, 'cancel-drain' as const) }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never;

/** A schedule: operations, each a number of steps after the previous operation, and the machine's free choices. */
export const schedule = fc.record({
  ramPages: fc.constantFrom(6, 8, 64),
  /** Milliseconds that pass at each read of the clock. If long, threads yield at every read; if short, calls are measured too. */
  perRead: fc.constantFrom(5, 5, 0.05),
  operations: fc.array(fc.record({ steps: fc.nat(12), operation }), { minLength: 1, maxLength: 10 }),
  choices: fc.infiniteStream(fc.boolean()),
  /** What happens to a draining load at each step of its drain. */
  endings: fc.infiniteStream(fc.constantFrom(null, null, 'interrupt-drain', 'cancel-drain')),
});
type Schedule = typeof schedule extends fc.Arbitrary<infer Value> ? Value : never;

/** Compiles the images that all schedules share. */
async function prepareImages(variant: Modules): Promise<(module: ModuleName, flaw: Kind, minor: number) => VerifiedImage> {
  const images = new Map<string, VerifiedImage>();
  for (const module of modules) {
    for (const flaw of kinds) {
      for (let minor = 0; minor <= 5; minor += 1)
        images.set(
          `${module} ${flaw} ${minor}`,
          await moduleImage(
            module,
            `1.${minor}.0`,
            textOf(variant, module, flaw, minor),
            variant === 'with-stacks' && module === 'b' ? 'exclusive' : 'shared',
          ),
        );
    }
  }
  return (module, flaw, minor) => {
    const image = images.get(`${module} ${flaw} ${minor}`);
    assert(image !== undefined);
    return image;
  };
}

/** The machine on which schedules run one after another. */
export class Simulation {
  #time = new SimulatedClock();
  #processor = this.#createProcessor();
  readonly #imageOf: (module: ModuleName, flaw: Kind, minor: number) => VerifiedImage;
  readonly #drivers: ReadonlyMap<string, VerifiedImage>;
  /** Steps of all schedules. */
  steps = 0;
  /** Measured calls of all schedules. */
  callsMeasured = 0;
  /** Drains that were ended early, of all schedules. */
  readonly drainsEnded = { interrupted: 0, cancelled: 0 };
  /** Loads of all schedules that failed because `before_unload` of the old version trapped. */
  unloadsRefused = 0;

  private constructor(
    imageOf: (module: ModuleName, flaw: Kind, minor: number) => VerifiedImage,
    drivers: ReadonlyMap<string, VerifiedImage>,
  ) {
    this.#imageOf = imageOf;
    this.#drivers = drivers;
  }

  /** @param variant `with-stacks` also makes module `b` exclusive. */
  static async create(variant: Modules = 'plain'): Promise<Simulation> {
    const drivers = new Map<string, VerifiedImage>();
    for (const module of modules) {
      for (const addressing of ['via-table', 'hard-coded'] as const)
        drivers.set(`${module} ${addressing}`, await driverImage(module, 'work', 1, addressing));
    }
    return new Simulation(await prepareImages(variant), drivers);
  }

  #createProcessor(): WatchedProcessor {
    return new WatchedProcessor({ clock: this.#time });
  }

  /** Runs a schedule to its end. @throws {AssertionError} if an invariant is violated. */
  async run(operation: Schedule): Promise<void> {
    try {
      await this.#run(operation);
    } catch (error) {
      // Work left by a failed schedule must not affect the next operation, with which the case is shrunk.
      this.#time = new SimulatedClock();
      this.#processor = this.#createProcessor();
      throw error;
    }
  }

  async #run({ ramPages, perRead, operations, choices, endings }: Schedule): Promise<void> {
    this.#time.begin(() => choices.next().value ?? true, perRead);
    const run = new ScheduleRun(this.#processor, ramPages, this.#imageOf, this.#drivers);
    const step = async () => {
      const ending = run.isDraining ? (endings.next().value ?? null) : null;
      if (ending !== null) run.begin({ kind: ending });
      return this.#step(run);
    };
    for (const { steps, operation } of operations) {
      run.begin(operation);
      await settle();
      for (let taken = 0; taken < steps; taken += 1) await step();
    }
    while (await step()) assert(run.stepsTaken < 50_000, 'the schedule does not end');
    run.throwFailure();
    run.checkEnd();
    this.callsMeasured += run.callsMeasured;
    this.drainsEnded.interrupted += run.drainsEnded.interrupted;
    this.drainsEnded.cancelled += run.drainsEnded.cancelled;
    this.unloadsRefused += run.unloadsRefused;
    await run.close();
    assert.equal(this.#processor.runningThreads, 0);
  }

  async #step(run: ScheduleRun): Promise<boolean> {
    const isStep = await this.#time.step();
    run.throwFailure();
    run.checkInvariants();
    run.stepsTaken += 1;
    this.steps += 1;
    return isStep;
  }
}

type Started = Extract<Operation, { kind: 'start' }> & { readonly program: string; isStopped: boolean };

class ScheduleRun {
  stepsTaken = 0;
  callsMeasured = 0;
  /** Drains that the schedule has ended early. */
  readonly drainsEnded = { interrupted: 0, cancelled: 0 };
  unloadsRefused = 0;
  readonly #device: Device;
  readonly #processor: WatchedProcessor;
  readonly #imageOf: (module: ModuleName, flaw: Kind, minor: number) => VerifiedImage;
  readonly #drivers: ReadonlyMap<string, VerifiedImage>;
  readonly #programs: Started[] = [];
  readonly #committed = new Map<string, number>();
  /** Modules that are known to be installed. */
  readonly #installed = new Set<string>();
  #pending = 0;
  #cancelledLoads = 0;

  constructor(
    processor: WatchedProcessor,
    ramPages: number,
    imageOf: (module: ModuleName, flaw: Kind, minor: number) => VerifiedImage,
    drivers: ReadonlyMap<string, VerifiedImage>,
  ) {
    this.#processor = processor;
    this.#imageOf = imageOf;
    this.#drivers = drivers;
    const onEffects = (program: string, effects: readonly { readonly channel: number }[]) => {
      if (effects.some(({ channel }) => channel === brokenChannel)) this.#failure ??= new Error('an access has met the stack of another');
      this.#committed.set(program, (this.#committed.get(program) ?? 0) + effects.length);
    };
    this.#device = new Device({ processor, ramPages, onEffects });
  }

  get isDraining(): boolean {
    return this.#device.state().draining !== undefined;
  }

  begin(operation: Operation): void {
    switch (operation.kind) {
      case 'load':
        this.#load(operation);
        break;
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
      case 'interrupt-drain':
        this.#endDrain(() => this.#device.interruptDrain());
        break;
      case 'cancel-drain':
        this.#endDrain(() => this.#device.cancelDrain('cancelled by the schedule'));
        break;
    }
  }

  checkInvariants(): void {
    const { moduleTable, draining } = this.#device.state();
    if (draining !== undefined) this.#checkDrain(draining);
    for (const module of this.#installed)
      assert(
        moduleTable.some((entry) => entry.module === module),
        `${module} has left the module table`,
      );
    for (const image of this.#processor.fetchable()) {
      assert(image !== null, 'a fetch from an address that no image has would succeed');
      const { owner, present, valid, nx } = image.range;
      assert(present && valid && !nx, `a fetch from ${owner.module}@${owner.version} would succeed`);
    }
    this.#checkReferenceCounts();
  }

  /** Checks that reference counts equal the live accesses. */
  #checkReferenceCounts(): void {
    const accesses = this.#processor.accesses();
    const { images } = this.#processor;
    for (const [record, { image, referenceCount, bypassCount: bypassing }] of images) {
      const inside = accesses.filter((access) => access.record === record);
      const past = inside.filter(({ isBypass }) => isBypass).length;
      const { module, version } = image.stamp;
      assert.deepEqual([referenceCount, bypassing], [inside.length - past, past], `references of ${module}@${version}`);
    }
    for (const { record } of accesses) assert(images.has(record), 'an access is inside of no image');
  }

  /** Checks that a reported drain names exactly the accesses that the load waits for. */
  #checkDrain({ module, previousVersion, accesses, programs }: NonNullable<DeviceState['draining']>): void {
    const old = new Set(
      [...this.#processor.images].flatMap(
        ([
          record,
          {
            image: { stamp },
          },
        ]) => (stamp.module === module && stamp.version === previousVersion ? [record] : []),
      ),
    );
    const inside = this.#processor.accesses().filter(({ record, isBypass }) => old.has(record) && !isBypass);
    assert(accesses <= inside.length, 'a drain reports more accesses than are inside');
    // Every thread is at most once inside a module.
    const threads = programs.reduce((sum, program) => sum + program.threads, 0);
    assert.equal(threads, accesses, 'the programs of a drain are not those of its accesses');
  }

  /** Ends a drain early. If the device says so, exactly one load ends accordingly. */
  #endDrain(end: () => Promise<'interrupted' | 'cancelled' | 'not-draining'>): void {
    const { isDraining } = this;
    this.#track(
      end().then((result) => {
        if (result === 'not-draining') return;
        assert(isDraining, `the device reports ${result} without a drain`);
        this.drainsEnded[result] += 1;
      }),
    );
  }

  checkEnd(): void {
    assert.equal(this.#pending, 0, 'an operation has not ended');
    assert.equal(this.#device.state().draining, undefined, 'a drain has not ended');
    assert.equal(this.#cancelledLoads, this.drainsEnded.cancelled, 'a cancelled drain has not cancelled exactly its load');
    const statistics = new Map(this.#device.state().programs.map((operation) => [operation.program, operation]));
    for (const { program, module, threads, calls, addressing, isStopped } of this.#programs) {
      const {
        state,
        callsCompleted = 0,
        callsFailed = 0,
        effects = 0,
        threads: left,
        lastFailure = null,
        versions = [],
      } = statistics.get(program) ?? {};
      assert.equal(left, 0);
      if (!isStopped) {
        assert.equal(state, 'finished');
        assert.equal(callsCompleted + callsFailed, threads * calls, 'a call is lost or doubled');
      }
      if (addressing === 'via-table')
        assert.doesNotMatch(lastFailure ?? '', /segmentation fault: fetch/, 'an access through the table faulted');
      assert.equal(effects, callsCompleted * effectsOf[module], 'an effect is lost or doubled');
      assert.equal(this.#committed.get(program) ?? 0, effects);
      for (const { callsCompleted: completed, latency } of versions) {
        const measured = latency.calls.reduce((sum, more) => sum + more, 0);
        assert(measured <= completed, 'a call is measured that did not complete');
        this.callsMeasured += measured;
      }
      const failed = versions.reduce((sum, version) => sum + version.callsFailed, 0);
      assert.equal(failed, callsFailed, 'a failed call counts with no version, or with two');
    }
    assert.deepEqual(this.#processor.accesses(), []);
    this.#checkLoadedOnce();
    for (const { referenceCount, bypassCount: bypassing } of this.#processor.images.values()) assert.equal(referenceCount + bypassing, 0);
  }

  close(): Promise<void> {
    return this.#device.close();
  }

  #load({ module, flaw, minor, ...options }: Extract<Operation, { kind: 'load' }>): void {
    const image = this.#imageOf(module, flaw, minor);
    this.#track(
      this.#device.load({ image, ...options }).then((report) => {
        const isLoaded = report.outcome === 'installed' || report.outcome.startsWith('replaced');
        if (isLoaded && this.#pending === 1) this.#installed.add(module);
        if (report.outcome === 'cancelled') this.#cancelledLoads += 1;
        assert.doesNotMatch(report.reason ?? '', /\b0 accesses were still inside/, 'a drain has failed that was complete');
        if (isLoaded) this.#checkHooks(report, flaw);
        if (isLoaded) return this.#checkLoaded(module, report, options.strategy, options.invalidation);
        return this.#checkUnchanged(module, report);
      }),
    );
  }

  /** Checks that no thread is left in the old version after a load that interrupts. */
  async #checkLoaded(
    module: ModuleName,
    { previous, current, interrupted, retried, failed }: LoadReport,
    strategy: string,
    invalidation: string,
  ): Promise<void> {
    assert.equal(retried + failed, interrupted);
    if (!this.#programs.some(({ isStopped }) => isStopped)) assert.equal(failed, 0, 'an interrupted access was not retried');
    if (previous === null || current === null || (strategy === 'drain' && interrupted === 0) || invalidation === 'none') return;
    if (previous.version === current.version) return;
    const isLoadedAgain = () =>
      this.#device.state().moduleTable.some((entry) => entry.module === module && entry.version === previous.version);
    const left = () =>
      // The next load may already have restored the same version, with accesses inside.
      isLoadedAgain()
        ? []
        : [...this.#processor.images.values()].filter(
            ({ image: { stamp } }) => stamp.module === module && stamp.version === previous.version,
          );
    for (const { referenceCount } of left()) assert.equal(referenceCount, 0);
    if (strategy !== 'inject') return;
    // A thread that has just faulted at a stale address counts as inside until a microtask handles its trap.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    for (const { referenceCount, bypassCount: bypassing } of left()) assert.equal(referenceCount + bypassing, 0);
  }

  /** Checks that `after_load` ran once in the new version, and what the report says about it. */
  #checkHooks({ steps, current }: LoadReport, flaw: Kind): void {
    const facts = steps.flatMap((step) => (step.step === 'table-updated' ? [step.facts] : []));
    const expected =
      flaw === 'stumbling' ? { afterLoad: 'failed', afterLoadFailure: 'unreachable' } : { afterLoad: 'completed', afterLoadFailure: null };
    assert.deepEqual(
      facts.map(({ afterLoad, afterLoadFailure }) => ({ afterLoad, afterLoadFailure })),
      [expected],
    );
    if (flaw === 'stumbling') assert(current?.tainted, 'a version whose after_load trapped is not tainted');
    this.#checkLoadedOnce();
  }

  /** Checks that each version in the module table has run `after_load` once. */
  #checkLoadedOnce(): void {
    const inTable = new Set(this.#device.state().moduleTable.map(({ address }) => address));
    for (const [record, image] of this.#processor.images) {
      if (image.stamp === null || !inTable.has(formatAddress(image.range.firstPage))) continue;
      const { module, version, interface: types } = image.stamp;
      const loads = image.functionAt(types.exports.findIndex(({ name }) => name === 'loads'));
      assert.equal(
        this.#processor.runAtomically(() => loads(), record),
        1,
        `loads of ${module}@${version}`,
      );
    }
  }

  /** Checks that a failed or refused load left the module table unchanged. */
  #checkUnchanged(module: ModuleName, { previous, current, reason }: LoadReport): void {
    assert.deepEqual(current, previous);
    this.#checkLoadedOnce();
    if (reason?.includes('before_unload')) this.unloadsRefused += 1;
    const entry = this.#device.state().moduleTable.find((operation) => operation.module === module);
    if (this.#pending === 1) assert.equal(entry?.version, previous?.version);
  }

  #start(operation: Extract<Operation, { kind: 'start' }>): void {
    const { module, iterations, addressing, kind: _, ...request } = operation;
    const program = `p${this.#programs.length}`;
    const driver = this.#drivers.get(`${module} ${addressing}`);
    assert(driver !== undefined);
    this.#programs.push({ ...operation, program, isStopped: false });
    this.#device.startProgram({ program, driver, module, export: 'work', arguments: [iterations], ...request });
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

  #failure: unknown = null;

  /** Throws the first failure of an operation's check, in the code that runs the schedule. */
  throwFailure(): void {
    if (this.#failure !== null) throw this.#failure;
  }
}
