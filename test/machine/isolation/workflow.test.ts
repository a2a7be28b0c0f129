// Outcomes and steps of the isolation workflow on idle and busy devices.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { DeviceState } from '../../../src/protocol/device-state.ts';
import { newIdentifier } from '../../../src/protocol/identifiers.ts';
import { LoadReport } from '../../../src/protocol/load-report.ts';
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

let machine: TestMachine;
beforeEach(() => {
  machine = createTestMachine();
});
afterEach(() => machine.close());
afterAll(() => compiler.close());

const names = (report: { steps: { step: string }[] }) => report.steps.map(({ step }) => step);
const isWork = { module: 'tcp' };

test('installs a first version', async () => {
  const report = await machine.load('tcp', '1.0.0', workModule(0));
  expect(report).toMatchObject({ outcome: 'installed', previous: null, current: { version: '1.0.0', address: '0x1000' } });
  expect(names(report)).toEqual(['received', 'looked-up', 'linked', 'loaded', 'table-updated', 'completed']);
  expect(report.steps.map(({ operation }) => operation)).toEqual([200, 210, 220, 230, 240, 280]);
});

test('replaces an idle version at another address, and makes the old pages fault', async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  const report = await machine.load('tcp', '1.0.1', workModule(1));
  expect(report).toMatchObject({ outcome: 'replaced', interrupted: 0, previous: { address: '0x1000' }, current: { address: '0x2000' } });
  expect(names(report)).toEqual([
    'received',
    'looked-up',
    'compared',
    'linked',
    'loaded',
    'table-updated',
    'checked-references',
    'invalidated',
    'completed',
  ]);
  expect(machine.device.state().memoryMap.ranges).toMatchObject([
    { address: '0x1000', nx: true, owner: { version: '1.0.0' } },
    { address: '0x2000', nx: false, owner: { version: '1.0.1' } },
  ]);
});

test('interrupts accesses inside the old version, which finish in the new one', async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  const program = newIdentifier('program');
  await machine.start(program, { ...isWork, arguments: [endless], threads: 50, calls: 1 });
  await until(() => referenceCount(machine, 'tcp') === 50);
  const report = await machine.load('tcp', '1.1.0', quickModule(7));
  expect(report).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 50, retried: 50, failed: 0 });
  expect(names(report)).toEqual([
    'received',
    'looked-up',
    'compared',
    'linked',
    'loaded',
    'table-updated',
    'checked-references',
    'interrupted',
    'references-reset',
    'invalidated',
    'completed',
  ]);
  expect(report.steps.find(({ step }) => step === 'interrupted')?.facts).toEqual({
    accesses: 50,
    threads: 50,
    programs: [{ program, threads: 50 }],
  });
  await until(() => machine.statistics(program).state === 'finished');
  expect(machine.statistics(program)).toMatchObject({
    callsCompleted: 50,
    callsFailed: 0,
    accessesInterrupted: 50,
    accessesRetried: 50,
    lastResult: String(Number(endless) + 7),
    versions: [{ version: '1.1.0', callsCompleted: 50 }],
  });
  expect(referenceCount(machine, 'tcp')).toBe(0);
});

test("reports and states match the protocol's schemas", async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  const program = newIdentifier('program');
  await machine.start(program, { ...isWork, arguments: [endless] });
  await until(() => referenceCount(machine, 'tcp') === 1);
  for (const report of [await machine.load('tcp', '1.1.0', workModule(1)), await machine.load('tcp', '1.0.9', workModule(2))]) {
    expect(LoadReport.parse(report)).toEqual(report);
  }
  const state = machine.device.state();
  expect(DeviceState.parse(state)).toEqual(state);
});

test.each([
  ['1.0.0', '1.0.0', 'same'],
  ['1.0.0', '1.0.0+build.2', 'same'],
  ['1.0.0', '1.0.0-rc.1', 'older'],
  ['1.10.0', '1.9.9', 'older'],
  ['2.0.0', '1.99.99', 'older'],
])('with %s in memory, refuses %s as not newer and changes nothing', async (inMemory, offered, precedence) => {
  await machine.load('tcp', inMemory, workModule(0));
  const before = machine.device.state();
  const report = await machine.load('tcp', offered, workModule(1));
  expect(report).toMatchObject({ outcome: 'refused-not-newer', previous: { version: inMemory }, current: { version: inMemory } });
  expect(report.steps.find(({ step }) => step === 'compared')?.facts).toMatchObject({ precedence });
  expect(report.reason).toContain(offered);
  expect({ ...machine.device.state(), at: before.at }).toEqual(before);
});

test('refuses a version that lost an export as dissimilar and changes nothing', async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  const before = machine.device.state();
  const report = await machine.load('tcp', '2.0.0', '(module (func (export "other") (result i32) (i32.const 1)))');
  expect(report.outcome).toBe('refused-dissimilar');
  expect(report.steps.find(({ step }) => step === 'compared')?.facts).toMatchObject({
    similarity: { similar: false, added: ['other'], removed: ['work'], changed: [] },
  });
  expect({ ...machine.device.state(), at: before.at }).toEqual(before);
});

test('refuses a version that changed the type of an export as dissimilar', async () => {
  await machine.load('tcp', '1.0.0', workModule(0));
  const report = await machine.load('tcp', '2.0.0', '(module (func (export "work") (param i64) (result i32) (i32.const 1)))');
  expect(report).toMatchObject({ outcome: 'refused-dissimilar', reason: expect.stringContaining('changed the type of work') });
});

test('allows additional exports, and finds each export through the table', async () => {
  await machine.load('tcp', '1.0.0', '(module (func (export "b") (param i32) (result i32) (i32.const 2)))');
  const report = await machine.load(
    'tcp',
    '1.1.0',
    '(module (func (export "a") (param i32) (result i32) (i32.const 11)) (func (export "b") (param i32) (result i32) (i32.const 12)))',
  );
  expect(report).toMatchObject({ outcome: 'replaced', current: { pages: 1 } });
  for (const [name, result] of [
    ['a', '11'],
    ['b', '12'],
  ] as const) {
    await machine.start(name, { module: 'tcp', export: name, calls: 1 });
    await until(() => machine.statistics(name).state === 'finished');
    expect(machine.statistics(name).lastResult).toBe(result);
  }
});

test('fails a load when memory is full, and the old version keeps serving', async () => {
  const small = createTestMachine({ ramPages: 2, processor: machine.processor });
  await small.load('tcp', '1.1.0', workModule(2));
  await small.start('p', { ...isWork, arguments: ['5'] });
  const before = small.device.state().memoryMap;
  const report = await small.load('tcp', '1.2.0', workModule(3));
  expect(report).toMatchObject({ outcome: 'failed', reason: expect.stringContaining('out of memory'), current: { version: '1.1.0' } });
  expect(names(report)).toEqual(['received', 'looked-up', 'compared', 'linked', 'failed', 'completed']);
  expect(small.device.state().memoryMap).toEqual(before);
  const { callsCompleted } = small.statistics('p');
  await until(() => small.statistics('p').callsCompleted > callsCompleted + 100);
  expect(small.statistics('p')).toMatchObject({ callsFailed: 0, lastResult: '7' });
  await small.device.close();
});

test('runs loads on one device in order of arrival', async () => {
  const reports = await Promise.all(
    ['1.0.0', '1.1.0', '1.0.5', '1.2.0'].map((version, index) => machine.load('tcp', version, workModule(index))),
  );
  expect(reports.map(({ outcome }) => outcome)).toEqual(['installed', 'replaced', 'refused-not-newer', 'replaced']);
});

test('restores a module without comparing versions', async () => {
  await machine.load('tcp', '2.0.0', workModule(0));
  const report = await machine.device.restore(await moduleImage('tcp', '1.0.0', workModule(1)));
  expect(report).toMatchObject({ outcome: 'replaced', current: { version: '1.0.0' } });
});
