// The memory budget of a host: a load past it fails with the numbers, and memory that nothing uses any more is returned.

import { afterAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { Processor } from '../../src/machine/index.ts';
import { MemoryBudget } from '../../src/machine/memory-budget.ts';
import { type Bench, compiler, makeBench, moduleImage, until } from './fixture.ts';
import { Versions } from './versions.ts';

afterAll(() => compiler.close());

const mebibyte = 2 ** 20;
const pagesOf = (mebibytes: number) => mebibytes * 16;
/** A module with a memory of that size, and a function that grows it. */
const withMemory = (mebibytes: number, maximum = mebibytes) => `(module (memory ${pagesOf(mebibytes)} ${pagesOf(maximum)})
  (func (export "work") (param i32) (result i32) (i32.store (i32.const 0) (local.get 0)) (memory.grow (local.get 0))))`;

function benchWith(imageMemory: number, memoryLimit = 8_000): Bench {
  const bench = makeBench({ processor: new Processor({ imageMemory, memoryLimit }) });
  onTestFinished(() => bench.close());
  return bench;
}

test('a load whose memory is past the budget fails with the numbers, and changes nothing', async () => {
  const bench = benchWith(5 * mebibyte);
  for (const module of ['one', 'two']) expect(await bench.load(module, '1.0.0', withMemory(2))).toMatchObject({ outcome: 'installed' });
  const before = bench.device.state().memoryMap;
  const report = await bench.load('three', '1.0.0', withMemory(2));
  expect(report).toMatchObject({
    outcome: 'failed',
    reason:
      'three@1.0.0: its memory of 2 MiB exceeds the memory budget of the host: 4 MiB of 5 MiB are in use; raise --image-memory, or place devices on another host',
  });
  expect(bench.device.state().memoryMap).toEqual(before);
  expect(bench.processor.memoryBudget.used).toBe(4 * mebibyte);
  expect(await bench.load('three', '1.0.0', withMemory(1))).toMatchObject({ outcome: 'installed' });
});

test.each(['none', 'nx', 'mark-invalid', 'delete'] as const)(
  'a device is patched any number of times within the budget, with invalidation %s',
  async (invalidation) => {
    const bench = benchWith(5 * mebibyte);
    const versions = await Versions.of('tcp', withMemory(2));
    for (let number = 0; number < 40; number += 1) {
      const report = await bench.device.load({ image: versions.image(number), invalidation });
      expect(report.reason).toBeNull();
      if (number === 0) await bench.start('calls', { module: 'tcp', arguments: ['0'], pauseMilliseconds: 1 });
    }
    expect(bench.processor.memoryBudget.used).toBe(2 * mebibyte);
  },
);

test('the memory of an old version that a program still holds counts until the program stops', async () => {
  const bench = benchWith(5 * mebibyte);
  const versions = await Versions.of('tcp', withMemory(2));
  await bench.device.load({ image: versions.image(0) });
  await bench.start('stale', { module: 'tcp', addressing: 'hard-coded', arguments: ['0'], pauseMilliseconds: 1 });
  await until(() => bench.statistics('stale').callsCompleted > 0);
  await bench.device.load({ image: versions.image(1), invalidation: 'none' });
  expect(bench.processor.memoryBudget.used).toBe(4 * mebibyte);
  expect(await bench.device.load({ image: versions.image(2) })).toMatchObject({ outcome: 'failed' });
  await bench.device.stopProgram('stale');
  expect(await bench.device.load({ image: versions.image(2) })).toMatchObject({ outcome: 'replaced' });
});

test('growth counts: the next load fails once a memory has grown', async () => {
  const bench = benchWith(5 * mebibyte);
  await bench.load('one', '1.0.0', withMemory(1, 4));
  await bench.start('grow', { module: 'one', arguments: [String(pagesOf(3))], calls: 1 });
  await until(() => bench.statistics('grow').state === 'finished');
  expect(bench.processor.memoryBudget.used).toBe(4 * mebibyte);
  expect((await bench.load('two', '1.0.0', withMemory(2))).reason).toContain('4 MiB of 5 MiB are in use');
});

test('memories past the limit of their number fail the load', async () => {
  const bench = benchWith(100 * mebibyte, 2);
  for (const module of ['one', 'two']) await bench.load(module, '1.0.0', withMemory(1));
  expect((await bench.load('three', '1.0.0', withMemory(1))).reason).toContain(
    'limit reached (2 images with memories of their own per host)',
  );
  await bench.device.deleteModule('one');
  expect(await bench.load('three', '1.0.0', withMemory(1))).toMatchObject({ outcome: 'installed' });
});

test('tables count as far as they may grow, with or without a memory, and return what they had', async () => {
  const bench = benchWith(2.5 * mebibyte);
  const withTable = `(module (table 10 funcref) (func $f (export "work") (param i32) (result i32)
    (table.grow (ref.func $f) (local.get 0))) (elem declare func $f))`;
  for (const module of ['one', 'two']) expect(await bench.load(module, '1.0.0', withTable)).toMatchObject({ outcome: 'installed' });
  expect(bench.processor.memoryBudget.used).toBe(2 * mebibyte);
  expect((await bench.load('three', '1.0.0', withTable)).reason).toContain('its memory of 1 MiB exceeds the memory budget of the host');
  await bench.device.deleteModule('one');
  expect(await bench.load('three', '1.0.0', withTable)).toMatchObject({ outcome: 'installed' });
});

test('a closed device returns what its images had', async () => {
  const processor = new Processor({ imageMemory: 5 * mebibyte });
  const first = makeBench({ processor });
  await first.load('one', '1.0.0', withMemory(4));
  await first.device.close();
  expect(processor.memoryBudget.used).toBe(0);
  processor.close();
});

test('a load that fails after its memory was reserved returns it', async () => {
  const bench = benchWith(5 * mebibyte);
  const failing = `(module (memory ${pagesOf(4)}) (func (export "self_check") (result i32) (i32.const 1)))`;
  for (let round = 0; round < 3; round += 1) {
    const report = await bench.device.load({ image: await moduleImage('tcp', '1.0.0', failing) });
    expect(report.reason).toContain('self-check');
  }
  expect(bench.processor.memoryBudget.used).toBe(0);
});

let budget: MemoryBudget;
beforeEach(() => {
  budget = new MemoryBudget(10 * mebibyte, 100);
});

test('a reservation that is released twice is returned once', () => {
  const one = budget.reserve({ initialPages: 16, maximumPages: 64 });
  const two = budget.reserve({ initialPages: 16, maximumPages: 16 });
  one.release();
  one.release();
  expect(budget.used).toBe(mebibyte);
  two.release();
  expect(budget.used).toBe(0);
});
