// Load options: strategies, recovery, invalidation, policies, self-checks and state transfer.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import type { LoadOptions } from '../../../src/machine/device.ts';
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
import { WatchedProcessor } from '../watched-processor.ts';

let processor: WatchedProcessor;
let machine: TestMachine;
beforeEach(() => {
  processor = new WatchedProcessor();
  machine = createTestMachine({ processor });
});
afterEach(() => machine.close());
afterAll(() => compiler.close());

const load = async (version: string, wat: string, options: Omit<LoadOptions, 'image'> = {}, module = 'tcp') =>
  machine.device.load({ image: await moduleImage(module, version, wat), ...options });
const names = (report: { steps: { step: string }[] }) => report.steps.map(({ step }) => step);
const factsOf = (report: { steps: { step: string; facts: unknown }[] }, name: string) =>
  report.steps.find(({ step }) => step === name)?.facts;
/** Returns the image of a version of the module that most tests load. */
const imageOf = (version: string) => [...processor.images.values()].find(({ image }) => image.stamp.version === version);
const ranges = () => machine.device.state().memoryMap.ranges;

/** `work` spins on a flag in the module's memory until `release` sets it. */
const gatedModule = (plus: number) => `
  (module (memory 1)
    (func (export "work") (param i32) (result i32)
      (loop $wait (br_if $wait (i32.eqz (i32.load (i32.const 0)))))
      (i32.const ${plus}))
    (func (export "release") (param i32) (result i32) (i32.store (i32.const 0) (i32.const 1)) (i32.const 0)))`;

/** Calls `work` of another module and adds to its result; emits before and after the call. */
const outerModule = (inner: string, plus: number) => `
  (module
    (import "kernel" "emit" (func $emit (param i32 i64)))
    (import "${inner}" "work" (func $inner (param i32) (result i32)))
    (func (export "work") (param $n i32) (result i32)
      (local $result i32)
      (call $emit (i32.const 100) (i64.const ${plus}))
      (local.set $result (call $inner (local.get $n)))
      (call $emit (i32.const 200) (i64.const ${plus}))
      (i32.add (local.get $result) (i32.const ${plus}))))`;

test('drain waits until the accesses inside have exited by themselves', async () => {
  await load('1.0.0', gatedModule(1));
  await machine.start('p', { module: 'tcp', threads: 3, calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 3);
  await machine.start('release', { module: 'tcp', export: 'release', pauseMilliseconds: 1 });
  const report = await load('1.1.0', gatedModule(2), { strategy: 'drain', drainMilliseconds: 30_000 });
  // The release may come before or after the swap: no access is interrupted, and all complete in the old version.
  expect(report).toMatchObject({ outcome: 'replaced', interrupted: 0 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({
    lastResult: '1',
    accessesInterrupted: 0,
    versions: [{ version: '1.0.0', callsCompleted: 3 }],
  });
});

test('reverts the swap when a drain times out, and removes the new version once no access is inside', async () => {
  await load('1.0.0', workModule(1));
  await machine.start('p', { module: 'tcp', arguments: [endless], threads: 3, calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 3);
  const report = await load('1.1.0', workModule(2), { strategy: 'drain', drainMilliseconds: 5 });
  expect(report).toMatchObject({
    outcome: 'failed',
    reason: expect.stringContaining('3 accesses were still inside 1.0.0 after 5 ms: drain longer'),
    current: { version: '1.0.0' },
  });
  expect(names(report)).toEqual([
    'received',
    'looked-up',
    'compared',
    'linked',
    'loaded',
    'table-updated',
    'checked-references',
    'failed',
    'completed',
  ]);
  expect(machine.device.state().moduleTable).toMatchObject([{ version: '1.0.0', referenceCount: 3 }]);
  await until(() => ranges().length === 1);
  expect(ranges()).toMatchObject([{ owner: { version: '1.0.0' }, nx: false }]);
  expect(new Set(processor.fetchable())).toEqual(new Set([imageOf('1.0.0')]));
  expect(machine.statistics('p')).toMatchObject({ state: 'running', callsFailed: 0, accessesInterrupted: 0 });
});

test('lets no access enter the new version after a reverted swap, not even by its address', async () => {
  await load('1.0.0', workModule(1));
  await machine.start('p', { module: 'tcp', arguments: [endless], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  const loading = load('1.1.0', workModule(2), { strategy: 'drain', drainMilliseconds: 2_000 });
  await until(() => machine.device.state().moduleTable[0]?.version === '1.1.0');
  await machine.start('early', { module: 'tcp', arguments: [endless], addressing: 'hard-coded', calls: 1 });
  await until(() => imageOf('1.1.0')?.bypassCount === 1);
  expect(await loading).toMatchObject({ outcome: 'failed', current: { version: '1.0.0' } });
  expect(ranges()).toMatchObject([{ owner: { version: '1.0.0' } }, { owner: { version: '1.1.0' }, valid: false }]);
  expect(new Set(processor.fetchable())).toEqual(new Set([imageOf('1.0.0')]));
  await machine.device.stopProgram('early');
});

test('retries the outermost of nested accesses of one module, so that no access stays in the old version', async () => {
  const again = `
    (module (import "b" "work" (func $b (param i32) (result i32)))
      (func (export "work") (param $n i32) (result i32)
        (if (i32.eqz (local.get $n)) (then (loop $stay (br_if $stay (i32.eqz (local.get $n))))))
        (call $b (i32.sub (local.get $n) (i32.const 1)))))`;
  await load('1.0.0', again, { linkPolicy: 'off' }, 'a');
  await load(
    '1.0.0',
    '(module (import "a" "work" (func $a (param i32) (result i32))) (func (export "work") (param i32) (result i32) (call $a (local.get 0))))',
    {},
    'b',
  );
  await machine.start('p', { module: 'a', arguments: ['2'], calls: 1 });
  await until(() => referenceCount(machine, 'a') === 3);
  const report = await load('1.1.0', quickModule(40), {}, 'a');
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 1, retried: 1 });
  expect(factsOf(report, 'interrupted')).toMatchObject({ accesses: 3, threads: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ lastResult: '42', accessesRetried: 1, versions: [{ version: '1.1.0' }] });
});

test('fails a call whose access was interrupted again after 100 retries', async () => {
  await load('1.0.0', workModule(1));
  await machine.start('p', { module: 'tcp', arguments: [endless], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  for (let minor = 1; minor <= 101; minor += 1) {
    const report = await load(`1.${minor}.0`, workModule(minor % 2), { invalidation: 'delete' });
    expect(report).toMatchObject({ interrupted: 1, failed: minor > 100 ? 1 : 0 });
    await until(() => minor > 100 || referenceCount(machine, 'tcp') === 1);
  }
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({
    callsCompleted: 0,
    callsFailed: 1,
    lastFailure: 'limit reached (100 retries per access): the access was interrupted again',
    versions: [{ version: '1.100.0', callsCompleted: 0, callsFailed: 1 }],
  });
});

test('drain-then-inject interrupts the accesses that are still inside at the deadline', async () => {
  await load('1.0.0', workModule(1));
  await machine.start('p', { module: 'tcp', arguments: [endless], threads: 3, calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 3);
  const report = await load('1.1.0', quickModule(2), { strategy: 'drain-then-inject', drainMilliseconds: 5 });
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 3, retried: 3, failed: 0 });
  expect(names(report).slice(6)).toEqual(['checked-references', 'interrupted', 'references-reset', 'invalidated', 'completed']);
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 3, callsFailed: 0 });
});

test('with recovery percolate, the error passes the calling module and the whole call is repeated', async () => {
  await load('1.0.0', workModule(1));
  await load('1.0.0', outerModule('tcp', 10), {}, 'http');
  await machine.start('p', { module: 'http', arguments: [endless], calls: 1, recovery: 'percolate' });
  await until(() => referenceCount(machine, 'tcp') === 1);
  const report = await load('1.1.0', quickModule(2));
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 1, retried: 1, failed: 0 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ lastResult: String(Number(endless) + 12), callsFailed: 0, accessesRetried: 1 });
  expect(machine.effects.map(({ channel }) => channel)).toEqual([100, 2, 200]);
});

test('patches any one or several of three nested modules under a running call, with both recoveries', async () => {
  for (const recovery of ['module', 'percolate'] as const) {
    for (const patched of [['a'], ['b'], ['c'], ['a', 'b'], ['b', 'c'], ['a', 'b', 'c']]) {
      const nested = createTestMachine({ processor: machine.processor });
      await nested.load('c', '1.0.0', workModule(1));
      await nested.load('b', '1.0.0', outerModule('c', 10));
      await nested.load('a', '1.0.0', outerModule('b', 100));
      await nested.start('p', { module: 'a', arguments: [endless], threads: 4, calls: 1, recovery });
      await until(() => referenceCount(nested, 'c') === 4);
      const next = new Map([
        ['a', outerModule('b', 200)],
        ['b', outerModule('c', 20)],
        ['c', quickModule(2)],
      ]);
      const reports = await Promise.all(patched.map((module) => nested.load(module, '1.1.0', next.get(module) ?? '')));
      for (const report of reports) expect(report).toMatchObject({ failed: 0 });
      if (!patched.includes('c')) await nested.load('c', '1.1.0', quickModule(2));
      await until(() => nested.statistics('p').state === 'finished');
      const expected = Number(endless) + 2 + (patched.includes('b') ? 20 : 10) + (patched.includes('a') ? 200 : 100);
      expect(nested.statistics('p')).toMatchObject({ callsCompleted: 4, callsFailed: 0, effects: 4 * 5, lastResult: String(expected) });
      for (const module of ['a', 'b', 'c']) expect(referenceCount(nested, module)).toBe(0);
      await nested.device.close();
    }
  }
});

test.each([
  ['none', { present: true, valid: true, nx: false }],
  ['mark-invalid', { present: true, valid: false, nx: false }],
  ['nx', { present: true, valid: true, nx: true }],
] as const)('invalidation %s leaves the old pages with these flags', async (invalidation, flags) => {
  await load('1.0.0', workModule(1));
  const report = await load('1.1.0', workModule(2), { invalidation });
  expect(factsOf(report, 'invalidated')).toMatchObject({ invalidation, address: '0x1000' });
  expect(ranges()[0]).toMatchObject({ owner: { version: '1.0.0' }, ...flags });
});

test('reuses deleted pages, so that any number of versions fit', async () => {
  await machine.start('p', { module: 'tcp', arguments: ['10'], threads: 2 });
  for (let minor = 0; minor < 120; minor += 1) {
    const report = await load(`1.${minor}.0`, workModule(minor % 4), { invalidation: 'delete' });
    expect(report.outcome).toMatch(/^(installed|replaced)/);
  }
  expect(ranges()).toHaveLength(1);
  expect(machine.processor.images.size).toBeLessThanOrEqual(2);
  await until(() => machine.statistics('p').versions.at(-1)?.version === '1.119.0');
});

test.each([
  ['none', 0, '1'],
  ['mark-invalid', 1, 'invalid'],
  ['nx', 1, 'nx'],
  ['delete', 1, 'not-present'],
] as const)('faults a hard-coded caller after invalidation %s, unless the pages stay valid', async (invalidation, violations, finding) => {
  await load('1.0.0', quickModule(1));
  await machine.start('stale', { module: 'tcp', arguments: ['0'], addressing: 'hard-coded', pauseMilliseconds: 1 });
  await machine.start('fine', { module: 'tcp', arguments: ['0'], pauseMilliseconds: 1 });
  await until(() => machine.statistics('stale').callsCompleted > 0);
  const report = await load('1.1.0', quickModule(2), { invalidation });
  expect(factsOf(report, 'invalidated')).toMatchObject({ invalidation, address: '0x1000', heldBy: ['stale'] });
  await until(() => machine.statistics('fine').versions.some(({ version }) => version === '1.1.0'));
  if (violations === 0) {
    const { callsCompleted } = machine.statistics('stale');
    await until(() => machine.statistics('stale').callsCompleted > callsCompleted);
    expect(machine.statistics('stale')).toMatchObject({ lastResult: finding, callsFailed: 0, faults: 0 });
    expect(machine.device.state().abiViolations).toEqual({ total: 0, newest: [] });
  } else {
    await until(() => (machine.device.abiViolations()[0]?.faults ?? 0) > 1);
    const { abiViolations, programs } = machine.device.state();
    expect(abiViolations).toMatchObject({
      total: 1,
      newest: [{ program: 'stale', module: 'tcp', version: '1.0.0', address: '0x1000', page: 1, flag: finding }],
    });
    expect(abiViolations.newest[0]?.faults).toBe(programs.find(({ program }) => program === 'stale')?.faults);
    expect(machine.statistics('stale').lastFailure).toMatch(/^segmentation fault: fetch from tcp@1\.0\.0 at 0x1000 \(page 1\)/);
  }
  expect(machine.statistics('fine').callsFailed).toBe(0);
});

test('does not reuse the address of deleted code while a program holds it', async () => {
  const small = createTestMachine({ ramPages: 3 });
  const loadSmall = async (module: string, version: string) =>
    small.device.load({ image: await moduleImage(module, version, quickModule(1)), invalidation: 'delete' });
  await loadSmall('tcp', '1.0.0');
  await small.start('stale', { module: 'tcp', addressing: 'hard-coded', pauseMilliseconds: 1 });
  await until(() => small.statistics('stale').callsCompleted > 0);
  await loadSmall('tcp', '1.1.0');
  expect(small.device.state().memoryMap.ranges).toMatchObject([
    { address: '0x1000', owner: { version: '1.0.0' }, present: false },
    { address: '0x2000', owner: { version: '1.1.0' }, present: true },
  ]);
  expect(await loadSmall('udp', '1.0.0')).toMatchObject({ outcome: 'failed' });
  await until(() => small.device.abiViolations().length > 0);
  await small.device.stopProgram('stale');
  expect(await loadSmall('udp', '1.0.0')).toMatchObject({ outcome: 'installed', current: { address: '0x1000' } });
  await small.close();
});

test('lets a hard-coded caller inside the removed code finish in the new version, and faults its next call', async () => {
  await load('1.0.0', workModule(1));
  await machine.start('stale', { module: 'tcp', arguments: [endless], addressing: 'hard-coded', calls: 2, threads: 50 });
  await until(() => machine.processor.images.size === 1 && machine.device.state().programs.length === 1);
  await until(() => [...machine.processor.images.values()].some((image) => 'bypassCount' in image && image.bypassCount === 50));
  const image = await moduleImage('tcp', '1.1.0', quickModule(2));
  const [report, inOld] = await machine.device.load({ image }).then((result) => [result, imageOf('1.0.0')?.bypassCount] as const);
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 50, retried: 50 });
  expect(inOld).toBe(0);
  await until(() => machine.statistics('stale').state === 'finished');
  expect(machine.statistics('stale')).toMatchObject({
    callsCompleted: 50,
    callsFailed: 50,
    versions: [
      { version: '1.1.0', callsCompleted: 50, callsFailed: 0 },
      { version: '1.0.0', callsCompleted: 0, callsFailed: 50 },
    ],
  });
  expect(machine.device.abiViolations()).toMatchObject([{ flag: 'nx', faults: 50 }]);
});

test('applies version policies: newer, different, or downgrade with a reason', async () => {
  await load('2.0.0', workModule(1));
  expect(await load('1.0.0', workModule(2))).toMatchObject({ outcome: 'refused-not-newer' });
  expect(await load('2.0.0+again', workModule(2), { versionPolicy: 'different' })).toMatchObject({ outcome: 'refused-not-newer' });
  expect(await load('1.9.0', workModule(2), { versionPolicy: 'different' })).toMatchObject({ outcome: 'replaced' });
  const report = await load('1.0.0', workModule(3), { versionPolicy: { downgrade: 'checksums are wrong' } });
  expect(report).toMatchObject({ outcome: 'replaced', current: { version: '1.0.0' } });
  expect(factsOf(report, 'compared')).toMatchObject({
    precedence: 'older',
    versionPolicy: 'downgrade',
    downgradeReason: 'checksums are wrong',
  });
});

test('applies similarity policies: require, warn, or off', async () => {
  const other = (plus: number) => `(module (func (export "other") (result i32) (i32.const ${plus})))`;
  await load('1.0.0', workModule(1));
  expect(await load('1.1.0', other(1))).toMatchObject({ outcome: 'refused-dissimilar' });
  const warned = await load('1.1.0', other(1), { similarityPolicy: 'warn' });
  expect(warned).toMatchObject({ outcome: 'replaced' });
  expect(factsOf(warned, 'compared')).toMatchObject({
    similarityPolicy: 'warn',
    similarity: { similar: false, removed: ['work'], added: ['other'] },
  });
  expect(await load('1.2.0', workModule(2), { similarityPolicy: 'off' })).toMatchObject({ outcome: 'replaced' });
});

const checked = (body: string) =>
  `(module (func (export "self_check") (result i32) ${body}) (func (export "work") (param i32) (result i32) (i32.const 1)))`;

test.each([
  ['returns 7', checked('(i32.const 7)'), 'its self-check returned 7, expected 0'],
  ['traps', checked('(unreachable)'), 'unreachable'],
  ['does not end', checked('(loop $l (br $l)) (unreachable)'), 'it ran longer than 100 ms'],
  [
    'sleeps',
    `(module (import "kernel" "sleep" (func $s (param i32))) (func (export "self_check") (result i32) (call $s (i32.const 1)) (i32.const 0)))`,
    'tcp@1.1.0',
  ],
  [
    'traps in a module that it calls',
    `(module (import "udp" "work" (func $w (param i32) (result i32))) (func (export "self_check") (result i32) (drop (call $w (i32.const -1))) (i32.const 0)))`,
    'divide by zero',
  ],
])('does not load a version whose self-check %s, and leaves nothing of it in memory', async (_what, wat, reason) => {
  const trap = '(module (func (export "work") (param i32) (result i32) (i32.div_u (i32.const 1) (i32.add (local.get 0) (i32.const 1)))))';
  await load('1.0.0', trap);
  await machine.load('udp', '1.0.0', trap);
  const before = machine.device.state();
  const report = await load('1.1.0', wat, { similarityPolicy: 'off', linkPolicy: 'off' });
  expect(report).toMatchObject({ outcome: 'failed', reason: expect.stringContaining(reason), current: { version: '1.0.0' } });
  expect({ ...machine.device.state(), at: before.at }).toEqual(before);
  expect(referenceCount(machine, 'tcp')).toBe(0);
});

test('records a self-check that passes, and drops its effects', async () => {
  const wat = `(module (import "kernel" "emit" (func $emit (param i32 i64)))
    (func (export "self_check") (result i32) (call $emit (i32.const 1) (i64.const 1)) (i32.const 0))
    (func (export "work") (param i32) (result i32) (i32.const 1)))`;
  expect(factsOf(await load('1.0.0', wat), 'loaded')).toMatchObject({ selfCheck: 'passed', stateWords: null });
  expect(machine.effects).toEqual([]);
});

test('fails the load of a start function that does not end', async () => {
  const wat = '(module (func $start (loop $next (br $next))) (start $start) (func (export "work") (param i32) (result i32) (i32.const 1)))';
  expect(await load('1.0.0', wat)).toMatchObject({
    outcome: 'failed',
    reason: expect.stringContaining('it ran longer than 100 ms'),
    current: null,
  });
  expect(ranges()).toEqual([]);
});

/** Counts its calls; saves and restores the count. */
const counter = (save: string, restore: string) => `
  (module
    (import "kernel" "state_write" (func $write (param i64)))
    (import "kernel" "state_read" (func $read (result i64)))
    (global $count (mut i64) (i64.const 0))
    (func (export "state_save") ${save})
    (func (export "state_restore") ${restore})
    (func (export "work") (param i32) (result i32)
      (global.set $count (i64.add (global.get $count) (i64.const 1)))
      (i32.wrap_i64 (global.get $count))))`;
const goodSave = '(call $write (global.get $count))';
const goodRestore = '(global.set $count (call $read))';

test('transfers state if both versions support it', async () => {
  await load('1.0.0', counter(goodSave, goodRestore));
  await machine.start('p', { module: 'tcp', calls: 5 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(factsOf(await load('1.1.0', counter(goodSave, `${goodRestore} (nop)`)), 'loaded')).toMatchObject({ stateWords: 1 });
  await machine.start('q', { module: 'tcp', calls: 1 });
  await until(() => machine.statistics('q').state === 'finished');
  expect(machine.statistics('q').lastResult).toBe('6');
  expect(factsOf(await load('1.2.0', workModule(1), { similarityPolicy: 'off' }), 'loaded')).toMatchObject({ stateWords: null });
});

test.each([
  ['save traps', '(unreachable)', goodRestore, 'unreachable'],
  ['restore traps', goodSave, '(unreachable)', 'unreachable'],
  [
    'restore reads more than was saved',
    goodSave,
    `${goodRestore} (drop (call $read))`,
    /reads more words of state than the old version saved \(1\)/,
  ],
  // On a slow machine the time limit of 100 ms comes first.
  [
    'save writes without end',
    '(loop $l (call $write (i64.const 1)) (br $l))',
    goodRestore,
    /limit reached \(65536 words per state transfer\)|ran longer than 100 ms/,
  ],
])('fails the load when %s, and the old version keeps its state', async (_what, save, restore, reason) => {
  await load('1.0.0', counter(save, restore));
  await machine.start('p', { module: 'tcp', calls: 5 });
  await until(() => machine.statistics('p').state === 'finished');
  const report = await load('1.1.0', counter(save, `${restore} (nop)`));
  expect(report).toMatchObject({ outcome: 'failed', reason: expect.stringMatching(reason), current: { version: '1.0.0' } });
  await machine.start('q', { module: 'tcp', calls: 1 });
  await until(() => machine.statistics('q').state === 'finished');
  expect(machine.statistics('q')).toMatchObject({ lastResult: '6', versions: [{ version: '1.0.0', callsCompleted: 1 }] });
});

test('rejects state access in a call', async () => {
  await load(
    '1.0.0',
    '(module (import "kernel" "state_read" (func $read (result i64))) (func (export "work") (param i32) (result i32) (i32.wrap_i64 (call $read))))',
  );
  await machine.start('p', { module: 'tcp', calls: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p').lastFailure).toContain('available only in state_save and state_restore');
});

test.each([
  ['computes', workModule(1), endless],
  [
    'sleeps',
    '(module (import "kernel" "sleep" (func $sleep (param i32))) (func (export "work") (param i32) (result i32) (call $sleep (local.get 0)) (i32.const 1)))',
    '1000000',
  ],
])('ends a call that %s past its deadline with a deadline error', async (_what, wat, argument) => {
  await load('1.0.0', wat);
  await machine.start('p', { module: 'tcp', arguments: [argument], calls: 2, deadlineMilliseconds: 10 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({
    callsCompleted: 0,
    callsFailed: 2,
    lastFailure: expect.stringContaining('the call exceeded its deadline of 10 ms'),
  });
  expect(referenceCount(machine, 'tcp')).toBe(0);
});

test('does not disturb calls within their deadline, however many there are', async () => {
  await load('1.0.0', workModule(1));
  await machine.start('p', { module: 'tcp', arguments: ['1000'], calls: 5_000, deadlineMilliseconds: 60_000, threads: 2 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 10_000, callsFailed: 0 });
});

test('queues a load while another one drains', async () => {
  await load('1.0.0', workModule(1));
  await machine.start('p', { module: 'tcp', arguments: [endless], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  const [drained, injected] = await Promise.all([
    load('1.1.0', workModule(2), { strategy: 'drain', drainMilliseconds: 20 }),
    load('1.2.0', quickModule(3)),
  ]);
  expect(drained).toMatchObject({ outcome: 'failed' });
  expect(injected).toMatchObject({ outcome: 'replaced-interrupting', previous: { version: '1.0.0' } });
});

test('gives the devices of a processor equal shares, whatever their number of threads', async () => {
  const other = createTestMachine({ processor: machine.processor });
  for (const one of [machine, other]) await one.load('tcp', '1.0.0', workModule(1));
  await machine.start('many', { module: 'tcp', arguments: ['1000'], threads: 500 });
  await other.start('one', { module: 'tcp', arguments: ['1000'], threads: 1 });
  await until(() => machine.statistics('many').callsCompleted > 20_000);
  const ratio = other.statistics('one').callsCompleted / machine.statistics('many').callsCompleted;
  expect(ratio).toBeGreaterThan(0.3);
  await other.device.close();
});
