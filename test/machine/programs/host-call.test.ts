// Calls from JavaScript: they answer what the export returns, go through the module table, and are interrupted and retried as a program's are.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../../src/machine/clock.ts';
import { CallError, type HostCall, Processor } from '../../../src/machine/index.ts';
import {
  compiler,
  createTestMachine,
  driverImage,
  endless,
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

const open = async (module: string, name = 'work', parameters = 1): Promise<HostCall> =>
  machine.device.openHostCall({ program: 'p', driver: await driverImage(module, name, parameters) });

test('a call answers what the export returns, and takes effect once', async () => {
  await machine.load('tcp', '1.0.0', quickModule(1));
  const entry = await open('tcp');
  expect(await entry.call(41)).toBe(42);
  expect(machine.effects).toEqual([{ program: 'p', channel: 1, value: 41n }]);
  await machine.load('tcp', '1.1.0', quickModule(2));
  expect(await Promise.all(Array.from({ length: 500 }, (_, index) => entry.call(index)))).toEqual(
    Array.from({ length: 500 }, (_, index) => index + 2),
  );
  expect(machine.effects).toHaveLength(501);
});

test('a call of a quick export is made without a look at the clock', async () => {
  let looks = 0;
  const now = () => {
    looks += 1;
    return systemClock.now();
  };
  const counted = createTestMachine({ processor: new Processor({ clock: { ...systemClock, now } }) });
  await counted.load('tcp', '1.0.0', '(module (func (export "work") (param i32) (result i32) (local.get 0)))');
  const entry = counted.device.openHostCall({ program: 'p', driver: await driverImage('tcp', 'work', 1) });
  const looksBefore = looks;
  for (let call = 0; call < 1_000; call += 1) await entry.call(7);
  expect(looks - looksBefore).toBeLessThan(10);
  await counted.close();
});

test('calls inside the old version are interrupted and answer from the new one', async () => {
  await machine.load('tcp', '1.0.0', workModule(1));
  const entry = await open('tcp');
  const answers = Promise.all(Array.from({ length: 100 }, () => entry.call(Number(endless))));
  await until(() => referenceCount(machine, 'tcp') === 100);
  const report = await machine.load('tcp', '1.1.0', quickModule(2));
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 100, retried: 100, failed: 0 });
  expect(await answers).toEqual(Array.from({ length: 100 }, () => Number(endless) + 2));
  expect(machine.effects).toHaveLength(100);
  expect(machine.processor.runningThreads).toBeLessThanOrEqual(64);
  expect(await entry.call(1)).toBe(3);
});

test('calls and programs take turns', async () => {
  await machine.load('tcp', '1.0.0', workModule(1));
  await machine.start('other', { module: 'tcp', arguments: ['5000'] });
  const entry = await open('tcp');
  expect(await Promise.all([entry.call(100_000), entry.call(2), entry.call(3)])).toEqual([100_001, 3, 4]);
  const { callsCompleted } = machine.statistics('other');
  await until(() => machine.statistics('other').callsCompleted > callsCompleted);
});

test('a call that fails says why, and the next one is made', async () => {
  const entry = await open('tcp');
  await expect(entry.call(1)).rejects.toThrow(CallError);
  await expect(entry.call(1)).rejects.toThrow('the module is not in memory');
  await machine.load('tcp', '1.0.0', quickModule(1));
  expect(await entry.call(1)).toBe(2);
  expect(referenceCount(machine, 'tcp')).toBe(0);
  await machine.load('tcp', '1.1.0', workModule(1));
  expect(await entry.call(1_000_000)).toBe(1_000_001);
});

test('a call with a value of the wrong type fails, and the next one is made', async () => {
  await machine.load('tcp', '1.0.0', quickModule(1));
  const entry = await open('tcp');
  await expect(entry.call(7n)).rejects.toThrow(CallError);
  await expect(entry.call(7n)).rejects.toThrow('Cannot convert a BigInt value to a number');
  expect(await entry.call(1)).toBe(2);
  expect(machine.device.state().moduleTable).toMatchObject([{ referenceCount: 0, tainted: null }]);
});

test('a call that is made where another is under way has its turn', async () => {
  const answers: unknown[] = [];
  const programs: string[] = [];
  const busy = createTestMachine({
    onEffects: (program) => {
      programs.push(program);
      if (program === 'other') entry.call(6).then((answer) => answers.push(answer));
    },
  });
  await busy.load('tcp', '1.0.0', quickModule(1));
  const entry = busy.device.openHostCall({ program: 'p', driver: await driverImage('tcp', 'work', 1) });
  await busy.start('other', { module: 'tcp', arguments: ['5'], calls: 3 });
  await until(() => answers.length === 3);
  expect(answers).toEqual([7, 7, 7]);
  expect(programs.toSorted()).toEqual(['other', 'other', 'other', 'p', 'p', 'p']);
  await busy.close();
});

test('a call that runs too long is ended with its own error', async () => {
  await machine.load('tcp', '1.0.0', workModule(1));
  const driver = await driverImage('tcp', 'work', 1);
  const entry = machine.device.openHostCall({ program: 'p', driver, deadlineMilliseconds: 20 });
  await expect(entry.call(Number(endless))).rejects.toThrow('the call ran longer than its deadline of 20 ms');
  expect(referenceCount(machine, 'tcp')).toBe(0);
  expect(machine.effects).toEqual([]);
});

test('the deadline of a call counts from the call, however long the host has been up', async () => {
  const machine = createTestMachine();
  await machine.load('tcp', '1.0.0', workModule(1));
  await until(() => machine.processor.clock.now() > 100);
  const entry = machine.device.openHostCall({ program: 'p', driver: await driverImage('tcp', 'work', 1), deadlineMilliseconds: 100 });
  expect(await entry.call(7)).toBe(8);
  await machine.close();
});

test('calls past the threads that the host may have are refused, and calls under way are ended when the device is closed', async () => {
  const small = createTestMachine({ processor: new Processor({ threadLimit: 2 }) });
  await small.load('tcp', '1.0.0', workModule(1));
  const entry = small.device.openHostCall({ program: 'p', driver: await driverImage('tcp', 'work', 1) });
  const calls = [entry.call(Number(endless)), entry.call(Number(endless))];
  await expect(entry.call(1)).rejects.toThrow('this host runs 2 threads, its limit');
  const ended = Promise.allSettled(calls);
  await small.close();
  for (const call of await ended) expect(call).toMatchObject({ status: 'rejected', reason: { message: 'the call was ended' } });
  await expect(entry.call(1)).rejects.toThrow('the device has been closed');
});

test('a driver of hard-coded addressing is refused', async () => {
  const driver = await driverImage('tcp', 'work', 1, 'hard-coded');
  expect(() => machine.device.openHostCall({ program: 'p', driver })).toThrow('compile the driver for that');
});
