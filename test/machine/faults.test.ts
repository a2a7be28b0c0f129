// Faults inside a module and exceeded limits: the call fails with a reason, and everything else continues.

import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf, ImageError, Processor, ProgramError, readImage } from '../../src/machine/index.ts';
import {
  compiler,
  createTestMachine,
  driverImage,
  endless,
  moduleImage,
  referenceCount,
  type TestMachine,
  until,
  workModule,
} from './test-machine.ts';

let machine: TestMachine;
beforeEach(() => {
  machine = createTestMachine();
});
afterEach(() => machine.close());
afterAll(() => compiler.close());

const module = (body: string, imports = '') => `(module ${imports} (func $work (export "work") (param i32) (result i32) ${body}))`;

test.each([
  ['a trap', module('(i32.div_u (i32.const 1) (i32.const 0))'), /divide by zero in tcp@1\.0\.0 at 0x1000/],
  ['endless recursion', module('(i32.add (call $work (local.get 0)) (i32.const 1))'), /stack size exceeded/],
  [
    'a module that is not in memory',
    module('(call $absent (local.get 0))', '(import "absent" "work" (func $absent (param i32) (result i32)))'),
    /segmentation fault: tcp@1\.0\.0 called absent\.work \(i32\) → i32, but absent is not in memory/,
  ],
  [
    'nesting accesses too deeply',
    module('(call $self (local.get 0))', '(import "tcp" "work" (func $self (param i32) (result i32)))'),
    /limit reached \(111 nested accesses per thread\)/,
  ],
  [
    'more effects than the limit',
    module(
      '(loop $next (call $emit (i32.const 1) (i64.const 1)) (br $next)) (unreachable)',
      '(import "kernel" "emit" (func $emit (param i32 i64)))',
    ),
    /1024 effects/,
  ],
])('%s fails the call, and the thread makes its next call', async (_what, wat, reason) => {
  await machine.load('tcp', '1.0.0', wat, 'off');
  await machine.start('p', { module: 'tcp', calls: 3 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({
    callsCompleted: 0,
    callsFailed: 3,
    effects: 0,
    faults: reason.source.startsWith('segmentation fault') ? 3 : 0,
    lastFailure: expect.stringMatching(reason),
  });
  expect(referenceCount(machine, 'tcp')).toBe(0);
});

test('pauses after a failed call like after any other, and can be stopped in the pause', async () => {
  await machine.load('tcp', '1.0.0', module('(unreachable)'));
  await machine.load('udp', '1.0.0', workModule(0));
  await machine.start('p', { module: 'tcp', pauseMilliseconds: 3_600_000 });
  await until(() => machine.statistics('p').callsFailed > 0);
  await machine.start('q', { module: 'udp', calls: 10_000 });
  await until(() => machine.statistics('q').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ state: 'running', callsFailed: 1 });
  await machine.device.stopProgram('p');
  expect(machine.statistics('p')).toMatchObject({ state: 'stopped', callsFailed: 1 });
});

test('ends every access when a trap occurs three modules deep', async () => {
  const calls = (inner: string) =>
    module('(call $inner (local.get 0))', `(import "${inner}" "work" (func $inner (param i32) (result i32)))`);
  await machine.load('c', '1.0.0', module('(unreachable)'));
  await machine.load('b', '1.0.0', calls('c'));
  await machine.load('a', '1.0.0', calls('b'));
  await machine.start('p', { module: 'a', calls: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  for (const name of ['a', 'b', 'c']) expect(referenceCount(machine, name)).toBe(0);
  expect(machine.statistics('p').lastFailure).toContain('c@1.0.0');
});

test('drops the effects of a call that trapped, even if the next call completes', async () => {
  const everyOther = `(module
    (import "kernel" "emit" (func $emit (param i32 i64)))
    (import "kernel" "sleep" (func $sleep (param i32)))
    (global $calls (mut i32) (i32.const 0))
    (func (export "work") (param i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (call $emit (global.get $calls) (i64.const 0))
      (call $sleep (i32.const 0))
      (if (i32.and (global.get $calls) (i32.const 1)) (then (unreachable)))
      (global.get $calls)))`;
  await machine.load('tcp', '1.0.0', everyOther);
  await machine.start('p', { module: 'tcp', calls: 6 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 3, callsFailed: 3, effects: 3 });
  expect(machine.effects.map(({ channel }) => channel)).toEqual([2, 4, 6]);
});

test('gives a module its own memory, separate from kernel memory', async () => {
  await machine.load(
    'tcp',
    '1.0.0',
    '(module (memory 1) (data (i32.const 8) "*") (func (export "work") (param i32) (result i32) (i32.load8_u (i32.const 8))))',
  );
  await machine.start('p', { module: 'tcp', calls: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p').lastResult).toBe('42');
});

test('reports an export of another type than the imported one as a segmentation fault', async () => {
  await machine.load('udp', '1.0.0', '(module (func (export "work") (param i64) (result i64) (local.get 0)))');
  const calling = module('(call $udp (local.get 0))', '(import "udp" "work" (func $udp (param i32) (result i32)))');
  await machine.load('tcp', '1.0.0', calling, 'off');
  await machine.start('p', { module: 'tcp', calls: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p').lastFailure).toMatch(
    /segmentation fault: tcp@1\.0\.0 called udp\.work \(i32\) → i32, but udp@1\.0\.0 at 0x1000 exports it as \(i64\) → i64$/,
  );
});

test('fails the calls of a faulty version only, until the next version is loaded', async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  await machine.start('p', { module: 'tcp', arguments: [endless], calls: 2 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  expect(
    await machine.load('tcp', '1.1.0', module('(loop $next (br_if $next (i32.ne (local.get 0) (local.get 0)))) (unreachable)')),
  ).toMatchObject({ retried: 1 });
  await until(() => machine.statistics('p').callsFailed === 2);
  await machine.load('tcp', '1.2.0', module('(i32.const 9)'));
  await machine.start('q', { module: 'tcp', calls: 1 });
  await until(() => machine.statistics('q').state === 'finished');
  expect(machine.statistics('q').lastResult).toBe('9');
});

test('rejects a program past the thread limit, and starts none of its threads', async () => {
  const small = createTestMachine({ processor: new Processor({ threadLimit: 10 }) });
  await small.load('tcp', '1.0.0', workModule(0));
  await small.start('a', { module: 'tcp', threads: 7 });
  await expect(small.start('b', { module: 'tcp', threads: 4 })).rejects.toThrow(
    /limit reached \(10 threads per host, 7 running\): start up to 3/,
  );
  expect(small.processor.runningThreads).toBe(7);
  await small.start('b', { module: 'tcp', threads: 3 });
  await small.close();
});

test.each([
  [['1', '2'], /expected 1 argument, received 2/],
  [['x'], /argument 1: expected an integer of type i32, received "x"/],
  [['1.5'], /expected an integer/],
  [[''], /expected an integer/],
])('rejects the arguments %j', async (values, reason) => {
  await machine.load('tcp', '1.0.0', workModule(0));
  const driver = await driverImage('tcp', 'work', 1);
  const start = () =>
    machine.device.startProgram({
      program: 'p',
      driver,
      module: 'tcp',
      export: 'work',
      arguments: values,
      threads: 1,
      calls: 1,
      pauseMilliseconds: 0,
    });
  expect(start).toThrow(ProgramError);
  expect(start).toThrow(reason);
});

test('rejects starting a program twice and stopping an unknown program', async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  await machine.start('p', { module: 'tcp' });
  await expect(machine.start('p', { module: 'tcp' })).rejects.toThrow(/already started/);
  await expect(machine.device.stopProgram('q')).rejects.toThrow(ProgramError);
});

test('refuses to load a driver as a module', async () => {
  const report = await machine.device.load({ image: await driverImage('tcp', 'work'), strategy: 'inject', invalidation: 'nx' });
  expect(report).toMatchObject({ outcome: 'refused-image', reason: expect.stringContaining('driver') });
});

test('rejects an image with a wrong digest, without valid WebAssembly, or without a stamp', async () => {
  const bare = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  expect(() => readImage(bare, digestOf('another'))).toThrow(ImageError);
  expect(() => readImage(bare, digestOf(bare))).toThrow(/no patchbay.stamp section/);
  const text = new TextEncoder().encode('text');
  expect(() => readImage(text, digestOf(text))).toThrow(/not valid WebAssembly/);
  const image = await moduleImage('tcp', '1.0.0', workModule(0));
  expect(image.stamp).toMatchObject({ kind: 'module', module: 'tcp', version: '1.0.0' });
});

describe('a call of an export that is not in memory names the export and its caller', () => {
  const importing = (...names: string[]) =>
    names.map((name) => `(import "net" "${name}" (func $${name} (param i32) (result i32)))`).join(' ');
  const failureOf = async (program: string, options: { module?: string; addressing?: 'hard-coded'; arguments?: string[] } = {}) => {
    await machine.start(program, { module: 'ip', calls: 1, ...options });
    await until(() => machine.statistics(program).state === 'finished');
    expect(machine.statistics(program)).toMatchObject({ callsFailed: 1, faults: 1 });
    return machine.statistics(program).lastFailure;
  };
  /** Calls another import for each argument; the third call is in a loop, into which the compiler inlines the stub. */
  const chooser = module(
    `(if (i32.eq (local.get 0) (i32.const 1)) (then (return (call $send (local.get 0)))))
     (if (i32.eq (local.get 0) (i32.const 2)) (then (return (call $receive (local.get 0)))))
     (loop $next (drop (call $close (local.get 0))) (br $next)) (unreachable)`,
    importing('send', 'receive', 'close'),
  );

  test('of a driver', async () => {
    expect(await failureOf('p')).toBe('segmentation fault: program p called ip.work (i32) → i32, but ip is not in memory');
  });

  test('of a driver with a hard-coded address, also after the module was loaded', async () => {
    await machine.start('p', { module: 'ip', addressing: 'hard-coded', pauseMilliseconds: 1 });
    await until(() => machine.statistics('p').callsFailed > 0);
    await machine.load('ip', '1.0.0', workModule(0));
    const { callsFailed } = machine.statistics('p');
    await until(() => machine.statistics('p').callsFailed > callsFailed);
    expect(machine.statistics('p').lastFailure).toBe(
      'segmentation fault: program p called ip.work (i32) → i32, but ip was not in memory at its first call',
    );
  });

  test('of a module that another module calls', async () => {
    await machine.load('ip', '1.2.0', chooser, 'off');
    await machine.load('app', '2.0.0', module('(call $ip (local.get 0))', '(import "ip" "work" (func $ip (param i32) (result i32)))'));
    const failures = [];
    for (const argument of ['1', '2', '3']) failures.push(await failureOf(`p${argument}`, { module: 'app', arguments: [argument] }));
    expect(failures).toEqual(
      ['send', 'receive', 'close'].map((name) => `segmentation fault: ip@1.2.0 called net.${name} (i32) → i32, but net is not in memory`),
    );
  });

  test('of a module that calls one that was unloaded', async () => {
    await machine.load('net', '1.0.0', '(module (func (export "send") (param i32) (result i32) (local.get 0)))');
    await machine.load('ip', '1.2.0', module('(call $send (local.get 0))', importing('send')));
    await machine.start('before', { module: 'ip', calls: 1 });
    await until(() => machine.statistics('before').callsCompleted === 1);
    await machine.device.unload({ module: 'net', forceReason: 'test' });
    expect(await failureOf('p')).toBe('segmentation fault: ip@1.2.0 called net.send (i32) → i32, but net is not in memory');
  });

  test('of a module with so many imports that their indices need several bytes', async () => {
    const names = Array.from({ length: 200 }, (_, index) => `f${index}`);
    await machine.load('ip', '1.2.0', module('(call $f199 (call $f150 (local.get 0)))', importing(...names)), 'off');
    expect(await failureOf('p')).toBe('segmentation fault: ip@1.2.0 called net.f150 (i32) → i32, but net is not in memory');
  });

  test('of a module that calls a version without the export, or with another type of it', async () => {
    await machine.load(
      'net',
      '1.0.0',
      `(module (func (export "send") (param i32) (result i32) (local.get 0)) (func (export "close") (param i64) (result i32) (i32.const 0)))`,
    );
    await machine.load('ip', '1.2.0', chooser, 'off');
    expect(await failureOf('p', { arguments: ['2'] })).toBe(
      'segmentation fault: ip@1.2.0 called net.receive (i32) → i32, but net@1.0.0 at 0x1000 does not export it',
    );
    expect(await failureOf('q', { arguments: ['3'] })).toBe(
      'segmentation fault: ip@1.2.0 called net.close (i32) → i32, but net@1.0.0 at 0x1000 exports it as (i64) → i32',
    );
  });
});
