// Injected errors: which accesses they target, what they undo, and what they leave running.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
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
beforeEach(() => {
  machine = createTestMachine();
});
afterEach(() => machine.close());
afterAll(() => compiler.close());

/** A module that calls `work` of another module and adds to its result; it emits before and after the call. */
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

test('moves ten thousand threads from the old version to the new one', async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  await machine.start('p', { module: 'tcp', arguments: [endless], threads: 10_000, calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 10_000);
  const report = await machine.load('tcp', '1.1.0', quickModule(1));
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 10_000, retried: 10_000, failed: 0 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 10_000, callsFailed: 0, effects: 10_000 });
});

test('drops the effects of an interrupted access: each completed call takes effect once', async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  await machine.start('p', { module: 'tcp', arguments: [endless], threads: 20, calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 20);
  expect(machine.effects).toEqual([]);
  await machine.load('tcp', '1.1.0', quickModule(1));
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.effects).toEqual(Array.from({ length: 20 }, () => ({ program: 'p', channel: 1, value: BigInt(endless) })));
});

test('retries only the inner access when an inner module is patched', async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  await machine.load('http', '1.0.0', outerModule('tcp', 10));
  await machine.start('p', { module: 'http', arguments: [endless], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  const report = await machine.load('tcp', '1.1.0', quickModule(1));
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 1, retried: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({
    lastResult: String(Number(endless) + 11),
    versions: [{ version: '1.0.0', callsCompleted: 1 }],
  });
  expect(machine.effects.map(({ channel, value }) => [channel, value])).toEqual([
    [100, 10n],
    [1, BigInt(endless)],
    [200, 10n],
  ]);
});

test('unwinds the inner access and retries the outer one when an outer module is patched', async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  await machine.load('http', '1.0.0', outerModule('tcp', 10));
  await machine.start('p', { module: 'http', arguments: [endless], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  const report = await machine.load('http', '1.1.0', quickModule(5));
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 1, retried: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ lastResult: String(Number(endless) + 5), callsFailed: 0 });
  expect(referenceCount(machine, 'tcp')).toBe(0);
  expect(machine.effects.map(({ channel }) => channel)).toEqual([5]);
});

test('interrupts a sleeping access', async () => {
  const sleeper =
    '(module (import "kernel" "sleep" (func $sleep (param i32))) (func (export "work") (param i32) (result i32) (call $sleep (local.get 0)) (i32.const 1)))';
  await machine.load('tcp', '1.0.0', sleeper);
  await machine.start('p', { module: 'tcp', arguments: ['2000000000'], threads: 5, calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 5);
  const report = await machine.load('tcp', '1.1.0', '(module (func (export "work") (param i32) (result i32) (i32.const 2)))');
  expect(report).toMatchObject({ interrupted: 5, retried: 5 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p').lastResult).toBe('2');
});

test('does not disturb accesses of other modules and other devices', async () => {
  const other = createTestMachine({ processor: machine.processor });
  for (const { load } of [machine, other]) await load('tcp', '1.0.0', workModule(0));
  await machine.load('udp', '1.0.0', workModule(0));
  await machine.start('a', { module: 'tcp', arguments: [endless] });
  await machine.start('b', { module: 'udp', arguments: [endless] });
  await other.start('c', { module: 'tcp', arguments: [endless] });
  await until(() => referenceCount(machine, 'tcp') + referenceCount(machine, 'udp') + referenceCount(other, 'tcp') === 3);
  expect((await machine.load('tcp', '1.1.0', workModule(1))).interrupted).toBe(1);
  expect(machine.statistics('b').accessesInterrupted).toBe(0);
  expect(other.statistics('c').accessesInterrupted).toBe(0);
  expect(referenceCount(other, 'tcp')).toBe(1);
  await other.device.close();
});

test('moves a continuously calling program from each version to the next, and never back', async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  await machine.start('p', { module: 'tcp', arguments: ['1000'], threads: 10 });
  for (const minor of [1, 2, 3, 4, 5]) {
    await until(() => machine.statistics('p').versions.at(-1)?.version === `1.${minor - 1}.0`);
    await machine.load('tcp', `1.${minor}.0`, workModule(minor));
  }
  await until(() => machine.statistics('p').versions.at(-1)?.version === '1.5.0');
  await machine.device.stopProgram('p');
  const { versions, callsCompleted, callsFailed, effects } = machine.statistics('p');
  expect(versions.map(({ version }) => version)).toEqual(['1.0.0', '1.1.0', '1.2.0', '1.3.0', '1.4.0', '1.5.0']);
  expect(callsFailed).toBe(0);
  expect(effects).toBe(callsCompleted);
  expect(machine.effects.length).toBe(callsCompleted);
  const channels = machine.effects.map(({ channel }) => channel);
  expect(channels).toEqual(channels.toSorted((left, right) => left - right));
});

test('stops a program that is inside a module', async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  await machine.start('p', { module: 'tcp', arguments: [endless], threads: 100 });
  await until(() => referenceCount(machine, 'tcp') === 100);
  await machine.device.stopProgram('p');
  expect(machine.statistics('p')).toMatchObject({ state: 'stopped', threads: 0, callsCompleted: 0, callsFailed: 0, effects: 0 });
  expect(referenceCount(machine, 'tcp')).toBe(0);
  expect(machine.processor.runningThreads).toBe(0);
  expect(await machine.load('tcp', '1.1.0', workModule(1))).toMatchObject({ outcome: 'replaced' });
});

test('stops a program while its accesses are being interrupted', async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  await machine.start('p', { module: 'tcp', arguments: [endless], threads: 200 });
  await until(() => referenceCount(machine, 'tcp') === 200);
  const [report] = await Promise.all([machine.load('tcp', '1.1.0', workModule(1)), machine.device.stopProgram('p')]);
  expect(report.failed).toBe(0);
  expect(machine.statistics('p')).toMatchObject({ state: 'stopped', threads: 0, callsFailed: 0 });
  expect(referenceCount(machine, 'tcp')).toBe(0);
});

test('a load interrupts nothing further inside an access that an earlier load has interrupted without waiting for it', async () => {
  await machine.load('tcp', '1.0.0', workModule(1));
  await machine.load('http', '1.0.0', outerModule('tcp', 10));
  await machine.start('p', { module: 'http', arguments: [endless], addressing: 'hard-coded', threads: 50, calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 50);
  const http = await moduleImage('http', '2.0.0', outerModule('tcp', 20));
  const tcp = await moduleImage('tcp', '2.0.0', quickModule(2));
  const first = machine.device.load({ image: http, invalidation: 'none' });
  const second = machine.device.load({ image: tcp });
  expect(await first).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 50 });
  expect(await second).toMatchObject({ current: { version: '2.0.0' }, failed: 0 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ callsFailed: 0, lastResult: String(Number(endless) + 22) });
});
