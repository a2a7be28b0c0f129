// Garbage collection between accesses: the memory of AssemblyScript modules stays constant, with any number of threads inside.

import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import type { VerifiedImage } from '../../../src/machine/index.ts';
import { readVerified } from '../read-verified.ts';
import { compiler, createTestMachine, driverImage, prebuiltImage, referenceCount, type TestMachine, until } from '../test-machine.ts';

let machine: TestMachine;
beforeEach(() => {
  machine = createTestMachine();
});
afterEach(() => machine.close());
afterAll(() => compiler.close());

const example = (file: string) => readFileSync(new URL(`../../../examples/toolchains/assemblyscript/${file}`, import.meta.url));

async function assemblyScriptImage(module: string, source: string, version = '1.0.0'): Promise<VerifiedImage> {
  const result = await compiler.compileModule({ module, version, language: 'assemblyscript', source });
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  return readVerified(result.compiled.image, result.compiled.digest);
}

async function load(image: VerifiedImage): Promise<void> {
  expect(await machine.device.load({ image })).toMatchObject({ reason: null });
}

/** Returns what `work(count)` of the example returns. */
function expected(count: number): number {
  let text = '';
  let sum = 0;
  for (let i = 0; i < count; i += 1) {
    sum += i;
    if (i % 16 === 0) text += String(i);
  }
  return sum + text.length;
}

const verifying = (count: number) => `
  (module
    (import "words" "work" (func $work (param i32) (result i32)))
    (func (export "work") (param i32) (result i32)
      (if (i32.ne (call $work (i32.const ${count})) (i32.const ${expected(count)})) (then (unreachable)))
      (i32.const 1)))`;

const finished = (program: string) => until(() => machine.statistics(program).state === 'finished');

async function pages(): Promise<number> {
  const entry = machine.device.openHostCall({ program: 'pages', driver: await driverImage('words', 'pages') });
  return Number(await entry.call(0));
}

test('keeps the memory of an allocating module constant over 100,000 calls of eight threads', async () => {
  await load(await assemblyScriptImage('words', example('words.ts').toString()));
  for (const count of [100, 37]) await machine.load(`verifier${count}`, '1.0.0', verifying(count));
  for (const count of [100, 37]) await machine.start(`p${count}`, { module: `verifier${count}`, threads: 4, calls: 12_500 });
  for (const count of [100, 37]) {
    await finished(`p${count}`);
    expect(machine.statistics(`p${count}`)).toMatchObject({ callsCompleted: 50_000, callsFailed: 0 });
  }
  expect(await pages()).toBeLessThanOrEqual(8);
});

test('runs the collector between host calls', async () => {
  await load(await assemblyScriptImage('words', example('words.ts').toString()));
  const entry = machine.device.openHostCall({ program: 'calls', driver: await driverImage('words', 'work') });
  for (let call = 0; call < 5_000; call += 1) expect(await entry.call(100)).toBe(expected(100));
  expect(await pages()).toBeLessThanOrEqual(4);
});

const keeping = `
  class Item { next: Item | null = null; value: i32 = 0; }
  let items: Item | null = null;
  let kept = 0;
  export function work(count: i32): i32 {
    for (let i = 0; i < count; i += 1) {
      const item = new Item();
      item.next = kept < 600_000 ? items : null;
      if (kept < 600_000) { items = item; kept += 1; }
    }
    return kept;
  }`;

test('leaves room for new objects when small live objects fill half of the maximum memory', async () => {
  await load(await assemblyScriptImage('items', keeping));
  await machine.start('p', { module: 'items', arguments: ['1000'], threads: 2, calls: 3_000 });
  await finished('p');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 6_000, callsFailed: 0, lastResult: '600000' });
});

const sleeping = `
  @external("kernel", "sleep") declare function sleep(milliseconds: i32): void;
  export function rest(milliseconds: i32): i32 { sleep(milliseconds); return 1; }
  export function work(count: i32): i32 {
    const numbers = new Array<i32>();
    for (let i = 0; i < count; i++) numbers.push(i);
    return numbers.length;
  }`;

test('delays other accesses only briefly when an access stays inside', async () => {
  await load(await assemblyScriptImage('words', sleeping));
  await machine.start('resting', { module: 'words', export: 'rest', arguments: ['2000000000'], threads: 1, calls: 1 });
  await until(() => referenceCount(machine, 'words') === 1);
  await machine.start('p', { module: 'words', arguments: ['100'], threads: 2, calls: 200 });
  await finished('p');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 400, callsFailed: 0 });
  await machine.device.stopProgram('resting');
});

test('lets a thread that is inside enter again while a collection is due', async () => {
  const outer = `
    @external("through", "work") declare function through(count: i32): i32;
    export function work(depth: i32): i32 {
      let kept = new Array<i32>();
      for (let i = 0; i < 2000; i++) kept.push(i);
      if (depth > 0 && through(depth - 1) != depth - 1) return -1;
      for (let i = 0; i < 2000; i++) if (kept[i] != i) return -1;
      return depth;
    }`;
  const through =
    '(module (import "words" "work" (func $work (param i32) (result i32))) (func (export "work") (param i32) (result i32) (call $work (local.get 0))))';
  await machine.load('through', '1.0.0', through, 'off');
  await load(await assemblyScriptImage('words', outer));
  await machine.start('p', { module: 'words', arguments: ['4'], threads: 3, calls: 100 });
  await finished('p');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 300, callsFailed: 0, lastResult: '4' });
});

test('stops threads that wait for a collection, and does not count them as inside', async () => {
  await load(await assemblyScriptImage('words', sleeping));
  await machine.start('resting', { module: 'words', export: 'rest', arguments: ['2000000000'], threads: 1, calls: 1 });
  await until(() => referenceCount(machine, 'words') === 1);
  await machine.start('p', { module: 'words', arguments: ['3000'], threads: 8 });
  await until(() => machine.statistics('p').callsCompleted > 10);
  await machine.device.stopProgram('p');
  await machine.device.stopProgram('resting');
  expect(referenceCount(machine, 'words')).toBe(0);
  await machine.start('q', { module: 'words', arguments: ['100'], threads: 4, calls: 2_000 });
  await finished('q');
  expect(machine.statistics('q')).toMatchObject({ callsCompleted: 8_000, callsFailed: 0 });
});

test('makes a prebuilt module with its own collector exclusive, and runs it correctly with several threads', async () => {
  const image = await prebuiltImage('words', '1.0.0', example('incremental.wasm'));
  expect(image.stamp).toMatchObject({ concurrency: 'exclusive' });
  expect(image.stamp.stack).not.toBeNull();
  await load(image);
  await machine.load('verifier', '1.0.0', verifying(100));
  await machine.start('p', { module: 'verifier', threads: 2, calls: 1_500 });
  await finished('p');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 3_000, callsFailed: 0 });
  expect(await pages()).toBeLessThanOrEqual(4);
});

test('lets the caller choose the concurrency of a prebuilt module', async () => {
  expect((await prebuiltImage('words', '1.0.0', example('incremental.wasm'), 'shared')).stamp.concurrency).toBe('shared');
  const checksum = readFileSync(new URL('../../../examples/toolchains/c/checksum.wasm', import.meta.url));
  expect((await prebuiltImage('checksum', '1.0.0', checksum)).stamp.concurrency).toBe('shared');
  expect((await prebuiltImage('checksum', '1.0.0', checksum, 'exclusive')).stamp.concurrency).toBe('exclusive');
});

test('keeps the state of a module that allocates only during initialization', async () => {
  const source = 'const table = new StaticArray<i32>(64); export function work(n: i32): i32 { table[n & 63] += n; return table[n & 63]; }';
  await load(await assemblyScriptImage('words', source));
  const entry = machine.device.openHostCall({ program: 'calls', driver: await driverImage('words', 'work') });
  expect(await entry.call(5)).toBe(5);
  expect(await entry.call(5)).toBe(10);
});

test('adds neither memory nor collector to a module that does not allocate', async () => {
  const { stamp } = await assemblyScriptImage('plain', 'export function work(n: i32): i32 { return n * 2; }');
  expect(stamp).toMatchObject({ ownMemory: false, hasState: false, concurrency: 'shared' });
});

test('rejects names of the runtime as exports', async () => {
  await expect(assemblyScriptImage('words', 'export function __collect(): void { while (true) {} }')).rejects.toThrow(
    /the export \\"__collect\\" uses a name reserved for AssemblyScript's runtime: rename it/,
  );
});
