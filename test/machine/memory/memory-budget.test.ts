// The memory budget of a host: a load past it fails and reports the numbers, and unused memory is returned.

import { afterAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { Processor } from '../../../src/machine/index.ts';
import { MemoryBudget } from '../../../src/machine/memory/memory-budget.ts';
import { compiler, createTestMachine, moduleImage, quickModule, type TestMachine, until } from '../test-machine.ts';
import { Versions } from '../versions.ts';

afterAll(() => compiler.close());

const mebibyte = 2 ** 20;
const pagesOf = (mebibytes: number) => mebibytes * 16;
/** A module with a memory of a size, and a function that grows the memory. */
const withMemory = (mebibytes: number, maximum = mebibytes) => `(module (memory ${pagesOf(mebibytes)} ${pagesOf(maximum)})
  (func (export "work") (param i32) (result i32) (i32.store (i32.const 0) (local.get 0)) (memory.grow (local.get 0))))`;

function machineWith(imageMemory: number, memoryLimit = 8_000): TestMachine {
  const machine = createTestMachine({ processor: new Processor({ imageMemory, memoryLimit }) });
  onTestFinished(() => machine.close());
  return machine;
}

test('fails a load past the budget, reports the numbers, and changes nothing', async () => {
  const machine = machineWith(5 * mebibyte);
  for (const module of ['one', 'two']) expect(await machine.load(module, '1.0.0', withMemory(2))).toMatchObject({ outcome: 'installed' });
  const before = machine.device.state().memoryMap;
  const report = await machine.load('three', '1.0.0', withMemory(2));
  expect(report).toMatchObject({
    outcome: 'failed',
    reason:
      'three@1.0.0: its memory of 2 MiB exceeds the memory budget of the host: 4 MiB of 5 MiB are in use; raise --image-memory, or place devices on another host',
  });
  expect(machine.device.state().memoryMap).toEqual(before);
  expect(machine.processor.memoryBudget.used).toBe(4 * mebibyte);
  expect(await machine.load('three', '1.0.0', withMemory(1))).toMatchObject({ outcome: 'installed' });
});

test.each(['none', 'nx', 'mark-invalid', 'delete'] as const)(
  'patches a device any number of times within the budget, with invalidation %s',
  async (invalidation) => {
    const machine = machineWith(5 * mebibyte);
    const versions = await Versions.of('tcp', withMemory(2));
    for (let number = 0; number < 40; number += 1) {
      const report = await machine.device.load({ image: versions.image(number), invalidation });
      expect(report.reason).toBeNull();
      if (number === 0) await machine.start('calls', { module: 'tcp', arguments: ['0'], pauseMilliseconds: 1 });
    }
    expect(machine.processor.memoryBudget.used).toBe(2 * mebibyte);
  },
);

test('counts the memory of an old version until the program that holds it stops', async () => {
  const machine = machineWith(5 * mebibyte);
  const versions = await Versions.of('tcp', withMemory(2));
  await machine.device.load({ image: versions.image(0) });
  await machine.start('stale', { module: 'tcp', addressing: 'hard-coded', arguments: ['0'], pauseMilliseconds: 1 });
  await until(() => machine.statistics('stale').callsCompleted > 0);
  await machine.device.load({ image: versions.image(1), invalidation: 'none' });
  expect(machine.processor.memoryBudget.used).toBe(4 * mebibyte);
  expect(await machine.device.load({ image: versions.image(2) })).toMatchObject({ outcome: 'failed' });
  await machine.device.stopProgram('stale');
  expect(await machine.device.load({ image: versions.image(2) })).toMatchObject({ outcome: 'replaced' });
});

test('counts growth: a load fails after a memory has grown', async () => {
  const machine = machineWith(5 * mebibyte);
  await machine.load('one', '1.0.0', withMemory(1, 4));
  await machine.start('grow', { module: 'one', arguments: [String(pagesOf(3))], calls: 1 });
  await until(() => machine.statistics('grow').state === 'finished');
  expect(machine.processor.memoryBudget.used).toBe(4 * mebibyte);
  expect((await machine.load('two', '1.0.0', withMemory(2))).reason).toContain('4 MiB of 5 MiB are in use');
});

test('fails a load past the maximum number of memories', async () => {
  const machine = machineWith(100 * mebibyte, 2);
  for (const module of ['one', 'two']) await machine.load(module, '1.0.0', withMemory(1));
  expect((await machine.load('three', '1.0.0', withMemory(1))).reason).toContain('limit reached (2 images with their own memory per host)');
  await machine.device.load({ image: await moduleImage('one', '1.1.0', quickModule(1)), invalidation: 'delete' });
  expect(await machine.load('three', '1.0.0', withMemory(1))).toMatchObject({ outcome: 'installed' });
});

test('counts tables at their maximum size, with or without a memory, and returns them', async () => {
  const machine = machineWith(2.5 * mebibyte);
  const withTable = `(module (table 10 funcref) (func $f (export "work") (param i32) (result i32)
    (table.grow (ref.func $f) (local.get 0))) (elem declare func $f))`;
  for (const module of ['one', 'two']) expect(await machine.load(module, '1.0.0', withTable)).toMatchObject({ outcome: 'installed' });
  expect(machine.processor.memoryBudget.used).toBe(2 * mebibyte);
  expect((await machine.load('three', '1.0.0', withTable)).reason).toContain('its memory of 1 MiB exceeds the memory budget of the host');
  await machine.device.load({ image: await moduleImage('one', '1.1.0', quickModule(1)), invalidation: 'delete' });
  expect(await machine.load('three', '1.0.0', withTable)).toMatchObject({ outcome: 'installed' });
});

test('returns the memory of a closed device', async () => {
  const processor = new Processor({ imageMemory: 5 * mebibyte });
  const first = createTestMachine({ processor });
  await first.load('one', '1.0.0', withMemory(4));
  await first.device.close();
  expect(processor.memoryBudget.used).toBe(0);
  processor.close();
});

test('returns the memory of a load that fails after its reservation', async () => {
  const machine = machineWith(5 * mebibyte);
  const failing = `(module (memory ${pagesOf(4)}) (func (export "self_check") (result i32) (i32.const 1)))`;
  for (let round = 0; round < 3; round += 1) {
    const report = await machine.device.load({ image: await moduleImage('tcp', '1.0.0', failing) });
    expect(report.reason).toContain('self-check');
  }
  expect(machine.processor.memoryBudget.used).toBe(0);
});

let budget: MemoryBudget;
beforeEach(() => {
  budget = new MemoryBudget(10 * mebibyte, 100);
});

test('returns a reservation only once when it is released twice', () => {
  const one = budget.reserve({ initialPages: 16, maximumPages: 64 });
  const two = budget.reserve({ initialPages: 16, maximumPages: 16 });
  one.release();
  one.release();
  expect(budget.used).toBe(mebibyte);
  two.release();
  expect(budget.used).toBe(0);
});
