// Hooks of a load: the order of the lifecycle exports, what a failure of each does, and which of them a restore and an older image have.

import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import type { LoadOptions } from '../../../src/machine/device.ts';
import { alter } from '../forged-images.ts';
import { readVerified } from '../read-verified.ts';
import { compiler, createTestMachine, moduleImage, quickModule, type TestMachine, until } from '../test-machine.ts';

let machine: TestMachine;
beforeEach(() => {
  machine = createTestMachine();
});
afterEach(() => machine.close());
afterAll(() => compiler.close());

const load = async (version: string, wat: string, options: Omit<LoadOptions, 'image'> = {}) =>
  machine.device.load({ image: await moduleImage('tcp', version, wat), similarityPolicy: 'off', ...options });
const factsOf = (report: { steps: { step: string; facts: unknown }[] }, name: string) =>
  report.steps.find(({ step }) => step === name)?.facts;
const entryOf = (module: string) => machine.device.state().moduleTable.find((entry) => entry.module === module);

/** `note(n)` appends a digit to a number, which `read` returns. */
const journal = `
  (module
    (global $noted (mut i32) (i32.const 0))
    (func (export "note") (param i32) (global.set $noted (i32.add (i32.mul (global.get $noted) (i32.const 10)) (local.get 0))))
    (func (export "work") (param i32) (result i32) (global.get $noted)))`;

/** Notes each call of a lifecycle export in the module `journal`. */
const noting = `
  (module
    (import "journal" "note" (func $note (param i32)))
    (func (export "self_check") (result i32) (call $note (i32.const 1)) (i32.const 0))
    (func (export "before_unload") (call $note (i32.const 2)))
    (func (export "state_save") (call $note (i32.const 3)))
    (func (export "state_restore") (call $note (i32.const 4)))
    (func (export "after_load") (call $note (i32.const 5)))
    (func (export "work") (param i32) (result i32) (i32.const 1)))`;

/** Returns the digits that the journal has noted. */
async function readJournal(): Promise<string | null> {
  const program = `reader-${machine.device.state().programs.length}`;
  await machine.start(program, { module: 'journal', calls: 1 });
  await until(() => machine.statistics(program).state === 'finished');
  return machine.statistics(program).lastResult;
}

/** A module with a hook; `work(n)` returns n. */
const withHook = (name: string, body: string, hasState = true) => `
  (module
    (import "kernel" "emit" (func $emit (param i32 i64)))
    (import "kernel" "sleep" (func $sleep (param i32)))
    ${hasState ? '(memory 1)' : ''}
    (func (export "${name}") ${body})
    (func (export "work") (param $n i32) (result i32)
      ${hasState ? '(i32.store (i32.const 0) (local.get $n))' : ''} (call $emit (i32.const 1) (i64.const 1)) (local.get $n)))`;

test('runs self_check, before_unload, state_save, state_restore and after_load in this order', async () => {
  await machine.load('journal', '1.0.0', journal);
  const installed = await load('1.0.0', noting);
  expect(await readJournal()).toBe('15');
  expect(factsOf(installed, 'loaded')).toMatchObject({ selfCheck: 'passed', beforeUnload: 'none' });
  expect(factsOf(installed, 'table-updated')).toMatchObject({ afterLoad: 'completed', afterLoadFailure: null });
  const replaced = await load('1.1.0', noting);
  expect(await readJournal()).toBe('1512345');
  expect(factsOf(replaced, 'loaded')).toMatchObject({ selfCheck: 'passed', beforeUnload: 'completed', stateWords: 0 });
  expect(factsOf(replaced, 'table-updated')).toMatchObject({ afterLoad: 'completed' });
});

test('runs only the self-check when a module is restored', async () => {
  await machine.load('journal', '1.0.0', journal);
  const report = await machine.device.restore(await moduleImage('tcp', '1.0.0', noting));
  expect(report).toMatchObject({ outcome: 'installed' });
  expect(factsOf(report, 'table-updated')).toMatchObject({ afterLoad: 'none' });
  expect(await readJournal()).toBe('1');
});

test('does not disturb the old version if the new one fails its self-check', async () => {
  await machine.load('journal', '1.0.0', journal);
  await load('1.0.0', noting);
  const broken = noting.replace('(i32.const 0))', '(i32.const 7))');
  expect(await load('1.1.0', broken)).toMatchObject({ outcome: 'failed', reason: 'tcp@1.1.0: its self-check returned 7, expected 0' });
  expect(await readJournal()).toBe('151');
});

test.each([
  ['traps', '(unreachable)', 'unreachable'],
  ['does not end', '(loop $next (br $next))', 'it ran longer than 100 ms'],
  ['sleeps', '(call $sleep (i32.const 1))', 'cannot be suspended'],
])('fails the load and changes nothing if before_unload %s', async (_what, body, reason) => {
  await load('1.0.0', withHook('before_unload', body));
  const before = machine.device.state();
  const report = await load('1.1.0', quickModule(2));
  expect(report).toMatchObject({
    outcome: 'failed',
    reason: expect.stringMatching(new RegExp(`^tcp@1\\.1\\.0: before_unload of 1\\.0\\.0 failed: .*${reason}`)),
    previous: { version: '1.0.0', tainted: { reason: 'trap', accesses: 1 } },
    current: { version: '1.0.0' },
  });
  expect(factsOf(report, 'failed')).toMatchObject({ during: 'loaded' });
  const after = machine.device.state();
  expect(after.memoryMap).toEqual(before.memoryMap);
  expect(after.moduleTable).toEqual(before.moduleTable.map((entry) => ({ ...entry, tainted: expect.anything() })));
  await machine.start('p', { module: 'tcp', arguments: ['7'], calls: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 1, lastResult: '7', versions: [{ version: '1.0.0' }] });
});

test('does not taint a version without state whose before_unload traps', async () => {
  await load('1.0.0', withHook('before_unload', '(unreachable)', false));
  expect(await load('1.1.0', quickModule(2))).toMatchObject({ outcome: 'failed', previous: { tainted: null } });
});

test('saves the state that before_unload leaves', async () => {
  const stateful = `
    (module
      (import "kernel" "state_write" (func $write (param i64)))
      (import "kernel" "state_read" (func $read (result i64)))
      (global $state (mut i64) (i64.const 1))
      (func (export "before_unload") (global.set $state (i64.const 42)))
      (func (export "state_save") (call $write (global.get $state)))
      (func (export "state_restore") (global.set $state (call $read)))
      (func (export "work") (param i32) (result i32) (i32.wrap_i64 (global.get $state))))`;
  await load('1.0.0', stateful);
  expect(factsOf(await load('1.1.0', stateful), 'loaded')).toMatchObject({ beforeUnload: 'completed', stateWords: 1 });
  await machine.start('p', { module: 'tcp', calls: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p').lastResult).toBe('42');
});

test.each([
  ['traps', '(unreachable)', 'unreachable'],
  ['does not end', '(loop $next (br $next))', 'it ran longer than 100 ms'],
  ['sleeps', '(call $sleep (i32.const 1))', 'cannot be suspended'],
])('keeps the new version, reports the failure and taints it if after_load %s', async (_what, body, reason) => {
  await load('1.0.0', quickModule(1));
  const report = await load('1.1.0', withHook('after_load', body));
  expect(report).toMatchObject({
    outcome: 'replaced',
    reason: null,
    current: { version: '1.1.0', tainted: { reason: 'trap', accesses: 1 } },
  });
  expect(factsOf(report, 'table-updated')).toMatchObject({ afterLoad: 'failed', afterLoadFailure: expect.stringContaining(reason) });
  expect(entryOf('tcp')).toMatchObject({ version: '1.1.0', referenceCount: 0 });
  await machine.start('p', { module: 'tcp', arguments: ['7'], calls: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p')).toMatchObject({ callsCompleted: 1, lastResult: '7' });
});

test('does not taint a version without state whose after_load traps', async () => {
  const report = await load('1.0.0', withHook('after_load', '(unreachable)', false));
  expect(report).toMatchObject({ outcome: 'installed', current: { tainted: null } });
  expect(factsOf(report, 'table-updated')).toMatchObject({ afterLoad: 'failed' });
});

test('reports a version without hooks as such, and drops the effects of hooks', async () => {
  const emit = '(call $emit (i32.const 1) (i64.const 1))';
  await load('1.0.0', withHook('before_unload', emit));
  const report = await load('1.1.0', withHook('after_load', emit));
  expect(factsOf(report, 'loaded')).toMatchObject({ beforeUnload: 'completed' });
  const last = await load('1.2.0', quickModule(1));
  expect(factsOf(last, 'loaded')).toMatchObject({ beforeUnload: 'none' });
  expect(factsOf(last, 'table-updated')).toMatchObject({ afterLoad: 'none', afterLoadFailure: null });
  expect(machine.effects).toEqual([]);
});

/** Returns the image of a module under which an earlier compiler did not reserve `name`: compiled with a placeholder, then renamed. */
async function olderImage(version: string, name: string, wat: (name: string) => string) {
  const placeholder = name.replace(/.$/, 'x');
  const result = await compiler.compileModule({ module: 'tcp', version, language: 'wat', source: wat(placeholder) });
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  const bytes = (text: string) => new TextEncoder().encode(text);
  // In the export section and in the interface of the stamp.
  return alter(result.compiled.image, [
    [bytes(placeholder), bytes(name)],
    [bytes(placeholder), bytes(name)],
  ]);
}

test.each([
  ['after_load', '(param i32) (result i32)'],
  ['before_unload', '(param i64)'],
  ['after_load', ''],
  ['before_unload', ''],
])('loads and replaces an older image that exports %s %s for its own purpose, without calling it', async (name, type) => {
  const { bytes, digest } = await olderImage(
    '1.0.0',
    name,
    (exported) => `(module (memory 1)
      (func (export "${exported}") ${type} (unreachable)) (func (export "work") (param i32) (result i32) (i32.load (local.get 0))))`,
  );
  const image = readVerified(bytes, digest);
  const installed = await machine.device.load({ image });
  expect(installed).toMatchObject({ outcome: 'installed', current: { tainted: null } });
  expect(factsOf(installed, 'table-updated')).toMatchObject({ afterLoad: 'none' });
  const replaced = await load('1.1.0', quickModule(1));
  expect(replaced).toMatchObject({ outcome: 'replaced', previous: { tainted: null } });
  expect(factsOf(replaced, 'loaded')).toMatchObject({ beforeUnload: 'none' });
});

test.each([
  ['self_check', '(param i64) (result i32) (i32.const 0)', 'self_check must be () → i32; it is (i64) → i32'],
  ['state_save', '(result i32 i32) (i32.const 0) (i32.const 0)', 'state_save must be () → (); it is () → (i32, i32)'],
  ['state_restore', '(param i64)', 'state_restore must be () → (); it is (i64) → ()'],
])('refuses an older image that exports %s with another type', async (name, type, reason) => {
  const { bytes, digest } = await olderImage('1.0.0', name, (exported) => `(module (func (export "${exported}") ${type}))`);
  expect(() => readVerified(bytes, digest)).toThrow(reason);
});
