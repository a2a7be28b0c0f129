// Calls from JavaScript: they answer what the export returns, go through the module table, and are interrupted and retried as a program's are.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { CallError, type Entry, Processor } from '../../src/machine/index.ts';
import { realTime } from '../../src/machine/time.ts';
import { type Bench, compiler, driverImage, endless, makeBench, quickModule, referenceCount, until, workModule } from './fixture.ts';

let bench: Bench;
beforeEach(() => {
  bench = makeBench();
});
afterEach(() => bench.close());
afterAll(() => compiler.close());

const open = async (module: string, name = 'work', parameters = 1): Promise<Entry> =>
  bench.device.openEntry({ program: 'p', driver: await driverImage(module, name, parameters) });

test('a call answers what the export returns, and takes effect once', async () => {
  await bench.load('tcp', '1.0.0', quickModule(1));
  const entry = await open('tcp');
  expect(await entry.call(41)).toBe(42);
  expect(bench.effects).toEqual([{ program: 'p', channel: 1, value: 41n }]);
  await bench.load('tcp', '1.1.0', quickModule(2));
  expect(await Promise.all(Array.from({ length: 500 }, (_, index) => entry.call(index)))).toEqual(
    Array.from({ length: 500 }, (_, index) => index + 2),
  );
  expect(bench.effects).toHaveLength(501);
});

test('a call of a quick export is made without a look at the clock', async () => {
  let looks = 0;
  const now = () => {
    looks += 1;
    return realTime.now();
  };
  const counted = makeBench({ processor: new Processor({ time: { ...realTime, now } }) });
  await counted.load('tcp', '1.0.0', '(module (func (export "work") (param i32) (result i32) (local.get 0)))');
  const entry = counted.device.openEntry({ program: 'p', driver: await driverImage('tcp', 'work', 1) });
  const looksBefore = looks;
  for (let call = 0; call < 1_000; call += 1) await entry.call(7);
  expect(looks - looksBefore).toBeLessThan(10);
  await counted.close();
});

test('calls inside the old version are interrupted and answer from the new one', async () => {
  await bench.load('tcp', '1.0.0', workModule(1));
  const entry = await open('tcp');
  const answers = Promise.all(Array.from({ length: 100 }, () => entry.call(Number(endless))));
  await until(() => referenceCount(bench, 'tcp') === 100);
  const report = await bench.load('tcp', '1.1.0', quickModule(2));
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 100, retried: 100, failed: 0 });
  expect(await answers).toEqual(Array.from({ length: 100 }, () => Number(endless) + 2));
  expect(bench.effects).toHaveLength(100);
  expect(bench.processor.runningThreads).toBeLessThanOrEqual(64);
  expect(await entry.call(1)).toBe(3);
});

test('calls and programs take turns', async () => {
  await bench.load('tcp', '1.0.0', workModule(1));
  await bench.start('other', { module: 'tcp', arguments: ['5000'] });
  const entry = await open('tcp');
  expect(await Promise.all([entry.call(100_000), entry.call(2), entry.call(3)])).toEqual([100_001, 3, 4]);
  const { callsCompleted } = bench.statistics('other');
  await until(() => bench.statistics('other').callsCompleted > callsCompleted);
});

test('a call that fails says why, and the next one is made', async () => {
  const entry = await open('tcp');
  await expect(entry.call(1)).rejects.toThrow(CallError);
  await expect(entry.call(1)).rejects.toThrow('the module is not in memory');
  await bench.load('tcp', '1.0.0', quickModule(1));
  expect(await entry.call(1)).toBe(2);
  expect(referenceCount(bench, 'tcp')).toBe(0);
  await bench.load('tcp', '1.1.0', workModule(1));
  expect(await entry.call(1_000_000)).toBe(1_000_001);
  await bench.device.deleteModule('tcp');
  await expect(entry.call(1)).rejects.toThrow(CallError);
});

test('a call with a value of the wrong type fails, and the next one is made', async () => {
  await bench.load('tcp', '1.0.0', quickModule(1));
  const entry = await open('tcp');
  await expect(entry.call(7n)).rejects.toThrow(CallError);
  await expect(entry.call(7n)).rejects.toThrow('Cannot convert a BigInt value to a number');
  expect(await entry.call(1)).toBe(2);
  expect(bench.device.state().moduleTable).toMatchObject([{ referenceCount: 0, tainted: null }]);
});

test('a call that is made where another is under way has its turn', async () => {
  const answers: unknown[] = [];
  const programs: string[] = [];
  const busy = makeBench({
    onEffects: (program) => {
      programs.push(program);
      if (program === 'other') entry.call(6).then((answer) => answers.push(answer));
    },
  });
  await busy.load('tcp', '1.0.0', quickModule(1));
  const entry = busy.device.openEntry({ program: 'p', driver: await driverImage('tcp', 'work', 1) });
  await busy.start('other', { module: 'tcp', arguments: ['5'], calls: 3 });
  await until(() => answers.length === 3);
  expect(answers).toEqual([7, 7, 7]);
  expect(programs.toSorted()).toEqual(['other', 'other', 'other', 'p', 'p', 'p']);
  await busy.close();
});

test('a call that runs too long is ended with its own error', async () => {
  await bench.load('tcp', '1.0.0', workModule(1));
  const driver = await driverImage('tcp', 'work', 1);
  const entry = bench.device.openEntry({ program: 'p', driver, deadlineMilliseconds: 20 });
  await expect(entry.call(Number(endless))).rejects.toThrow('the call ran longer than its deadline of 20 ms');
  expect(referenceCount(bench, 'tcp')).toBe(0);
  expect(bench.effects).toEqual([]);
});

test('the deadline of a call counts from the call, however long the host has been up', async () => {
  const bench = makeBench();
  await bench.load('tcp', '1.0.0', workModule(1));
  await until(() => bench.processor.time.now() > 100);
  const entry = bench.device.openEntry({ program: 'p', driver: await driverImage('tcp', 'work', 1), deadlineMilliseconds: 100 });
  expect(await entry.call(7)).toBe(8);
  await bench.close();
});

test('calls past the threads that the host may have are refused, and calls under way are ended when the device is closed', async () => {
  const small = makeBench({ processor: new Processor({ threadLimit: 2 }) });
  await small.load('tcp', '1.0.0', workModule(1));
  const entry = small.device.openEntry({ program: 'p', driver: await driverImage('tcp', 'work', 1) });
  const calls = [entry.call(Number(endless)), entry.call(Number(endless))];
  await expect(entry.call(1)).rejects.toThrow('this host runs 2 threads, its limit');
  const ended = Promise.allSettled(calls);
  await small.close();
  for (const call of await ended) expect(call).toMatchObject({ status: 'rejected', reason: { message: 'the call was ended' } });
  await expect(entry.call(1)).rejects.toThrow('the device has been closed');
});

test('a driver of hard-coded addressing is refused', async () => {
  const driver = await driverImage('tcp', 'work', 1, 'hard-coded');
  expect(() => bench.device.openEntry({ program: 'p', driver })).toThrow('compile the driver for that');
});
