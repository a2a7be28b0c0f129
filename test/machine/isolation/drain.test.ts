// A draining load: its progress, and how it is ended early.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import type { LoadOptions } from '../../../src/machine/device.ts';
import {
  compiler,
  createTestMachine,
  endless,
  moduleImage,
  quickModule,
  referenceCount,
  type TestMachine,
  until,
  workModule,
} from '../test-machine.ts';

const tenMinutes = 600_000;

let machine: TestMachine;
beforeEach(() => {
  machine = createTestMachine();
});
afterEach(async () => {
  await machine.device.cancelDrain('the test has ended');
  await machine.close();
});
afterAll(() => compiler.close());

async function load(version: string, wat: string, options: Partial<LoadOptions> = {}) {
  return machine.device.load({ image: await moduleImage('tcp', version, wat), drainMilliseconds: tenMinutes, ...options });
}

/** Starts a load that drains, with three endless accesses of one program and one of another inside the old version. */
async function beginDrain(strategy: 'drain' | 'drain-then-inject' = 'drain') {
  await load('1.0.0', workModule(1));
  await machine.start('many', { module: 'tcp', arguments: [endless], threads: 3, calls: 1 });
  await machine.start('one', { module: 'tcp', arguments: [endless], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 4);
  const loading = load('1.1.0', quickModule(2), { strategy });
  await until(() => machine.device.state().draining !== undefined);
  return { loading };
}

test('the state shows a draining load: the accesses inside, their programs, and how long it has waited', async () => {
  expect(machine.device.state()).not.toHaveProperty('draining');
  await beginDrain();
  const { draining } = machine.device.state();
  expect(draining).toEqual({
    operation: 250,
    module: 'tcp',
    previousVersion: '1.0.0',
    accesses: 4,
    programs: [
      { program: 'many', threads: 3 },
      { program: 'one', threads: 1 },
    ],
    waitedMilliseconds: expect.any(Number),
  });
  await until(() => (machine.device.state().draining?.waitedMilliseconds ?? 0) > (draining?.waitedMilliseconds ?? 0));
  await machine.device.stopProgram('many');
  await until(() => machine.device.state().draining?.accesses === 1);
  expect(machine.device.state().draining?.programs).toEqual([{ program: 'one', threads: 1 }]);
});

test('the progress leaves out accesses by a hard-coded address, for which the load does not wait', async () => {
  await load('1.0.0', workModule(1));
  await machine.start('waits', { module: 'tcp', arguments: [endless], calls: 1 });
  await machine.start('stale', { module: 'tcp', arguments: [endless], calls: 1, addressing: 'hard-coded' });
  await until(() => [...machine.processor.images.values()].some((image) => image.referenceCount === 1 && image.bypassCount === 1));
  const loading = load('1.1.0', quickModule(2), { strategy: 'drain' });
  await until(() => machine.device.state().draining !== undefined);
  expect(machine.device.state().draining).toMatchObject({ accesses: 1, programs: [{ program: 'waits', threads: 1 }] });
  await machine.device.stopProgram('waits');
  expect(await loading).toMatchObject({ outcome: 'replaced' });
  await machine.device.stopProgram('stale');
});

test.each(['drain', 'drain-then-inject'] as const)('with strategy %s, interrupts the accesses inside on request', async (strategy) => {
  const { loading } = await beginDrain(strategy);
  expect(await machine.device.interruptDrain()).toBe('interrupted');
  const report = await loading;
  expect(report).toMatchObject({
    outcome: 'replaced-interrupting',
    reason: null,
    interrupted: 4,
    retried: 4,
    failed: 0,
    current: { version: '1.1.0' },
  });
  expect(report.steps.map(({ step }) => step).slice(6)).toEqual([
    'checked-references',
    'interrupted',
    'references-reset',
    'invalidated',
    'completed',
  ]);
  await until(() => machine.statistics('many').state === 'finished' && machine.statistics('one').state === 'finished');
  expect(machine.statistics('many')).toMatchObject({ callsCompleted: 3, callsFailed: 0, versions: [{ version: '1.1.0' }] });
  expect(machine.device.state()).not.toHaveProperty('draining');
});

test.each(['drain', 'drain-then-inject'] as const)(
  'with strategy %s, a cancelled load leaves the old version in the table',
  async (strategy) => {
    const { loading } = await beginDrain(strategy);
    expect(await machine.device.cancelDrain('cancelled by an operator')).toBe('cancelled');
    const report = await loading;
    expect(report).toMatchObject({
      outcome: 'cancelled',
      reason: expect.stringMatching(/^cancelled by an operator: 4 accesses were still inside 1\.0\.0 after \d+ ms$/),
      interrupted: 0,
      previous: { version: '1.0.0' },
      current: { version: '1.0.0' },
    });
    expect(report.steps.map(({ step }) => step).slice(6)).toEqual(['checked-references', 'cancelled', 'completed']);
    const { moduleTable, draining } = machine.device.state();
    expect(moduleTable).toMatchObject([{ version: '1.0.0', referenceCount: 4 }]);
    expect(draining).toBeUndefined();
    expect(machine.statistics('many')).toMatchObject({ state: 'running', accessesInterrupted: 0, callsFailed: 0 });
    // The device is as before the load: the same version can be loaded again.
    expect(await load('1.1.0', quickModule(2), { strategy: 'inject' })).toMatchObject({ outcome: 'replaced-interrupting', retried: 4 });
  },
);

test('a request to end a drain changes nothing if no load drains', async () => {
  expect(await machine.device.interruptDrain()).toBe('not-draining');
  expect(await machine.device.cancelDrain('too early')).toBe('not-draining');
  const { loading } = await beginDrain();
  const [first, second, third] = await Promise.all([
    machine.device.interruptDrain(),
    machine.device.cancelDrain('too late'),
    machine.device.interruptDrain(),
  ]);
  expect([first, second, third]).toEqual(['interrupted', 'not-draining', 'not-draining']);
  expect(await loading).toMatchObject({ outcome: 'replaced-interrupting', current: { version: '1.1.0' } });
  expect(await machine.device.cancelDrain('too late')).toBe('not-draining');
  expect(machine.device.state().moduleTable).toMatchObject([{ version: '1.1.0' }]);
});

test('the next load starts when a drain was cancelled', async () => {
  const { loading } = await beginDrain();
  const next = load('1.2.0', quickModule(3), { strategy: 'inject' });
  expect(await machine.device.cancelDrain('cancelled by an operator')).toBe('cancelled');
  expect(await loading).toMatchObject({ outcome: 'cancelled' });
  expect(await next).toMatchObject({ outcome: 'replaced-interrupting', previous: { version: '1.0.0' }, current: { version: '1.2.0' } });
});

test('after a drain is cancelled, a new version that imports its own module does not call what the old one lacks', async () => {
  const exports = (first: number) =>
    Array.from({ length: 9 }, (_, index) => `(func (export "f${index}") (param i32) (result i32) (i32.const ${first + index}))`).join('\n');
  const waiting = `(module
    (import "kernel" "sleep" (func $sleep (param i32)))
    (import "latch" "isOpen" (func $isOpen (result i32)))
    (import "tcp" "more" (func $more (param i32) (result i32)))
    (func (export "work") (param $n i32) (result i32)
      (loop $wait (if (i32.eqz (call $isOpen)) (then (call $sleep (i32.const 1)) (br $wait))))
      (call $more (local.get $n)))
    ${exports(0)} (func (export "more") (param i32) (result i32) (i32.const 5)))`;
  await machine.load(
    'latch',
    '1.0.0',
    `(module (global $open (mut i32) (i32.const 0))
      (func (export "isOpen") (result i32) (global.get $open))
      (func (export "work") (param i32) (result i32) (global.set $open (i32.const 1)) (i32.const 0)))`,
  );
  await load('1.0.0', workModule(1));
  // The slots of its exports follow those of the old version.
  await machine.load('udp', '1.0.0', `(module ${exports(100)})`);
  for (let index = 0; index < 9; index += 1) await machine.start(`u${index}`, { module: 'udp', export: `f${index}`, calls: 1 });
  await machine.start('old', { module: 'tcp', arguments: [endless], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  const loading = load('2.0.0', waiting, { strategy: 'drain' });
  await until(() => machine.device.state().draining !== undefined);
  await machine.start('new', { module: 'tcp', arguments: ['0'], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  await machine.device.cancelDrain('not yet');
  expect(await loading).toMatchObject({ outcome: 'cancelled' });
  await machine.start('opener', { module: 'latch', arguments: ['0'], calls: 1 });
  await until(() => machine.statistics('new').state === 'finished');
  expect(machine.statistics('new')).toMatchObject({ lastResult: '1', callsFailed: 0, accessesRetried: 1 });
});
