// Host calls: they return what the export returns, go through the module table, and are interrupted and retried like calls of programs.

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

test('returns the result of the export, and takes effect once', async () => {
  await machine.load('tcp', '1.0.0', quickModule(1));
  const hostCall = await open('tcp');
  expect(await hostCall.call(41)).toBe(42);
  expect(machine.effects).toEqual([{ program: 'p', channel: 1, value: 41n }]);
  await machine.load('tcp', '1.1.0', quickModule(2));
  expect(await Promise.all(Array.from({ length: 500 }, (_, index) => hostCall.call(index)))).toEqual(
    Array.from({ length: 500 }, (_, index) => index + 2),
  );
  expect(machine.effects).toHaveLength(501);
});

test('makes a call of a quick export without a clock check', async () => {
  let checks = 0;
  const now = () => {
    checks += 1;
    return systemClock.now();
  };
  const counted = createTestMachine({ processor: new Processor({ clock: { ...systemClock, now } }) });
  await counted.load('tcp', '1.0.0', '(module (func (export "work") (param i32) (result i32) (local.get 0)))');
  const hostCall = counted.device.openHostCall({ program: 'p', driver: await driverImage('tcp', 'work', 1) });
  const checksBefore = checks;
  for (let call = 0; call < 1_000; call += 1) await hostCall.call(7);
  expect(checks - checksBefore).toBeLessThan(10);
  await counted.close();
});

test('interrupts calls inside the old version, which return results of the new one', async () => {
  await machine.load('tcp', '1.0.0', workModule(1));
  const hostCall = await open('tcp');
  const results = Promise.all(Array.from({ length: 100 }, () => hostCall.call(Number(endless))));
  await until(() => referenceCount(machine, 'tcp') === 100);
  const report = await machine.load('tcp', '1.1.0', quickModule(2));
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 100, retried: 100, failed: 0 });
  expect(await results).toEqual(Array.from({ length: 100 }, () => Number(endless) + 2));
  expect(machine.effects).toHaveLength(100);
  expect(machine.processor.runningThreads).toBeLessThanOrEqual(64);
  expect(await hostCall.call(1)).toBe(3);
});

test('schedules host calls and programs fairly', async () => {
  await machine.load('tcp', '1.0.0', workModule(1));
  await machine.start('other', { module: 'tcp', arguments: ['5000'] });
  const hostCall = await open('tcp');
  expect(await Promise.all([hostCall.call(100_000), hostCall.call(2), hostCall.call(3)])).toEqual([100_001, 3, 4]);
  const { callsCompleted } = machine.statistics('other');
  await until(() => machine.statistics('other').callsCompleted > callsCompleted);
});

test('rejects a failed call with the reason, and makes the next call', async () => {
  const hostCall = await open('tcp');
  await expect(hostCall.call(1)).rejects.toThrow(CallError);
  await expect(hostCall.call(1)).rejects.toThrow('called tcp.work (i32) → i32, but tcp is not in memory');
  await machine.load('tcp', '1.0.0', quickModule(1));
  expect(await hostCall.call(1)).toBe(2);
  expect(referenceCount(machine, 'tcp')).toBe(0);
  await machine.load('tcp', '1.1.0', workModule(1));
  expect(await hostCall.call(1_000_000)).toBe(1_000_001);
});

test('rejects a value of the wrong type, and makes the next call', async () => {
  await machine.load('tcp', '1.0.0', quickModule(1));
  const hostCall = await open('tcp');
  await expect(hostCall.call(7n)).rejects.toThrow(CallError);
  await expect(hostCall.call(7n)).rejects.toThrow('Cannot convert a BigInt value to a number');
  expect(await hostCall.call(1)).toBe(2);
  expect(machine.device.state().moduleTable).toMatchObject([{ referenceCount: 0, tainted: null }]);
});

test('queues a call that is made during another call', async () => {
  const results: unknown[] = [];
  const programs: string[] = [];
  const busy = createTestMachine({
    onEffects: (program) => {
      programs.push(program);
      if (program === 'other') hostCall.call(6).then((result) => results.push(result));
    },
  });
  await busy.load('tcp', '1.0.0', quickModule(1));
  const hostCall = busy.device.openHostCall({ program: 'p', driver: await driverImage('tcp', 'work', 1) });
  await busy.start('other', { module: 'tcp', arguments: ['5'], calls: 3 });
  await until(() => results.length === 3);
  expect(results).toEqual([7, 7, 7]);
  expect(programs.toSorted()).toEqual(['other', 'other', 'other', 'p', 'p', 'p']);
  await busy.close();
});

test('rejects a call that exceeds its deadline', async () => {
  await machine.load('tcp', '1.0.0', workModule(1));
  const driver = await driverImage('tcp', 'work', 1);
  const hostCall = machine.device.openHostCall({ program: 'p', driver, deadlineMilliseconds: 20 });
  await expect(hostCall.call(Number(endless))).rejects.toThrow('the call exceeded its deadline of 20 ms');
  expect(referenceCount(machine, 'tcp')).toBe(0);
  expect(machine.effects).toEqual([]);
});

test('starts the deadline at the call, however long the host has run', async () => {
  const machine = createTestMachine();
  await machine.load('tcp', '1.0.0', workModule(1));
  await until(() => machine.processor.clock.now() > 100);
  const hostCall = machine.device.openHostCall({ program: 'p', driver: await driverImage('tcp', 'work', 1), deadlineMilliseconds: 100 });
  expect(await hostCall.call(7)).toBe(8);
  await machine.close();
});

test('rejects calls past the thread limit, and stops pending calls when the device is closed', async () => {
  const small = createTestMachine({ processor: new Processor({ threadLimit: 2 }) });
  await small.load('tcp', '1.0.0', workModule(1));
  const hostCall = small.device.openHostCall({ program: 'p', driver: await driverImage('tcp', 'work', 1) });
  const calls = [hostCall.call(Number(endless)), hostCall.call(Number(endless))];
  await expect(hostCall.call(1)).rejects.toThrow('limit reached (2 threads per host)');
  const ended = Promise.allSettled(calls);
  await small.close();
  for (const call of await ended) expect(call).toMatchObject({ status: 'rejected', reason: { message: 'the call was stopped' } });
  await expect(hostCall.call(1)).rejects.toThrow('the device is closed');
});

test('rejects a driver with hard-coded addressing', async () => {
  const driver = await driverImage('tcp', 'work', 1, 'hard-coded');
  expect(() => machine.device.openHostCall({ program: 'p', driver })).toThrow('compile the driver with via-table addressing');
});
