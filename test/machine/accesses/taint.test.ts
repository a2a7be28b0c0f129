// Taint: an image with state in which an access exited abnormally is marked in the device's state and in the report of the load that replaces it.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { compiler, createTestMachine, endless, referenceCount, type TestMachine, until } from '../test-machine.ts';

let machine: TestMachine;
beforeEach(() => {
  machine = createTestMachine();
});
afterEach(() => machine.close());
afterAll(() => compiler.close());

/** `work(n)` loops n times; it traps if n is 7. */
const module = (state: string) => `
  (module
    ${state}
    (func (export "work") (param $n i32) (result i32) (local $i i32)
      (if (i32.eq (local.get $n) (i32.const 7)) (then (unreachable)))
      (loop $next
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.or (i32.eq (local.get $n) (i32.const ${endless})) (i32.lt_u (local.get $i) (local.get $n)))))
      (local.get $n)))`;
const stateful = module('(memory 1) (data (i32.const 0) "x") (func (export "poke") (i32.store (i32.const 0) (i32.const 1)))');
const stateless = module('');

const taintOf = (name: string) => machine.device.state().moduleTable.find((entry) => entry.module === name)?.tainted;
const finished = (program: string) => until(() => machine.statistics(program).state === 'finished');

test('taints an image with state after a trap, and counts each further trap', async () => {
  await machine.load('tcp', '1.0.0', stateful);
  expect(taintOf('tcp')).toBeNull();
  await machine.start('p', { module: 'tcp', arguments: ['7'], threads: 2, calls: 3 });
  await finished('p');
  expect(taintOf('tcp')).toMatchObject({ reason: 'trap', accesses: 6 });
  expect(new Date(taintOf('tcp')?.at ?? '').getTime()).toBeGreaterThan(0);
});

test('treats a mutable global as state, and never taints an image without state', async () => {
  await machine.load(
    'counter',
    '1.0.0',
    module('(global $g (mut i32) (i32.const 0)) (func (export "poke") (global.set $g (i32.add (global.get $g) (i32.const 1))))'),
  );
  await machine.load('tcp', '1.0.0', stateless);
  for (const name of ['counter', 'tcp']) await machine.start(`p-${name}`, { module: name, arguments: ['7'], calls: 1 });
  for (const name of ['counter', 'tcp']) await finished(`p-${name}`);
  expect(taintOf('counter')).toMatchObject({ reason: 'trap', accesses: 1 });
  expect(taintOf('tcp')).toBeNull();
});

test('taints an image after a deadline and after a stop', async () => {
  await machine.load('tcp', '1.0.0', stateful);
  await machine.start('late', { module: 'tcp', arguments: [endless], calls: 1, deadlineMilliseconds: 10 });
  await finished('late');
  expect(taintOf('tcp')).toMatchObject({ reason: 'deadline', accesses: 1 });
  await machine.load('tcp', '1.1.0', stateful);
  await machine.start('stopped', { module: 'tcp', arguments: [endless], threads: 3 });
  await until(() => referenceCount(machine, 'tcp') === 3);
  await machine.device.stopProgram('stopped');
  expect(taintOf('tcp')).toMatchObject({ reason: 'stop', accesses: 3 });
});

test('taints the old image and nested images after an interruption, but not the new image', async () => {
  const outer = `
    (module
      (import "tcp" "work" (func $inner (param i32) (result i32)))
      (memory 1)
      (func (export "work") (param i32) (result i32)
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (call $inner (local.get 0))))`;
  await machine.load('tcp', '1.0.0', stateful);
  await machine.load('http', '1.0.0', outer);
  await machine.start('p', { module: 'http', arguments: [endless], threads: 2, calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 2);
  const report = await machine.load(
    'http',
    '1.1.0',
    outer
      .replace('(call $inner (local.get 0))', '(local.get 0)')
      .replace('(import "tcp" "work" (func $inner (param i32) (result i32)))', ''),
  );
  expect(report).toMatchObject({ interrupted: 2, previous: { version: '1.0.0', tainted: { reason: 'interruption', accesses: 2 } } });
  expect(report.current?.tainted).toBeNull();
  expect(taintOf('tcp')).toMatchObject({ reason: 'interruption', accesses: 2 });
  expect(taintOf('http')).toBeNull();
});

test('does not taint an image when a call to the address of removed code faults', async () => {
  await machine.load('tcp', '1.0.0', stateful);
  await machine.start('p', { module: 'tcp', arguments: ['1'], addressing: 'hard-coded', pauseMilliseconds: 1 });
  await until(() => machine.statistics('p').callsCompleted > 0);
  const report = await machine.load('tcp', '1.1.0', stateful);
  await until(() => machine.statistics('p').faults > 2);
  expect(report.previous?.tainted?.accesses ?? 0).toBeLessThanOrEqual(1);
  expect(taintOf('tcp')).toBeNull();
});
