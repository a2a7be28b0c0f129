// C stacks: each thread has its own part of a module's stack, for any number of threads and however their accesses end.

import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { Processor } from '../../../src/machine/index.ts';
import { alter } from '../forged-images.ts';
import { readVerified } from '../read-verified.ts';
import {
  compiler,
  createTestMachine,
  endless,
  moduleImage,
  prebuiltImage,
  referenceCount,
  type TestMachine,
  until,
} from '../test-machine.ts';

let machine: TestMachine;
beforeEach(() => {
  machine = createTestMachine();
});
afterEach(() => machine.close());
afterAll(() => compiler.close());

const example = (name: string) => readFileSync(new URL(`../../../examples/toolchains/c/${name}.wasm`, import.meta.url));

async function loadExample(module: string, version = '1.0.0', name = module): Promise<void> {
  const report = await machine.device.load({ image: await prebuiltImage(module, version, example(name)) });
  expect(report.reason).toBeNull();
}

/** `work(seed, rounds)` of a module that calls an export of another module, and traps if the export does not return 1. */
const verifying = (module: string, name: string) => `
  (module
    (import "${module}" "${name}" (func $check (param i32 i32) (result i32)))
    (func (export "work") (param i32 i32) (result i32)
      (if (i32.ne (call $check (local.get 0) (local.get 1)) (i32.const 1)) (then (unreachable)))
      (i32.const 1)))`;

async function startVerified(program: string, name: string, [seed, rounds]: [string, string], threads: number, calls: number | null) {
  await machine.start(program, { module: `${name}-verifier`, arguments: [seed, rounds], threads, calls });
}

const finished = (program: string) => until(() => machine.statistics(program).state === 'finished');

test('keeps results correct for eight threads in one C function with an array on its stack', async () => {
  await loadExample('checksum');
  await machine.load('check-verifier', '1.0.0', verifying('checksum', 'check'));
  for (const seed of ['1', '1000', '50000', '-7']) await startVerified(`p${seed}`, 'check', [seed, '200003'], 2, 200);
  for (const seed of ['1', '1000', '50000', '-7']) {
    await finished(`p${seed}`);
    expect(machine.statistics(`p${seed}`)).toMatchObject({ callsCompleted: 400, callsFailed: 0, lastResult: '1' });
  }
});

test('preserves what a leaf function stores below the stack pointer', async () => {
  await loadExample('checksum');
  await machine.load('leaf-verifier', '1.0.0', verifying('checksum', 'leaf'));
  for (const seed of ['1', '99']) await startVerified(`p${seed}`, 'leaf', [seed, '200000'], 4, 50);
  for (const seed of ['1', '99']) {
    await finished(`p${seed}`);
    expect(machine.statistics(`p${seed}`)).toMatchObject({ callsCompleted: 200, callsFailed: 0 });
  }
});

test('keeps results correct for a thousand threads that are interrupted and patched in nested modules', async () => {
  await loadExample('checksum');
  await loadExample('nested');
  await machine.load('check-verifier', '1.0.0', verifying('nested', 'check'));
  const versions = ['1.1.0', '1.2.0', '1.3.0', '1.4.0'];
  const patches = versions.flatMap((version) => ['checksum', 'nested'].map((module) => ({ module, version })));
  for (const { module, version } of patches) await prebuiltImage(module, version, example(module));
  const programs = Array.from({ length: 10 }, (_, seed) => ({ program: `p${seed}`, seed: String(seed) }));
  for (const { program, seed } of programs) await startVerified(program, 'check', [seed, '60003'], 100, null);
  let interrupted = 0;
  for (const { module, version } of patches) {
    await until(() => referenceCount(machine, module) >= 50);
    interrupted += (await machine.device.load({ image: await prebuiltImage(module, version, example(module)) })).interrupted;
  }
  await until(() => programs.every(({ program }) => machine.statistics(program).callsCompleted >= 200));
  for (const { program } of programs) {
    await machine.device.stopProgram(program);
    expect(machine.statistics(program)).toMatchObject({ callsFailed: 0 });
  }
  expect(interrupted).toBeGreaterThanOrEqual(400);
});

test('returns the stack region of a call after a stop and after a deadline', async () => {
  await loadExample('checksum');
  await machine.start('stopped', { module: 'checksum', export: 'spin', arguments: ['3', endless], threads: 16 });
  await until(() => referenceCount(machine, 'checksum') === 16);
  await machine.device.stopProgram('stopped');
  await machine.start('late', {
    module: 'checksum',
    export: 'spin',
    arguments: ['3', endless],
    threads: 16,
    calls: 2,
    deadlineMilliseconds: 20,
  });
  await finished('late');
  expect(machine.statistics('late')).toMatchObject({ callsCompleted: 0, callsFailed: 32 });
  expect(machine.statistics('late').lastFailure).toMatch(/deadline of 20 ms/);
  await machine.start('intact', { module: 'checksum', export: 'intact', arguments: ['0'], calls: 1 });
  await finished('intact');
  expect(machine.statistics('intact').lastResult).toBe('1');
  await machine.start('deep', { module: 'checksum', export: 'spin', arguments: ['3', '5000'], threads: 20, calls: 10 });
  await finished('deep');
  expect(machine.statistics('deep')).toMatchObject({ callsCompleted: 200, callsFailed: 0 });
});

/** `work(depth)` uses a frame of stack at each level. The module exports its stack pointer by name. */
const recursive = (base: number, frame: number) => `
  (module
    (memory 64)
    (global $sp (export "__stack_pointer") (mut i32) (i32.const ${base}))
    (global $end (export "__data_end") i32 (i32.const 1024))
    (data (i32.const 1000) "static data, up to 1024.")
    (func $work (export "work") (param $depth i32) (result i32) (local $i i32)
      (global.set $sp (i32.sub (global.get $sp) (i32.const ${frame})))
      (if (local.get $depth) (then (drop (call $work (i32.sub (local.get $depth) (i32.const 1))))))
      (loop $next
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $i) (i32.const 3000000))))
      (global.set $sp (i32.add (global.get $sp) (i32.const ${frame})))
      (global.get $sp)))`;

test('ends a call whose stack overflows with an error that names the module', async () => {
  await machine.load('deep', '1.0.0', recursive(2_048, 64));
  await machine.start('p', { module: 'deep', arguments: ['1000'], threads: 2, calls: 1 });
  await finished('p');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 0, callsFailed: 2 });
  expect(machine.statistics('p').lastFailure).toMatch(/stack overflow in deep@1\.0\.0: .* expected 1024 to 2048/);
  await machine.start('q', { module: 'deep', arguments: ['0'], threads: 2, calls: 1 });
  await finished('q');
  expect(machine.statistics('q')).toMatchObject({ callsCompleted: 2, lastResult: '2048' });
});

test('fails the calls of an image whose stamp puts the stack outside its memory, and the host survives', async () => {
  const result = await compiler.compileModule({ module: 'deep', version: '1.0.0', language: 'wat', source: recursive(4_194_304, 64) });
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  const { bytes, digest } = alter(result.compiled.image, [[Buffer.from('"base":4194304'), Buffer.from('"base":4194320')]]);
  await machine.device.load({ image: readVerified(bytes, digest) });
  await machine.start('p', { module: 'deep', arguments: ['0'], threads: 2, calls: 1 });
  await finished('p');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 0, callsFailed: 2 });
  expect(machine.statistics('p').lastFailure).toContain(
    'deep@1.0.0 has a stack from 1024 to 4194320, outside of its memory of 4194304 bytes',
  );
});

test('limits the saved stacks of a thread to 1 MiB', async () => {
  await machine.load('large', '1.0.0', recursive(4_194_304, 1_048_576 - 128));
  await machine.start('p', { module: 'large', arguments: ['0'], threads: 2, calls: 2 });
  await finished('p');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 4, callsFailed: 0 });
  await machine.load('large', '1.1.0', recursive(4_194_304, 1_048_576 - 112));
  await machine.start('q', { module: 'large', arguments: ['0'], threads: 2, calls: 2 });
  await finished('q');
  expect(machine.statistics('q')).toMatchObject({ callsCompleted: 0, callsFailed: 4 });
  expect(machine.statistics('q').lastFailure).toMatch(/limit reached \(1048576 bytes of saved C stacks per thread\)/);
});

test('limits the saved stacks of all threads of a host, and frees them', async () => {
  const frame = 262_144;
  const processor = new Processor({ stackMemory: 4 * (frame + 128) });
  const small = createTestMachine({ processor });
  await small.load('large', '1.0.0', recursive(4_194_304, frame));
  await small.start('p', { module: 'large', arguments: ['0'], threads: 4, calls: 3 });
  await until(() => small.statistics('p').state === 'finished');
  expect(small.statistics('p')).toMatchObject({ callsCompleted: 12, callsFailed: 0 });
  expect(processor.stackMemory.used).toBe(0);
  await small.start('q', { module: 'large', arguments: ['0'], threads: 8, calls: 3 });
  await until(() => small.statistics('q').state === 'finished');
  expect(small.statistics('q').callsFailed).toBeGreaterThan(0);
  expect(small.statistics('q').lastFailure).toContain(`limit reached (${4 * (frame + 128)} bytes of saved C stacks per host)`);
  expect(processor.stackMemory.used).toBe(0);
  await small.close();
});

test('does not mistake a counter in a mutable global for a stack pointer, and shares it between threads', async () => {
  const counter = `
    (module
      (memory 1)
      (global $credits (mut i32) (i32.const 32768))
      (func (export "work") (param i32) (result i32) (local $i i32)
        (global.set $credits (i32.sub (global.get $credits) (i32.const 16)))
        (loop $next
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $i) (i32.const 1000000))))
        (i32.store (i32.const 0) (global.get $credits))
        (global.get $credits)))`;
  const image = await moduleImage('counter', '1.0.0', counter);
  expect(image.stamp.stack).toBeNull();
  await machine.load('counter', '1.0.0', counter);
  await machine.start('p', { module: 'counter', arguments: ['0'], threads: 8, calls: 10 });
  await finished('p');
  await machine.start('q', { module: 'counter', arguments: ['0'], calls: 1 });
  await finished('q');
  expect(machine.statistics('q').lastResult).toBe(String(32_768 - 81 * 16));
});
