// Unloading a module: the table entry is cleared, accesses inside leave, and later accesses fault.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { compiler, createTestMachine, endless, quickModule, referenceCount, type TestMachine, until, workModule } from '../test-machine.ts';

let machine: TestMachine;
beforeEach(() => {
  machine = createTestMachine();
});
afterEach(async () => {
  await machine.device.cancelDrain('the test has ended');
  await machine.close();
});
afterAll(() => compiler.close());

const importer = `
  (module (import "tcp" "work" (func $work (param i32) (result i32)))
    (func (export "work") (param i32) (result i32) (call $work (local.get 0))))`;
const moduleNames = () => machine.device.state().moduleTable.map(({ module }) => module);

test('interrupts the accesses inside, invalidates the pages, and lets later calls fault', async () => {
  await machine.load('tcp', '1.0.0', workModule(1));
  await machine.start('p', { module: 'tcp', arguments: [endless], threads: 4, calls: 2 });
  await until(() => referenceCount(machine, 'tcp') === 4);
  const report = await machine.device.unload({ module: 'tcp' });
  expect(report).toMatchObject({
    outcome: 'unloaded-interrupting',
    previous: { version: '1.0.0' },
    current: null,
    interrupted: 4,
    retried: 0,
    failed: 4,
  });
  expect(report.steps.map(({ step }) => step)).toEqual([
    'looked-up',
    'linked',
    'table-updated',
    'checked-references',
    'interrupted',
    'references-reset',
    'invalidated',
    'completed',
  ]);
  expect(moduleNames()).toEqual([]);
  expect(machine.device.state().memoryMap.ranges).toMatchObject([{ owner: { module: 'tcp' }, nx: true, reclaimable: true }]);
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 0, callsFailed: 8, effects: 0 });
});

test('a version can be loaded again, older or the same, and programs call it', async () => {
  await machine.load('tcp', '2.0.0', quickModule(2));
  expect(await machine.device.unload({ module: 'tcp', invalidation: 'delete' })).toMatchObject({ outcome: 'unloaded', interrupted: 0 });
  expect(await machine.load('tcp', '1.0.0', quickModule(1))).toMatchObject({ outcome: 'installed' });
  await machine.start('p', { module: 'tcp', arguments: ['0'], calls: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ lastResult: '1', callsFailed: 0 });
});

test('refuses a module that is not in memory, and one that another imports unless the unload is forced', async () => {
  expect(await machine.device.unload({ module: 'tcp' })).toMatchObject({ outcome: 'refused-not-loaded', reason: 'tcp is not in memory' });
  await machine.load('tcp', '1.0.0', quickModule(1));
  await machine.load('http', '1.0.0', importer);
  const refused = await machine.device.unload({ module: 'tcp' });
  expect(refused).toMatchObject({ outcome: 'refused-imported', current: { version: '1.0.0' } });
  expect(refused.reason).toBe(
    'http@1.0.0, which is in memory, imports tcp.work (i32) → i32, but tcp would not be in memory: unload http first, or force the unload with a reason',
  );
  expect(moduleNames()).toEqual(['tcp', 'http']);
  const forced = await machine.device.unload({ module: 'tcp', forceReason: 'the module is attacked' });
  expect(forced).toMatchObject({ outcome: 'unloaded' });
  expect(forced.steps.find(({ step }) => step === 'linked')?.facts).toMatchObject({
    unresolvedLinks: 1,
    unresolved: [{ problem: 'missing', importer: { module: 'http' }, provider: { module: 'tcp', version: null } }],
    forceReason: 'the module is attacked',
  });
  await machine.start('p', { module: 'http', arguments: ['0'], calls: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ callsFailed: 1, lastFailure: expect.stringContaining('segmentation fault') });
});

test('drains: accesses inside complete, new ones fault; a cancelled drain brings the module back', async () => {
  await machine.load('tcp', '1.0.0', workModule(1));
  await machine.start('inside', { module: 'tcp', arguments: [endless], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  const unloading = machine.device.unload({ module: 'tcp', strategy: 'drain', drainMilliseconds: 600_000 });
  await until(() => machine.device.state().draining !== undefined);
  await machine.start('outside', { module: 'tcp', arguments: ['0'], calls: 1 });
  await until(() => machine.statistics('outside').state === 'finished');
  expect(machine.statistics('outside')).toMatchObject({ callsFailed: 1, lastFailure: expect.stringContaining('segmentation fault') });
  expect(await machine.device.cancelDrain('needed after all')).toBe('cancelled');
  expect(await unloading).toMatchObject({ outcome: 'cancelled', current: { version: '1.0.0' } });
  await machine.start('again', { module: 'tcp', arguments: ['0'], calls: 1 });
  await until(() => machine.statistics('again').state === 'finished');
  expect(machine.statistics('again')).toMatchObject({ lastResult: '1' });
  await machine.device.stopProgram('inside');
});

test('runs before_unload; a trap there leaves the module in memory', async () => {
  const hooked = (body: string) =>
    `(module (func (export "before_unload") ${body}) (func (export "work") (param i32) (result i32) (i32.const 1)))`;
  await machine.load('tcp', '1.0.0', hooked('(unreachable)'));
  expect(await machine.device.unload({ module: 'tcp' })).toMatchObject({
    outcome: 'failed',
    reason: 'tcp@1.0.0: before_unload of 1.0.0 failed: unreachable',
  });
  await machine.load('tcp', '1.1.0', hooked(''));
  expect(moduleNames()).toEqual(['tcp']);
  await machine.load('udp', '1.0.0', hooked(''));
  const report = await machine.device.unload({ module: 'udp' });
  expect(report.steps.find(({ step }) => step === 'table-updated')?.facts).toMatchObject({ to: null, beforeUnload: 'completed' });
});

test('a program that names an export after an unload was reverted never reaches the slots of another module', async () => {
  await machine.load('tcp', '1.0.0', workModule(1));
  const names = Array.from({ length: 40 }, (_, index) => `(func (export "f${index}") (result i32) (i32.const ${index}))`);
  // The failed load makes the names of its exports known, for which the version in memory has no slots.
  const failing = `(module (func (export "work") (param i32) (result i32) (i32.const 1)) ${names.join(' ')} (func (export "self_check") (result i32) (i32.const 1)))`;
  expect(await machine.load('tcp', '2.0.0', failing)).toMatchObject({ outcome: 'failed' });
  await machine.load('udp', '1.0.0', `(module ${names.join(' ')})`);
  await expect(machine.start('p', { module: 'tcp', export: 'f30', arguments: [], calls: 1 })).rejects.toThrow(
    'tcp@1.0.0 does not export it: load a version that exports it first',
  );
});

/** Begins an unload that drains, and starts a program that looks up the address of the module meanwhile. */
async function lookUpDuringDrain(argument: string) {
  await machine.load('tcp', '1.0.0', workModule(1));
  await machine.start('inside', { module: 'tcp', arguments: [endless], calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 1);
  const unloading = machine.device.unload({ module: 'tcp', strategy: 'drain', drainMilliseconds: 600_000, invalidation: 'delete' });
  await until(() => machine.device.state().draining !== undefined);
  await machine.start('pinned', { module: 'tcp', arguments: [argument], addressing: 'hard-coded', pauseMilliseconds: 1 });
  const isInside = () => [...machine.processor.images.values()].some(({ bypassCount }) => bypassCount > 0);
  await until(() => isInside() || machine.statistics('pinned').effects > 0 || machine.statistics('pinned').callsFailed > 0);
  return { unloading };
}

test('a program that looks up an address during the drain of an unload is counted at that address after the drain is cancelled', async () => {
  const { unloading } = await lookUpDuringDrain(endless);
  expect(await machine.device.cancelDrain('needed after all')).toBe('cancelled');
  await unloading;
  expect(await machine.load('tcp', '2.0.0', quickModule(2))).toMatchObject({
    outcome: 'replaced-interrupting',
    interrupted: 2,
    retried: 2,
  });
  await until(() => machine.statistics('pinned').callsFailed > 0);
  expect(machine.device.abiViolations()).toMatchObject([{ program: 'pinned', module: 'tcp', version: '1.0.0', flag: 'nx' }]);
});

test('an address that a program looked up during the drain of an unload is never given to another module', async () => {
  const { unloading } = await lookUpDuringDrain('0');
  await machine.device.interruptDrain();
  expect(await unloading).toMatchObject({ outcome: 'unloaded-interrupting' });
  await machine.load('udp', '1.0.0', quickModule(100));
  await machine.start('udp', { module: 'udp', arguments: ['0'], calls: 1 });
  await until(() => machine.statistics('udp').state === 'finished');
  const failedBefore = machine.statistics('pinned').callsFailed;
  const completedBefore = machine.statistics('pinned').callsCompleted;
  await until(
    () => machine.statistics('pinned').callsFailed + machine.statistics('pinned').callsCompleted > failedBefore + completedBefore,
  );
  expect(machine.statistics('pinned')).toMatchObject({ callsCompleted: completedBefore });
  expect(machine.device.abiViolations()).toMatchObject([{ program: 'pinned', module: 'tcp', version: '1.0.0', flag: 'not-present' }]);
});
