// Layout of exports: an image can have thousands of exports, and a module can rename its exports any number of times.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { verified } from '../read-verified.ts';
import { compiler, createTestMachine, moduleImage, type TestMachine, until } from '../test-machine.ts';

let machine: TestMachine;
beforeEach(() => {
  machine = createTestMachine();
});
afterEach(() => machine.close());
afterAll(() => compiler.close());

const exporting = (names: readonly string[], result = 1) =>
  `(module ${names.map((name, index) => `(func (export "${name}") (param i32) (result i32) (i32.const ${result + index}))`).join(' ')})`;

const load = async (module: string, version: string, wat: string) =>
  machine.device.load({ image: await moduleImage(module, version, wat), similarityPolicy: 'off' });

async function resultOf(program: string, module: string, name: string): Promise<string | null> {
  await machine.start(program, { module, export: name, calls: 1 });
  await until(() => machine.statistics(program).state === 'finished');
  return machine.statistics(program).lastResult;
}

test('gives an image with 2,000 exports the pages for its bytes, and finds each export', async () => {
  const names = Array.from({ length: 2_000 }, (_, index) => `f${index}`);
  const report = await load('wide', '1.0.0', exporting(names));
  expect(report).toMatchObject({ outcome: 'installed', reason: null });
  const image = await moduleImage('wide', '1.0.0', exporting(names));
  expect(report.current?.pages).toBe(Math.ceil(image.bytes / 4_096));
  expect(await resultOf('first', 'wide', 'f0')).toBe('1');
  expect(await resultOf('last', 'wide', 'f1999')).toBe('2000');
});

test('accepts any number of different export names over many versions', async () => {
  const image = await moduleImage('tcp', '1.0.0', exporting(Array.from({ length: 20 }, (_, index) => `f${index}`)));
  if (image.kind !== 'module') throw new Error('a module was compiled');
  // The image is never entered, so the names in its stamp need not match its code.
  for (let version = 0; version < 700; version += 1) {
    const exports = image.stamp.interface.exports.map((exported) => ({ ...exported, name: `v${version}_${exported.name}` }));
    const stamp = { ...image.stamp, version: `1.${version}.0`, interface: { exports, imports: [] } };
    const report = await machine.device.load({ image: verified({ ...image, stamp }), similarityPolicy: 'off' });
    expect(report.reason).toBeNull();
  }
});

test('finds the exports of versions with ever new names, and keeps the slots of imported exports', async () => {
  await load('tcp', '1.0.0', exporting(['work', 'a0']));
  await machine.start('calls', { module: 'tcp', pauseMilliseconds: 1 });
  for (let version = 1; version <= 100; version += 1) {
    const names = Array.from({ length: 20 }, (_, index) => `v${version}_${index}`);
    // The imported export comes last in the image.
    const report = await load('tcp', `1.${version}.0`, exporting([...names, 'work']));
    expect(report.outcome).toMatch(/^replaced/);
    expect(await resultOf(`call-${version}`, 'tcp', `v${version}_7`)).toBe('8');
  }
  await until(() => machine.statistics('calls').lastResult === '21');
  expect(machine.statistics('calls')).toMatchObject({ state: 'running', callsFailed: 0 });
});

test('keeps the slots that a running program imports while no version exports them', async () => {
  const names = (version: number) => Array.from({ length: 40 }, (_, index) => `v${version}_${index}`);
  await load('tcp', '1.0.0', exporting(['work']));
  await machine.start('calls', { module: 'tcp', pauseMilliseconds: 1 });
  await until(() => machine.statistics('calls').callsCompleted > 0);
  for (let version = 1; version < 5; version += 1) {
    await load('tcp', `1.${version}.0`, exporting(names(version), 100));
    const { faults } = machine.statistics('calls');
    await until(() => machine.statistics('calls').faults > faults);
  }
  expect(machine.statistics('calls').versions.filter(({ callsCompleted }) => callsCompleted > 0)).toHaveLength(1);
  await load('tcp', '1.9.0', exporting([...names(9), 'work']));
  await until(() => machine.statistics('calls').lastResult === '41');
});

test('never resolves a missing export to another export of this or another module', async () => {
  await load('one', '1.0.0', exporting(['work']));
  await load('two', '1.0.0', exporting(Array.from({ length: 20 }, (_, index) => `f${index}`)));
  let refused = 0;
  for (let index = 0; index < 20; index += 1) {
    try {
      await machine.start(`p${index}`, { module: 'one', export: `missing${index}`, calls: 1 });
      await until(() => machine.statistics(`p${index}`).state === 'finished');
      expect(machine.statistics(`p${index}`)).toMatchObject({ callsCompleted: 0, faults: 1 });
    } catch (error) {
      expect(String(error)).toMatch(
        /the driver imports one\.missing\d+, but one@1\.0\.0 does not export it: load a version that exports it first/,
      );
      refused += 1;
    }
  }
  expect(refused).toBeGreaterThan(0);
  expect(refused).toBeLessThan(20);
  // The next version provides the missing exports.
  await load('one', '1.1.0', exporting(['missing19', 'missing0', 'work']));
  expect(await resultOf('later', 'one', 'missing19')).toBe('1');
});

test('evicts unused module names to make room for others', async () => {
  const image = await moduleImage('m', '1.0.0', '(module (func (export "self_check") (result i32) (i32.const 1)))');
  const named = (number: number) => verified({ ...image, stamp: { ...image.stamp, module: `m${number}` } });
  for (let number = 0; number < 1_100; number += 1) {
    expect((await machine.device.load({ image: named(number) })).reason).toContain('self-check');
  }
});
