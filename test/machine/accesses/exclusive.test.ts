// Exclusive modules: one access at a time is inside, other accesses wait at the entry, and no wait lasts forever.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import type { VerifiedImage } from '../../../src/machine/index.ts';
import type { LinkPolicy } from '../../../src/machine/isolation/load-report.ts';
import { readVerified } from '../read-verified.ts';
import { compiler, createTestMachine, driverImage, endless, referenceCount, type TestMachine, until } from '../test-machine.ts';

let machine: TestMachine;
beforeEach(() => {
  machine = createTestMachine();
});
afterEach(() => machine.close());
afterAll(() => compiler.close());

async function exclusiveImage(module: string, version: string, source: string): Promise<VerifiedImage> {
  const result = await compiler.compileModule({ module, version, language: 'wat', source, concurrency: 'exclusive' });
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  return readVerified(result.compiled.image, result.compiled.digest);
}

async function load(module: string, version: string, source: string, linkPolicy: LinkPolicy = 'require') {
  return machine.device.load({ image: await exclusiveImage(module, version, source), strategy: 'inject', linkPolicy });
}

const loop = (rounds: string) => `
  (local.set $i (i32.const 0))
  (loop $next
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.or (i32.eq ${rounds} (i32.const ${endless})) (i32.lt_u (local.get $i) ${rounds}))))`;

/** `work(rounds)` reads a number from memory, loops, and writes the number plus one. `kept` returns the number. */
const counting = (more = '') => `
  (module
    (memory 1)
    ${more}
    (func (export "kept") (param i32) (result i32) (i32.load (i32.const 0)))
    (func (export "fail") (param i32) (result i32) (unreachable))
    (func (export "work") (param $rounds i32) (result i32) (local $i i32) (local $read i32)
      (local.set $read (i32.load (i32.const 0)))
      ${loop('(local.get $rounds)')}
      (i32.store (i32.const 0) (i32.add (local.get $read) (i32.const 1)))
      (local.get $read)))`;

/** \`work(rounds)\` loops, then calls \`inner.work(rounds)\`. */
const calling = (inner: string) => `
  (module
    (import "${inner}" "work" (func $inner (param i32) (result i32)))
    (func (export "quick") (param i32) (result i32) (i32.const 1))
    (func (export "work") (param $rounds i32) (result i32) (local $i i32)
      ${loop('(local.get $rounds)')}
      (call $inner (local.get $rounds))))`;

const finished = (program: string) => until(() => machine.statistics(program).state === 'finished');

test('lets an exclusive module export what it imports', async () => {
  await load('inner', '1.0.0', '(module (func (export "work") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))');
  await load('outer', '1.0.0', '(module (import "inner" "work" (func $inner (param i32) (result i32))) (export "work" (func $inner)))');
  await machine.start('p', { module: 'outer', arguments: ['41'], threads: 3, calls: 10 });
  await finished('p');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 30, callsFailed: 0, lastResult: '42' });
});

async function kept(): Promise<string | null> {
  await machine.start('kept', { module: 'counter', export: 'kept', arguments: ['0'], calls: 1 });
  await finished('kept');
  return machine.statistics('kept').lastResult;
}

test('runs accesses of an exclusive module one at a time, and those of a shared module concurrently', async () => {
  await load('counter', '1.0.0', counting());
  await machine.start('p', { module: 'counter', arguments: ['100000'], threads: 16, calls: 50 });
  await finished('p');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 800, callsFailed: 0 });
  expect(await kept()).toBe('800');
  const other = createTestMachine();
  await other.load('counter', '1.0.0', counting());
  await other.start('p', { module: 'counter', arguments: ['100000'], threads: 16, calls: 50 });
  await until(() => other.statistics('p').state === 'finished');
  await other.start('kept', { module: 'counter', export: 'kept', arguments: ['0'], calls: 1 });
  await until(() => other.statistics('kept').state === 'finished');
  expect(Number(other.statistics('kept').lastResult)).toBeLessThan(800);
  await other.close();
});

test('releases the module after a trap, a deadline or a stop', async () => {
  await load('counter', '1.0.0', counting());
  await machine.start('failing', { module: 'counter', export: 'fail', arguments: ['0'], threads: 4, calls: 5 });
  await finished('failing');
  expect(machine.statistics('failing')).toMatchObject({ callsFailed: 20 });
  await machine.start('late', { module: 'counter', arguments: [endless], threads: 3, calls: 1, deadlineMilliseconds: 30 });
  await finished('late');
  expect(machine.statistics('late')).toMatchObject({ callsFailed: 3 });
  await machine.start('stopped', { module: 'counter', arguments: [endless], threads: 3 });
  await until(() => referenceCount(machine, 'counter') === 3);
  await machine.device.stopProgram('stopped');
  await machine.start('p', { module: 'counter', arguments: ['1000'], threads: 8, calls: 10 });
  await finished('p');
  expect(await kept()).toBe('80');
});

test("counts waiting time towards a call's deadline, and stops a waiting program", async () => {
  await load('counter', '1.0.0', counting());
  await machine.start('owner', { module: 'counter', arguments: [endless] });
  await until(() => referenceCount(machine, 'counter') === 1);
  await machine.start('late', { module: 'counter', arguments: ['1'], threads: 2, calls: 1, deadlineMilliseconds: 30 });
  await finished('late');
  expect(machine.statistics('late').lastFailure).toMatch(/deadline of 30 ms/);
  await machine.start('waiting', { module: 'counter', arguments: ['1'], threads: 5, calls: 1 });
  await until(() => referenceCount(machine, 'counter') === 6);
  await machine.device.stopProgram('waiting');
  expect(machine.statistics('waiting')).toMatchObject({ state: 'stopped', callsCompleted: 0 });
  // Neither program has been inside, so the module is not tainted.
  expect(machine.device.state().moduleTable[0]?.tainted).toBeNull();
  await machine.device.stopProgram('owner');
  expect(machine.device.state().moduleTable[0]?.tainted).toMatchObject({ reason: 'stop', accesses: 1 });
  expect(await kept()).toBe('0');
});

test('interrupts the owner and the waiting threads, which all retry in the new version', async () => {
  await load('counter', '1.0.0', counting());
  await machine.start('p', { module: 'counter', arguments: ['2000000000'], threads: 10, calls: 1 });
  await until(() => referenceCount(machine, 'counter') === 10);
  const report = await load(
    'counter',
    '1.1.0',
    counting()
      .replaceAll(`(i32.const ${endless})`, '(i32.const 2000000000)')
      .replace('(i32.lt_u (local.get $i) (local.get $rounds))', '(i32.lt_u (local.get $i) (i32.const 1000))')
      .replace(`(i32.eq (local.get $rounds) (i32.const ${endless}))`, '(i32.const 0)'),
  );
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 10, retried: 10, failed: 0 });
  expect(report.previous?.tainted).toMatchObject({ reason: 'interruption', accesses: 1 });
  await finished('p');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 10, callsFailed: 0 });
  expect(await kept()).toBe('10');
});

test('lets a thread enter a module again that it owns', async () => {
  await load('outer', '1.0.0', calling('inner'), 'off');
  await load('inner', '1.0.0', calling('leaf').replace('"leaf" "work"', '"outer" "quick"'));
  await machine.start('p', { module: 'outer', arguments: ['20000'], threads: 8, calls: 20 });
  await finished('p');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 160, callsFailed: 0 });
});

test('reports modules that wait for each other as a deadlock, and later calls continue', async () => {
  await load('a', '1.0.0', calling('b').replace('(call $inner (local.get $rounds))', '(call $inner (i32.const 0))'), 'off');
  await load('b', '1.0.0', calling('a').replaceAll('"a" "work"', '"a" "quick"'));
  await machine.start('from-a', { module: 'a', arguments: ['300000'], threads: 1, calls: 200 });
  await machine.start('from-b', { module: 'b', arguments: ['300000'], threads: 1, calls: 200 });
  await finished('from-a');
  await finished('from-b');
  const [a, b] = [machine.statistics('from-a'), machine.statistics('from-b')];
  expect(a.callsCompleted + a.callsFailed).toBe(200);
  expect(b.callsCompleted + b.callsFailed).toBe(200);
  expect(a.callsFailed + b.callsFailed).toBeGreaterThan(0);
  // Each deadlock ends one call, and lets at least one other complete before the next deadlock.
  expect(a.callsCompleted + b.callsCompleted).toBeGreaterThanOrEqual(200);
  expect(a.lastFailure ?? b.lastFailure).toMatch(
    /deadlock between exclusive modules: from-[ab] waits for [ab]@1\.0\.0, from-[ab] waits for [ab]@1\.0\.0; call the modules in the same order/,
  );
});

test('transfers state while an access is inside, and runs a self-check without an owner', async () => {
  const stateful = counting(`
    (import "kernel" "state_write" (func $write (param i64)))
    (import "kernel" "state_read" (func $read (result i64)))
    (func (export "state_save") (call $write (i64.load (i32.const 0))))
    (func (export "state_restore") (i64.store (i32.const 0) (call $read)))
    (func (export "self_check") (result i32) (i32.const 0))`)
    .replace('(memory 1)', '')
    .replace('(func (export "state_save")', '(memory 1) (func (export "state_save")');
  expect((await load('counter', '1.0.0', stateful)).outcome).toBe('installed');
  await machine.start('p', { module: 'counter', arguments: ['1000'], threads: 3, calls: 10 });
  await finished('p');
  await machine.start('q', { module: 'counter', arguments: [endless], threads: 2 });
  await until(() => referenceCount(machine, 'counter') === 2);
  const report = await load('counter', '1.1.0', stateful);
  expect(report).toMatchObject({ reason: null, interrupted: 2, retried: 2 });
  expect(report.steps.find(({ step }) => step === 'loaded')?.facts).toMatchObject({ stateWords: 1, selfCheck: 'passed' });
  await machine.device.stopProgram('q');
  expect(await kept()).toBe('30');
});

test('makes host calls wait like calls of programs', async () => {
  await load('counter', '1.0.0', counting());
  const entry = machine.device.openHostCall({ program: 'calls', driver: await driverImage('counter', 'work') });
  const results = await Promise.all(Array.from({ length: 20 }, () => entry.call(50_000)));
  expect(results.map(Number).toSorted((left, right) => left - right)).toEqual(Array.from({ length: 20 }, (_, index) => index));
});
