// Injected errors: where they are aimed, what they leave behind, and whom they leave alone.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { type Bench, compiler, endless, makeBench, quickModule, referenceCount, until, workModule } from './fixture.ts';

let bench: Bench;
beforeEach(() => {
  bench = makeBench();
});
afterEach(() => bench.close());
afterAll(() => compiler.close());

/** A module that calls `work` of another one, adds, and emits before and after. */
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

test('ten thousand threads inside the old version all finish in the new one', async () => {
  await bench.load('tcp', '1.0.0', workModule(0));
  await bench.start('p', { module: 'tcp', arguments: [endless], threads: 10_000, calls: 1 });
  await until(() => referenceCount(bench, 'tcp') === 10_000);
  const report = await bench.load('tcp', '1.1.0', quickModule(1));
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 10_000, retried: 10_000, failed: 0 });
  await until(() => bench.statistics('p').state === 'finished');
  expect(bench.statistics('p')).toMatchObject({ callsCompleted: 10_000, callsFailed: 0, effects: 10_000 });
});

test('an interrupted access leaves no effect: each completed call takes effect once', async () => {
  await bench.load('tcp', '1.0.0', workModule(0));
  await bench.start('p', { module: 'tcp', arguments: [endless], threads: 20, calls: 1 });
  await until(() => referenceCount(bench, 'tcp') === 20);
  expect(bench.effects).toEqual([]);
  await bench.load('tcp', '1.1.0', quickModule(1));
  await until(() => bench.statistics('p').state === 'finished');
  expect(bench.effects).toEqual(Array.from({ length: 20 }, () => ({ program: 'p', channel: 1, value: BigInt(endless) })));
});

test('patching an inner module under a running outer one retries the inner access alone', async () => {
  await bench.load('tcp', '1.0.0', workModule(0));
  await bench.load('http', '1.0.0', outerModule('tcp', 10));
  await bench.start('p', { module: 'http', arguments: [endless], calls: 1 });
  await until(() => referenceCount(bench, 'tcp') === 1);
  const report = await bench.load('tcp', '1.1.0', quickModule(1));
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 1, retried: 1 });
  await until(() => bench.statistics('p').state === 'finished');
  expect(bench.statistics('p')).toMatchObject({
    lastResult: String(Number(endless) + 11),
    versions: [{ version: '1.0.0', callsCompleted: 1 }],
  });
  expect(bench.effects.map(({ channel, value }) => [channel, value])).toEqual([
    [100, 10n],
    [1, BigInt(endless)],
    [200, 10n],
  ]);
});

test('patching an outer module unwinds the inner access and retries the outer one', async () => {
  await bench.load('tcp', '1.0.0', workModule(0));
  await bench.load('http', '1.0.0', outerModule('tcp', 10));
  await bench.start('p', { module: 'http', arguments: [endless], calls: 1 });
  await until(() => referenceCount(bench, 'tcp') === 1);
  const report = await bench.load('http', '1.1.0', quickModule(5));
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 1, retried: 1 });
  await until(() => bench.statistics('p').state === 'finished');
  expect(bench.statistics('p')).toMatchObject({ lastResult: String(Number(endless) + 5), callsFailed: 0 });
  expect(referenceCount(bench, 'tcp')).toBe(0);
  expect(bench.effects.map(({ channel }) => channel)).toEqual([5]);
});

test('a sleeping access is interrupted in its sleep', async () => {
  const sleeper =
    '(module (import "kernel" "sleep" (func $sleep (param i32))) (func (export "work") (param i32) (result i32) (call $sleep (local.get 0)) (i32.const 1)))';
  await bench.load('tcp', '1.0.0', sleeper);
  await bench.start('p', { module: 'tcp', arguments: ['2000000000'], threads: 5, calls: 1 });
  await until(() => referenceCount(bench, 'tcp') === 5);
  const report = await bench.load('tcp', '1.1.0', '(module (func (export "work") (param i32) (result i32) (i32.const 2)))');
  expect(report).toMatchObject({ interrupted: 5, retried: 5 });
  await until(() => bench.statistics('p').state === 'finished');
  expect(bench.statistics('p').lastResult).toBe('2');
});

test('accesses of other modules and other devices go on undisturbed', async () => {
  const other = makeBench({ processor: bench.processor });
  for (const { load } of [bench, other]) await load('tcp', '1.0.0', workModule(0));
  await bench.load('udp', '1.0.0', workModule(0));
  await bench.start('a', { module: 'tcp', arguments: [endless] });
  await bench.start('b', { module: 'udp', arguments: [endless] });
  await other.start('c', { module: 'tcp', arguments: [endless] });
  await until(() => referenceCount(bench, 'tcp') + referenceCount(bench, 'udp') + referenceCount(other, 'tcp') === 3);
  expect((await bench.load('tcp', '1.1.0', workModule(1))).interrupted).toBe(1);
  expect(bench.statistics('b').accessesInterrupted).toBe(0);
  expect(other.statistics('c').accessesInterrupted).toBe(0);
  expect(referenceCount(other, 'tcp')).toBe(1);
  await other.device.close();
});

test('a program that calls all the time crosses from one version to the next and never back', async () => {
  await bench.load('tcp', '1.0.0', workModule(0));
  await bench.start('p', { module: 'tcp', arguments: ['1000'], threads: 10 });
  for (const minor of [1, 2, 3, 4, 5]) {
    await until(() => bench.statistics('p').versions.at(-1)?.version === `1.${minor - 1}.0`);
    await bench.load('tcp', `1.${minor}.0`, workModule(minor));
  }
  await until(() => bench.statistics('p').versions.at(-1)?.version === '1.5.0');
  await bench.device.stopProgram('p');
  const { versions, callsCompleted, callsFailed, effects } = bench.statistics('p');
  expect(versions.map(({ version }) => version)).toEqual(['1.0.0', '1.1.0', '1.2.0', '1.3.0', '1.4.0', '1.5.0']);
  expect(callsFailed).toBe(0);
  expect(effects).toBe(callsCompleted);
  expect(bench.effects.length).toBe(callsCompleted);
  const channels = bench.effects.map(({ channel }) => channel);
  expect(channels).toEqual(channels.toSorted((left, right) => left - right));
});

test('a program is stopped whatever it is inside of', async () => {
  await bench.load('tcp', '1.0.0', workModule(0));
  await bench.start('p', { module: 'tcp', arguments: [endless], threads: 100 });
  await until(() => referenceCount(bench, 'tcp') === 100);
  await bench.device.stopProgram('p');
  expect(bench.statistics('p')).toMatchObject({ state: 'stopped', threads: 0, callsCompleted: 0, callsFailed: 0, effects: 0 });
  expect(referenceCount(bench, 'tcp')).toBe(0);
  expect(bench.processor.runningThreads).toBe(0);
  expect(await bench.load('tcp', '1.1.0', workModule(1))).toMatchObject({ outcome: 'replaced' });
});

test('a program stopped while its accesses are being interrupted ends too', async () => {
  await bench.load('tcp', '1.0.0', workModule(0));
  await bench.start('p', { module: 'tcp', arguments: [endless], threads: 200 });
  await until(() => referenceCount(bench, 'tcp') === 200);
  const [report] = await Promise.all([bench.load('tcp', '1.1.0', workModule(1)), bench.device.stopProgram('p')]);
  expect(report.failed).toBe(0);
  expect(bench.statistics('p')).toMatchObject({ state: 'stopped', threads: 0, callsFailed: 0 });
  expect(referenceCount(bench, 'tcp')).toBe(0);
});
