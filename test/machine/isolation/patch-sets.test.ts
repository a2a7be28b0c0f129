// Patch sets: all members swap at one safepoint, and no thread runs a mix of old and new versions.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { type PatchSetOptions, patchSetLimit } from '../../../src/machine/device.ts';
import { Processor } from '../../../src/machine/index.ts';
import { SimulatedClock, settle } from '../simulated-clock.ts';
import {
  compiler,
  createTestMachine,
  endless,
  moduleImage,
  quickModule,
  referenceCount,
  type TestMachine,
  until,
  workModule,
} from '../test-machine.ts';

let machine: TestMachine;
beforeEach(async () => {
  machine = createTestMachine();
  await machine.load('latch', '1.0.0', latch);
});
afterEach(async () => {
  await machine.device.cancelDrain('the test has ended');
  await machine.close();
});
afterAll(() => compiler.close());

/** Calls `work` of another module and adds to its result; emits its number before and after the call. */
const callerOf = (inner: string, plus: number) => `
  (module
    (import "kernel" "emit" (func $emit (param i32 i64)))
    (import "${inner}" "work" (func $inner (param i32) (result i32)))
    (func (export "work") (param $n i32) (result i32)
      (local $result i32)
      (call $emit (i32.const ${plus}) (i64.const 0))
      (local.set $result (call $inner (local.get $n)))
      (call $emit (i32.const ${plus}) (i64.const 1))
      (i32.add (local.get $result) (i32.const ${plus}))))`;

/** Modules that wait ask it whether they may continue. It is no member of the sets. */
const latch = `
  (module
    (global $open (mut i32) (i32.const 0))
    (func (export "isOpen") (result i32) (global.get $open))
    (func (export "open") (result i32) (global.set $open (i32.const 1)) (i32.const 0)))`;

/** Waits until the latch is open, calls an export of another module, and returns its result plus a number. */
const waiterFor = (inner: string, plus: number, name = 'work') => `
  (module
    (import "kernel" "sleep" (func $sleep (param i32)))
    (import "latch" "isOpen" (func $isOpen (result i32)))
    (import "${inner}" "${name}" (func $inner (param i32) (result i32)))
    (func (export "work") (param $n i32) (result i32)
      (loop $wait (if (i32.eqz (call $isOpen)) (then (call $sleep (i32.const 1)) (br $wait))))
      (i32.add (call $inner (local.get $n)) (i32.const ${plus}))))`;

async function openLatch(): Promise<void> {
  await machine.start('opener', { module: 'latch', export: 'open', arguments: [], calls: 1 });
}

type Sources = Readonly<Record<string, readonly [version: string, wat: string]>>;

async function membersOf(sources: Sources): Promise<PatchSetOptions['members']> {
  return Promise.all(Object.entries(sources).map(async ([module, [version, wat]]) => ({ image: await moduleImage(module, version, wat) })));
}

async function loadSet(sources: Sources, options: Omit<PatchSetOptions, 'members'> = {}) {
  return machine.device.loadPatchSet({ members: await membersOf(sources), drainMilliseconds: 600_000, ...options });
}

async function runUntilSettled<Result>(clock: SimulatedClock, running: Promise<Result>): Promise<Result> {
  let isSettled = false;
  const settled = running.finally(() => {
    isSettled = true;
  });
  while (!isSettled) if (!(await clock.step())) await settle();
  return settled;
}

const versions = () => Object.fromEntries(machine.device.state().moduleTable.map(({ module, version }) => [module, version]));
const stepNames = ({ steps }: Awaited<ReturnType<typeof loadSet>>) =>
  steps.map(({ step, module }) => (module ? `${step} ${module}` : step));

test('installs modules that import each other, which no order of single loads could', async () => {
  const cyclic = (inner: string) => `
    (module
      (import "${inner}" "down" (func $inner (param i32) (result i32)))
      (func (export "down") (param $n i32) (result i32)
        (if (result i32) (i32.eqz (local.get $n)) (then (i32.const 0))
          (else (i32.add (i32.const 1) (call $inner (i32.sub (local.get $n) (i32.const 1))))))))`;
  expect(await machine.load('ip', '1.0.0', cyclic('arp'))).toMatchObject({ outcome: 'refused-unresolved' });
  const report = await loadSet({ ip: ['1.0.0', cyclic('arp')], arp: ['1.0.0', cyclic('ip')] });
  expect(report).toMatchObject({
    outcome: 'installed',
    previous: null,
    current: null,
    members: [
      { module: 'ip', previous: null, current: { version: '1.0.0' } },
      { module: 'arp', previous: null, current: { version: '1.0.0' } },
    ],
  });
  expect(stepNames(report)).toEqual([
    'received ip',
    'received arp',
    'looked-up ip',
    'looked-up arp',
    'linked',
    'loaded ip',
    'loaded arp',
    'table-updated ip',
    'table-updated arp',
    'completed',
  ]);
  await machine.start('p', { module: 'ip', export: 'down', arguments: ['7'], calls: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ lastResult: '7', callsFailed: 0 });
});

test.each(['module', 'percolate'] as const)('old → old becomes new → new, with recovery %s', async (recovery) => {
  await loadSet({ tcp: ['1.0.0', workModule(1)], http: ['1.0.0', callerOf('tcp', 10)] });
  await machine.start('p', { module: 'http', arguments: [endless], threads: 5, calls: 1, recovery });
  await until(() => referenceCount(machine, 'tcp') === 5);
  const report = await loadSet({ tcp: ['2.0.0', quickModule(2)], http: ['2.0.0', callerOf('tcp', 20)] });
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 5, retried: 5, failed: 0 });
  expect(report.steps.find(({ step }) => step === 'interrupted')?.facts).toMatchObject({ accesses: 10, threads: 5 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 5, callsFailed: 0, lastResult: String(Number(endless) + 22) });
  // The effects of the interrupted accesses of both old versions are dropped.
  expect(machine.effects.map(({ channel }) => channel)).toEqual(Array.from({ length: 5 }, () => [20, 2, 20]).flat());
});

test('a thread inside one member only is interrupted there, and keeps what it has done in a module that is not a member', async () => {
  await loadSet({ tcp: ['1.0.0', workModule(1)], http: ['1.0.0', callerOf('tcp', 10)], log: ['1.0.0', callerOf('tcp', 30)] });
  await machine.start('p', { module: 'log', arguments: [endless], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  const report = await loadSet({ tcp: ['2.0.0', quickModule(2)], http: ['2.0.0', callerOf('tcp', 20)] });
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 1, retried: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.effects.map(({ channel }) => channel)).toEqual([30, 2, 30]);
});

test('while a set drains, threads inside an old version stay among old versions, and others enter new ones', async () => {
  // `middle` is no member: old threads pass through it too.
  await loadSet({
    tcp: ['1.0.0', quickModule(1)],
    middle: ['1.0.0', callerOf('tcp', 100)],
    http: ['1.0.0', waiterFor('middle', 10)],
  });
  await machine.start('old', { module: 'http', arguments: ['0'], threads: 3, calls: 1 });
  await until(() => referenceCount(machine, 'http') === 3);
  const loading = loadSet({ tcp: ['2.0.0', quickModule(2)], http: ['2.0.0', callerOf('middle', 20)] }, { strategy: 'drain' });
  await until(() => machine.device.state().draining !== undefined);
  expect(machine.device.state().draining).toMatchObject({ module: 'http', previousVersion: '1.0.0', accesses: 3 });
  await machine.start('new', { module: 'http', arguments: ['0'], threads: 2, calls: 1 });
  await machine.start('aside', { module: 'middle', arguments: ['0'], calls: 1 });
  await until(() => machine.statistics('new').state === 'finished' && machine.statistics('aside').state === 'finished');
  expect(machine.device.state().draining).toBeDefined();
  await openLatch();
  expect(await loading).toMatchObject({ outcome: 'replaced', interrupted: 0 });
  await until(() => machine.statistics('old').state === 'finished');
  expect(machine.statistics('new')).toMatchObject({ callsFailed: 0, lastResult: '122' });
  expect(machine.statistics('aside')).toMatchObject({ callsFailed: 0, lastResult: '102' });
  expect(machine.statistics('old')).toMatchObject({ callsCompleted: 3, callsFailed: 0, lastResult: '111' });
  // After the drain, no stub stands in for the functions.
  await machine.start('later', { module: 'http', arguments: ['0'], calls: 1 });
  await until(() => machine.statistics('later').state === 'finished');
  expect(machine.statistics('later')).toMatchObject({ lastResult: '122', versions: [{ version: '2.0.0', callsCompleted: 1 }] });
});

test('old versions find what the new one of a draining set no longer exports', async () => {
  const both = `(module (func (export "work") (param i32) (result i32) (i32.const 1)) (func (export "more") (param i32) (result i32) (i32.const 5)))`;
  await loadSet({ tcp: ['1.0.0', both], http: ['1.0.0', waiterFor('tcp', 0, 'more')] });
  await machine.start('old', { module: 'http', calls: 1 });
  await until(() => referenceCount(machine, 'http') === 1);
  const next: Sources = { tcp: ['2.0.0', quickModule(2)], http: ['2.0.0', callerOf('tcp', 20)] };
  const loading = loadSet(next, { strategy: 'drain', similarityPolicy: 'warn' });
  await until(() => machine.device.state().draining !== undefined);
  await openLatch();
  expect(await loading).toMatchObject({ outcome: 'replaced' });
  await until(() => machine.statistics('old').state === 'finished');
  expect(machine.statistics('old')).toMatchObject({ callsFailed: 0, lastResult: '5' });
});

test('refuses to drain if a new version changes a type that an old one calls', async () => {
  const wide = '(module (func (export "work") (param i64) (result i64) (local.get 0)))';
  const wideCaller = `(module (import "tcp" "work" (func $w (param i64) (result i64)))
    (func (export "work") (param i32) (result i32) (i32.wrap_i64 (call $w (i64.const 3)))))`;
  await loadSet({ tcp: ['1.0.0', quickModule(1)], http: ['1.0.0', callerOf('tcp', 10)] });
  const next: Sources = { tcp: ['2.0.0', wide], http: ['2.0.0', wideCaller] };
  const report = await loadSet(next, { strategy: 'drain', similarityPolicy: 'off' });
  expect(report).toMatchObject({
    outcome: 'refused-dissimilar',
    reason:
      'tcp@2.0.0 changes the type of work, which http@1.0.0 imports: old and new versions cannot run side by side; use strategy inject',
  });
  expect(versions()).toMatchObject({ tcp: '1.0.0', http: '1.0.0' });
  expect(await loadSet(next, { similarityPolicy: 'off' })).toMatchObject({ outcome: 'replaced' });
});

test.each([
  ['cancelled', { strategy: 'drain' }],
  ['timed out', { strategy: 'drain', drainMilliseconds: 50 }],
] as const)('a drain that is %s reverts all entries, and accesses inside new versions retry in the old ones', async (what, options) => {
  await loadSet({ tcp: ['1.0.0', workModule(1)], http: ['1.0.0', callerOf('tcp', 10)] });
  await machine.start('old', { module: 'http', arguments: [endless], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  const loading = loadSet({ tcp: ['2.0.0', quickModule(2)], http: ['2.0.0', waiterFor('tcp', 20)] }, options);
  await until(() => machine.device.state().draining !== undefined);
  await machine.start('new', { module: 'http', arguments: ['0'], calls: 1 });
  await until(() => what === 'timed out' || referenceCount(machine, 'http') === 1);
  if (what === 'cancelled') await machine.device.cancelDrain('cancelled by the test');
  const report = await loading;
  expect(report.outcome).toBe(what === 'cancelled' ? 'cancelled' : 'failed');
  expect(report.reason).toMatch(/2 accesses were still inside tcp@1\.0\.0, http@1\.0\.0 after \d+ ms/);
  expect(versions()).toMatchObject({ tcp: '1.0.0', http: '1.0.0' });
  await until(() => machine.statistics('new').state === 'finished');
  expect(machine.statistics('new')).toMatchObject({ callsFailed: 0, lastResult: '11' });
  await machine.device.stopProgram('old');
});

test.each([
  ['is not newer', { tcp: ['1.0.0', quickModule(5)] }, 'refused-not-newer', /^tcp@1\.0\.0 has the same precedence/],
  ['has an import that nothing provides', { tcp: ['2.0.0', callerOf('udp', 1)] }, 'refused-unresolved', /udp/],
  [
    'fails its self-check',
    { tcp: ['2.0.0', `${quickModule(2).slice(0, -1)}(func (export "self_check") (result i32) (i32.const 3)))`] },
    'failed',
    /^tcp@2\.0\.0: its self-check returned 3/,
  ],
  [
    'has no room',
    {
      tcp: [
        '2.0.0',
        `${quickModule(2).slice(0, -1)}(memory 1) (data (i32.const 0) "${'x'.repeat(60_000)}") (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0))))`,
      ],
    },
    'failed',
    /^out of memory: tcp@2\.0\.0 needs \d+ contiguous pages/,
  ],
] as [string, Sources, string, RegExp][])('changes nothing if one member %s', async (_what, broken, outcome, reason) => {
  await machine.close();
  machine = createTestMachine({ ramPages: 12 });
  await loadSet({ http: ['1.0.0', quickModule(1)], tcp: ['1.0.0', quickModule(1)] });
  const before = machine.device.state();
  const report = await loadSet({ http: ['2.0.0', quickModule(2)], ...broken });
  expect(report).toMatchObject({ outcome, reason: expect.stringMatching(reason) });
  expect(report.members?.map(({ previous, current }) => [previous?.version, current?.version])).toEqual([
    ['1.0.0', '1.0.0'],
    ['1.0.0', '1.0.0'],
  ]);
  expect({ ...machine.device.state(), at: before.at }).toEqual(before);
});

test('restores every image whose pages were reclaimed if a later member does not start', async () => {
  await machine.close();
  machine = createTestMachine({ ramPages: 7 });
  // Six usable pages: two in the table, then two retired.
  await loadSet({ http: ['1.0.0', quickModule(1)], tcp: ['1.0.0', quickModule(1)] });
  await loadSet({ http: ['1.1.0', quickModule(1)], tcp: ['1.1.0', quickModule(1)] });
  await loadSet({ http: ['1.2.0', quickModule(1)], tcp: ['1.2.0', quickModule(1)] });
  const before = machine.device.state();
  const broken = `${quickModule(2).slice(0, -1)}(func (export "self_check") (result i32) (unreachable)))`;
  expect(await loadSet({ http: ['2.0.0', quickModule(2)], tcp: ['2.0.0', broken] })).toMatchObject({ outcome: 'failed' });
  expect({ ...machine.device.state(), at: before.at }).toEqual(before);
  const report = await loadSet({ http: ['2.0.0', quickModule(2)], tcp: ['2.0.0', quickModule(3)] });
  expect(report.outcome).toBe('replaced');
  const reclaimed = report.steps.flatMap((step) => (step.step === 'loaded' ? step.facts.reclaimed.map(({ version }) => version) : []));
  expect(reclaimed).toEqual(['1.0.0', '1.0.0']);
});

test('self-checks call new versions, and before_unload calls old ones', async () => {
  const checking = (plus: number, expected: number) => `
    (module
      (import "tcp" "work" (func $work (param i32) (result i32)))
      (import "kernel" "emit" (func $emit (param i32 i64)))
      (func (export "self_check") (result i32) (i32.sub (call $work (i32.const 0)) (i32.const ${expected})))
      (func (export "before_unload") (if (i32.ne (call $work (i32.const 0)) (i32.const ${expected})) (then (unreachable))))
      (func (export "after_load") (if (i32.ne (call $work (i32.const 0)) (i32.const ${expected})) (then (unreachable))))
      (func (export "work") (param i32) (result i32) (i32.const ${plus})))`;
  const first = await loadSet({ http: ['1.0.0', checking(10, 1)], tcp: ['1.0.0', quickModule(1)] });
  expect(first.outcome).toBe('installed');
  const report = await loadSet({ http: ['2.0.0', checking(20, 2)], tcp: ['2.0.0', quickModule(2)] });
  expect(report.outcome).toBe('replaced');
  expect(report.steps.flatMap(({ step, module, facts }) => (module === 'http' && step === 'loaded' ? [facts] : []))).toMatchObject([
    { selfCheck: 'passed', beforeUnload: 'completed' },
  ]);
  expect(report.steps.flatMap(({ step, module, facts }) => (module === 'http' && step === 'table-updated' ? [facts] : []))).toMatchObject([
    { afterLoad: 'completed' },
  ]);
});

test('keeps members that are in memory already, and refuses a set of only such members', async () => {
  await machine.load('tcp', '1.0.0', quickModule(1));
  const sources: Sources = { tcp: ['1.0.0', quickModule(1)], http: ['1.0.0', callerOf('tcp', 10)] };
  const address = machine.device.state().moduleTable.find(({ module }) => module === 'tcp')?.address;
  expect(await loadSet(sources)).toMatchObject({
    outcome: 'installed',
    members: [
      { module: 'tcp', previous: { address }, current: { address } },
      { module: 'http', previous: null },
    ],
  });
  expect(await loadSet(sources)).toMatchObject({
    outcome: 'refused-not-newer',
    reason: 'all members of the patch set are in memory already',
  });
});

test('unloads a module and replaces another in one step, also while it drains', async () => {
  await loadSet({ tcp: ['1.0.0', quickModule(1)], http: ['1.0.0', waiterFor('tcp', 10)] });
  await machine.start('old', { module: 'http', arguments: ['0'], calls: 1 });
  await until(() => referenceCount(machine, 'http') === 1);
  const http = await moduleImage('http', '2.0.0', quickModule(7));
  const loading = machine.device.loadPatchSet({ members: [{ unload: 'tcp' }, { image: http }], strategy: 'drain' });
  await until(() => machine.device.state().draining !== undefined);
  expect(versions()).toEqual({ latch: '1.0.0', http: '2.0.0' });
  await machine.start('new', { module: 'tcp', arguments: ['0'], calls: 1 });
  await until(() => machine.statistics('new').state !== 'running');
  expect(machine.statistics('new')).toMatchObject({
    callsCompleted: 0,
    callsFailed: 1,
    lastFailure: expect.stringMatching(/segmentation fault/),
  });
  await openLatch();
  expect(await loading).toMatchObject({ outcome: 'replaced', members: [{ module: 'tcp', current: null }, { module: 'http' }] });
  await until(() => machine.statistics('old').state === 'finished');
  expect(machine.statistics('old')).toMatchObject({ callsFailed: 0, lastResult: '11' });
  await machine.start('later', { module: 'tcp', arguments: ['0'], calls: 1 });
  await until(() => machine.statistics('later').state !== 'running');
  expect(machine.statistics('later')).toMatchObject({ callsFailed: 1 });
});

test('interrupts programs with hard-coded addresses inside an old version when the drain ends', async () => {
  await loadSet({ tcp: ['1.0.0', workModule(1)], http: ['1.0.0', waiterFor('tcp', 10)] });
  await machine.start('pinned', { module: 'http', arguments: ['0'], addressing: 'hard-coded', calls: 1 });
  await machine.start('p', { module: 'tcp', arguments: [endless], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  const loading = loadSet({ tcp: ['2.0.0', quickModule(2)], http: ['2.0.0', callerOf('tcp', 20)] }, { strategy: 'drain' });
  await until(() => machine.device.state().draining !== undefined);
  await machine.device.stopProgram('p');
  expect(await loading).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 1 });
  await until(() => machine.statistics('pinned').state === 'finished');
  expect(machine.statistics('pinned')).toMatchObject({ lastResult: '22' });
});

test('the lifecycle exports of all members have a limit of time together, and the set changes nothing past it', async () => {
  const slow = (plus: number) => `
    (module (func (export "work") (param i32) (result i32) (i32.const ${plus}))
      (func (export "self_check") (result i32) (local $n i32)
        (loop $l (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 500000)))) (i32.const 0)))`;
  await machine.close();
  const clock = new SimulatedClock();
  // Each check of the clock takes 5 ms: one member is far from its own limit.
  machine = createTestMachine({ processor: new Processor({ clock }) });
  const names = Array.from({ length: patchSetLimit }, (_, index) => `m${index}`);
  const report = await runUntilSettled(clock, loadSet(Object.fromEntries(names.map((name) => [name, ['1.0.0', slow(1)]]))));
  expect(report).toMatchObject({
    outcome: 'failed',
    reason: expect.stringMatching(/^m\d+@1\.0\.0: the load ran code for more than 500 ms/),
  });
  expect(machine.device.state().moduleTable).toEqual([]);
  expect(await runUntilSettled(clock, machine.load('m0', '1.0.0', slow(1)))).toMatchObject({ outcome: 'installed' });
});

test('a set has a limited number of members, each module once, and pages that are invalidated', async () => {
  const members = await membersOf({ tcp: ['1.0.0', quickModule(1)] });
  const many = Array.from({ length: patchSetLimit + 1 }, (_, index) => ({ unload: `m${index}` }));
  await expect(machine.device.loadPatchSet({ members: [] })).rejects.toThrow('a patch set has 1 to 16 members, received 0');
  await expect(machine.device.loadPatchSet({ members: many })).rejects.toThrow('a patch set has 1 to 16 members, received 17');
  await expect(machine.device.loadPatchSet({ members: [...members, ...members] })).rejects.toThrow('tcp occurs twice');
  await expect(machine.device.loadPatchSet({ members, invalidation: 'none' })).rejects.toThrow('use nx, mark-invalid or delete');
});

test('places large images first, so that small ones do not split the gap that they need', async () => {
  const large = `${quickModule(1).slice(0, -1)}(memory 1) (data (i32.const 0) "${'x'.repeat(36_000)}") (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0))))`;
  const pages = (await machine.load('large', '1.0.0', large)).current?.pages ?? 0;
  await machine.close();
  // Gaps for a large and a small image, with one in use between them.
  machine = createTestMachine({ ramPages: pages + 3 });
  for (const [module, wat] of [['large', large] as const, ['between', quickModule(1)] as const, ['small', quickModule(1)] as const])
    await machine.load(module, '1.0.0', wat);
  for (const module of ['large', 'small']) await machine.device.unload({ module, invalidation: 'delete' });
  const report = await loadSet({ a: ['1.0.0', quickModule(1)], b: ['1.0.0', large] });
  expect(report).toMatchObject({ outcome: 'installed', members: [{ module: 'a' }, { module: 'b' }] });
});

test('refuses to drain if a new version changes a type that a module between old versions calls', async () => {
  const next: Sources = {
    tcp: ['2.0.0', '(module (func (export "work") (param i64) (result i32) (i32.const 9)))'],
    http: ['2.0.0', quickModule(2)],
  };
  await loadSet({ tcp: ['1.0.0', quickModule(1)], middle: ['1.0.0', callerOf('tcp', 100)], http: ['1.0.0', waiterFor('middle', 10)] });
  expect(await loadSet(next, { strategy: 'drain', similarityPolicy: 'off', linkPolicy: 'warn' })).toMatchObject({
    outcome: 'refused-dissimilar',
    reason: expect.stringContaining('tcp@2.0.0 changes the type of work, which middle@1.0.0 imports'),
  });
});

test.each([
  ['a build', false],
  ['a patch set', true],
])('after %s has failed, a module that its self-check called first never reaches the slots of another module', async (_what, isSet) => {
  const exports = (first: number) =>
    Array.from({ length: 9 }, (_, index) => `(func (export "f${index}") (param i32) (result i32) (i32.const ${first + index}))`).join('\n');
  const between = `(module (import "tcp" "more" (func $more (param i32) (result i32)))
    (func (export "work") (param $n i32) (result i32) (call $more (local.get $n))))`;
  // Its self-check calls `between`, which calls it back, and then fails.
  const failing = `(module (import "between" "work" (func $between (param i32) (result i32)))
    (func (export "work") (param i32) (result i32) (i32.const 2))
    ${exports(0)} (func (export "more") (param i32) (result i32) (i32.const 5))
    (func (export "self_check") (result i32) (call $between (i32.const 0))))`;
  await machine.load('tcp', '1.0.0', quickModule(1));
  // The slots of its exports follow those of tcp.
  await machine.load('udp', '1.0.0', `(module ${exports(100)})`);
  for (let index = 0; index < 9; index += 1) await machine.start(`u${index}`, { module: 'udp', export: `f${index}`, calls: 1 });
  await until(() => machine.device.state().programs.every(({ state }) => state === 'finished'));
  await machine.load('between', '1.0.0', between, 'off');
  const image = await moduleImage('tcp', '2.0.0', failing);
  const report = isSet ? await machine.device.loadPatchSet({ members: [{ image }] }) : await machine.device.load({ image });
  expect(report.outcome).toBe('failed');
  await machine.start('p', { module: 'between', arguments: ['0'], calls: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 0, callsFailed: 1 });
  expect(machine.statistics('p').lastFailure).toContain('tcp@1.0.0 does not export it');
});

test('a member is not bound to a later version of a module that its set has unloaded, while that version may be reverted', async () => {
  const exports = (first: number) =>
    Array.from({ length: 9 }, (_, index) => `(func (export "f${index}") (param i32) (result i32) (i32.const ${first + index}))`).join('\n');
  const importer = `(module (import "tcp" "more" (func $more (param i32) (result i32)))
    (func (export "work") (param $n i32) (result i32) (call $more (local.get $n))))`;
  await machine.load('tcp', '1.0.0', quickModule(1));
  const members = [{ unload: 'tcp' }, { image: await moduleImage('http', '1.0.0', importer) }];
  expect(await machine.device.loadPatchSet({ members, linkPolicy: 'off' })).toMatchObject({ outcome: 'replaced' });
  await machine.load('tcp', '2.0.0', workModule(1));
  // The slots of its exports follow those of tcp.
  await machine.load('udp', '1.0.0', `(module ${exports(100)})`);
  for (let index = 0; index < 9; index += 1) await machine.start(`u${index}`, { module: 'udp', export: `f${index}`, calls: 1 });
  await machine.start('old', { module: 'tcp', arguments: [endless], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  const more = `${quickModule(2).slice(0, -1)} ${exports(0)} (func (export "more") (param i32) (result i32) (i32.const 5)))`;
  const loading = machine.device.load({ image: await moduleImage('tcp', '3.0.0', more), strategy: 'drain' });
  await until(() => machine.device.state().draining !== undefined);
  await machine.start('during', { module: 'http', arguments: ['0'], calls: 1 });
  await until(() => machine.statistics('during').state === 'finished');
  await machine.device.cancelDrain('not yet');
  await loading;
  await machine.start('after', { module: 'http', arguments: ['0'], calls: 1 });
  await until(() => machine.statistics('after').state === 'finished');
  expect(machine.statistics('after')).toMatchObject({ callsCompleted: 0, callsFailed: 1 });
  await machine.device.stopProgram('old');
});
