// An image whose instantiation may fail is instantiated in operation 230, so that the load fails; a trap names the module that caused it.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import type { VerifiedImage } from '../../../src/machine/index.ts';
import { alter, exported, forge } from '../forged-images.ts';
import { readVerified } from '../read-verified.ts';
import { compiler, createTestMachine, moduleImage, quickModule, type TestMachine, until } from '../test-machine.ts';

let machine: TestMachine;
beforeEach(() => {
  machine = createTestMachine();
});
afterEach(() => machine.close());
afterAll(() => compiler.close());

const work = '(func (export "work") (param i32) (result i32) (i32.load8_u (local.get 0)))';

/** Returns an image with data at 70,000 in a memory of one page. The compiler rejects that, so the offset is written into the compiled image. */
async function outOfBounds(): Promise<VerifiedImage> {
  const source = `(module (memory 1) (data (i32.const 65000) "x") ${work})`;
  const result = await compiler.compileModule({ module: 'tcp', version: '1.1.0', language: 'wat', source });
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  // i32.const in signed LEB128.
  const offset = [Buffer.from([0x41, 0xe8, 0xfb, 0x03, 0x0b]), Buffer.from([0x41, 0xf0, 0xa2, 0x04, 0x0b])] as const;
  const stamp = [Buffer.from('"mayFailToInstantiate":false'), Buffer.from('"mayFailToInstantiate":true ')] as const;
  const { bytes, digest } = alter(result.compiled.image, [offset, stamp]);
  return readVerified(bytes, digest);
}

test.each([
  ['data out of bounds', outOfBounds],
  ['a start function that traps', () => moduleImage('tcp', '1.1.0', `(module (memory 1) (func $s unreachable) (start $s) ${work})`)],
])('fails the load in operation 230 on %s, and the old version keeps serving', async (_, imageOf) => {
  await machine.load('tcp', '1.0.0', quickModule(1));
  const report = await machine.device.load({ image: await imageOf() });
  expect(report).toMatchObject({ outcome: 'failed', current: { version: '1.0.0' } });
  expect(report.steps.map(({ step }) => step)).toEqual(['received', 'looked-up', 'compared', 'linked', 'failed', 'completed']);
  await machine.start('calls', { module: 'tcp', calls: 1 });
  await until(() => machine.statistics('calls').state === 'finished');
  expect(machine.statistics('calls')).toMatchObject({ callsCompleted: 1, callsFailed: 0 });
});

test('fails the load of an image whose fuel is a constant, and the host survives', async () => {
  const text = '(module (global (export "patchbay:fuel") i32 (i32.const 1)) (func $start) (start $start) (func (export "one")))';
  const { bytes, digest } = forge(text, { kind: 'module', hasStart: true, exports: [exported('one')] });
  const report = await machine.device.load({ image: readVerified(bytes, digest) });
  expect(report).toMatchObject({ outcome: 'failed', reason: expect.stringContaining('immutable global') });
});

test.each([
  ['start function', '(func $s (call $sleep (i32.const 1))) (start $s)'],
  ['self-check', '(func (export "self_check") (result i32) (call $sleep (i32.const 1)) (i32.const 0))'],
])('fails the load and gives the reason when the %s sleeps', async (_, fields) => {
  const image = await moduleImage(
    'tcp',
    '1.0.0',
    `(module (import "kernel" "sleep" (func $sleep (param i32))) (memory 1) ${fields} ${work})`,
  );
  expect(await machine.device.load({ image })).toMatchObject({
    outcome: 'failed',
    reason: expect.stringContaining('it called kernel.sleep or entered a busy exclusive module'),
  });
});

test('fails the call that exceeds the limit of nested accesses', async () => {
  const recursive = `(module (import "tcp" "work" (func $again (param i32) (result i32)))
    (func (export "work") (param i32) (result i32)
      (if (result i32) (local.get 0) (then (call $again (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 7)))))`;
  await machine.load('tcp', '1.0.0', recursive);
  for (const [program, depth] of [
    ['within', 110],
    ['past', 111],
  ] as const) {
    await machine.start(program, { module: 'tcp', arguments: [String(depth)], calls: 1 });
    await until(() => machine.statistics(program).state === 'finished');
  }
  expect(machine.statistics('within')).toMatchObject({ callsFailed: 0, lastResult: '7' });
  expect(machine.statistics('past').lastFailure).toBe('limit reached (111 nested accesses per thread) in tcp@1.0.0 at 0x1000');
});

const failingIndirectCall = `(module (type $other (func (result f64))) (table 2 funcref) (elem (i32.const 0) $f)
  (func $f (param i32) (result i32) (local.get 0))
  (func (export "work") (param i32) (result i32) (drop (call_indirect (type $other) (local.get 0))) (i32.const 1)))`;

test.each([
  ['of another type', 0],
  ['that is null', 1],
  ['past the end', 7],
])(
  "reports a failed call_indirect in the module's own table, to an element %s, as an error of the module, not a segmentation fault",
  async (_, index) => {
    await machine.load('tcp', '1.0.0', failingIndirectCall);
    await machine.start('calls', { module: 'tcp', arguments: [String(index)], calls: 1 });
    await until(() => machine.statistics('calls').state === 'finished');
    const { faults, callsFailed, lastFailure } = machine.statistics('calls');
    expect({ faults, callsFailed }).toEqual({ faults: 0, callsFailed: 1 });
    expect(lastFailure).toMatch(/ in tcp@1\.0\.0 at 0x1000: a call_indirect inside the module failed$/);
    expect(machine.device.state().abiViolations.total).toBe(0);
  },
);

test('reports the same for a module that another module calls', async () => {
  await machine.load('inner', '1.0.0', failingIndirectCall);
  const outer = `(module (import "inner" "work" (func $inner (param i32) (result i32)))
    (func (export "work") (param i32) (result i32) (call $inner (local.get 0))))`;
  await machine.load('outer', '1.0.0', outer);
  await machine.start('calls', { module: 'outer', calls: 1 });
  await until(() => machine.statistics('calls').state === 'finished');
  expect(machine.statistics('calls')).toMatchObject({ faults: 0, callsFailed: 1 });
});

test('reports an access to an export that the version in memory lacks as a segmentation fault', async () => {
  await machine.load('tcp', '1.0.0', '(module (func (export "other") (result i32) (i32.const 1)))');
  await machine.start('calls', { module: 'tcp', calls: 1 });
  await until(() => machine.statistics('calls').state === 'finished');
  expect(machine.statistics('calls')).toMatchObject({ faults: 1, callsFailed: 1 });
  expect(machine.statistics('calls').lastFailure).toBe(
    'segmentation fault: program calls called tcp.work (i32) → i32, but tcp@1.0.0 at 0x1000 does not export it',
  );
});
