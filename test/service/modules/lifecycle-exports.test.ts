// Lifecycle exports at the push, over HTTP: exports of another type are rejected at their place, and versions that lose state are warned about.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Store } from '../../../src/service/database/store.ts';
import { describeStateLoss, type Stateful } from '../../../src/service/modules/state-loss.ts';
import { inTransaction } from '../records.ts';
import { TestService } from '../test-service.ts';

const service = new TestService();
let device = '';
beforeAll(async () => {
  await service.start();
  service.startHost('host', 1);
  [device = ''] = await service.connectedDevices(1);
});
afterAll(() => service.close());

const rejected = (message: string, place: object) => ({
  status: 422,
  body: { type: 'urn:patchbay:problem:unsupported-module', diagnostics: [{ severity: 'error', message, ...place }] },
});

describe('rejects a lifecycle export of another type, with its place and its fix', () => {
  const fix = 'loads call an export of this name; change its type, or rename it';

  test('in WAT', async () => {
    const source = '(module\n  (func (export "self_check") (param i32) (result i32) (local.get 0)))';
    const pushed = await service.push('typed', '1.0.0', source);
    const message = `self_check must be () → i32; it is (i32) → i32: ${fix}`;
    expect(pushed).toMatchObject(rejected(message, { file: 'typed.wat', line: 2, column: 9 }));
    expect(pushed.body).toMatchObject({ detail: `typed@1.0.0 was not built: ${message} (line 2, column 9)` });
  });

  test('in AssemblyScript', async () => {
    const source = '// Saves.\nexport function state_save(): i32 { return 1; }\nexport function after_load(n: i64): void {}';
    const save = `state_save must be () → (); it is () → i32: ${fix}`;
    const pushed = await service.push('typed', '1.0.0', source, 'assemblyscript');
    expect(pushed).toMatchObject({
      status: 422,
      body: {
        diagnostics: [
          { message: save, file: 'typed.ts', line: 2, column: 1 },
          { message: `after_load must be () → (); it is (i64) → (): ${fix}`, file: 'typed.ts', line: 3, column: 1 },
        ],
      },
    });
  });

  test('in a prebuilt module', async () => {
    // (module (func (export "before_unload") (param i32)))
    const name = 'before_unload';
    const bytes = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 0x60, 1, 0x7f, 0, 3, 2, 1, 0, 7, name.length + 4, 1, name.length];
    const source = new Uint8Array([...bytes, ...new TextEncoder().encode(name), 0, 0, 10, 4, 1, 2, 0, 0x0b]);
    const pushed = await service.request('POST', '/v1/modules/typed/builds?version=1.0.0', source, { 'content-type': 'application/wasm' });
    const message = `before_unload must be () → (); it is (i32) → (): ${fix} (function 0 of the prebuilt module)`;
    expect(pushed).toMatchObject(rejected(message, { file: null, line: null, column: null }));
  });
});

const save = '(func (export "state_save"))';
const restore = '(func (export "state_restore"))';
/** Counts its calls. */
const stateful = (fields = '') =>
  `(module (global $n (mut i32) (i32.const 0)) ${fields}
    (func (export "work") (result i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))`;
const stateless = '(module (func (export "work") (result i32) (i32.const 1)))';

/** Pushes a version. Returns the messages of its warnings. */
async function warningsOf(module: string, version: string, source: string): Promise<string[]> {
  const pushed = await service.push(module, version, source);
  if (pushed.body.warnings === undefined) throw new Error(JSON.stringify(pushed.body));
  return pushed.body.warnings.map(({ message }) => message);
}

const advice = 'export both to keep the state of later loads';

describe('the push of a version that loses state', () => {
  test('warns, and compares with the newest earlier version', async () => {
    expect(await warningsOf('losing', '1.0.0', stateful())).toEqual([]);
    expect(await warningsOf('losing', '2.0.0', stateful(`${save} ${restore}`))).toEqual([
      '2.0.0 starts with fresh state and loses that of 1.0.0: 1.0.0 does not export state_save',
    ]);
    expect(await warningsOf('losing', '2.1.0', stateful(`${save} ${restore}`))).toEqual([]);
    expect(await warningsOf('losing', '2.2.0', stateful())).toEqual([
      `2.2.0 starts with fresh state and loses that of 2.1.0: 2.2.0 does not export state_restore; ${advice}`,
    ]);
    expect(await warningsOf('losing', '1.0.1', stateful())).toEqual([
      `1.0.1 starts with fresh state and loses that of 1.0.0: 1.0.0 does not export state_save, and 1.0.1 does not export state_restore; ${advice}`,
    ]);
    expect(await warningsOf('losing', '3.0.0', stateless)).toEqual([]);
    expect(await warningsOf('losing', '4.0.0', stateful())).toEqual([]);
  });

  test('warns of a version that takes over state and does not pass it on', async () => {
    const warning = 'the module exports state_restore but not state_save: the next version will start with fresh state; export both';
    expect(await warningsOf('ending', '1.0.0', stateful(restore))).toEqual([warning]);
    expect(await warningsOf('beginning', '1.0.0', stateful(save))).toEqual([]);
    expect(await warningsOf('nothing', '1.0.0', stateless.replace('(module', `(module ${restore}`))).toEqual([]);
  });

  test('does not warn if it is unknown whether the earlier build has state', async () => {
    await warningsOf('unknown', '1.0.0', stateful());
    const store = await Store.open(service.database);
    await inTransaction(store, async ({ connection }) => {
      await connection.sql.updateTable('Build').set({ hasState: null }).where('module', '=', 'unknown').execute();
    });
    await store.close();
    expect(await warningsOf('unknown', '1.1.0', stateful())).toEqual([]);
  });

  test('the preview of a rollout warns of each device, and the load then succeeds', async () => {
    await warningsOf('counter', '1.0.0', stateful());
    const [warning] = await warningsOf('counter', '1.1.0', stateful());
    const preview = async (version: string) => {
      const { body } = await service.post('/v1/rollouts', { module: 'counter', version, devices: [device], dryRun: true });
      return 'items' in body ? body.items : body;
    };
    expect(await preview('1.0.0')).toMatchObject([{ forecast: 'would-install', warnings: [] }]);
    expect(await service.load('counter', '1.0.0', [device])).toMatchObject([{ outcome: 'installed' }]);
    expect(await preview('1.0.0').catch((error) => error)).toMatchObject({ type: 'urn:patchbay:problem:already-installed' });
    expect(await preview('1.1.0')).toMatchObject([{ forecast: 'would-replace', reason: null, warnings: [warning] }]);
    expect(await service.load('counter', '1.1.0', [device])).toMatchObject([{ outcome: 'replaced' }]);
  });
});

test('state is lost exactly if both versions have state and not both exports transfer it', () => {
  const build = (version: string) =>
    fc
      .record({ hasState: fc.constantFrom(true, false, null), saves: fc.boolean(), restores: fc.boolean(), isTyped: fc.boolean() })
      .map(({ hasState, saves, restores, isTyped }): Stateful & { readonly saves: boolean; readonly restores: boolean } => {
        const exported = (name: string) => ({ name, parameters: isTyped ? [] : ['i32'], results: [] });
        const exports = [...(saves ? [exported('state_save')] : []), ...(restores ? [exported('state_restore')] : [])];
        return { version, hasState, interface: { exports, imports: [] }, saves: saves && isTyped, restores: restores && isTyped };
      });
  fc.assert(
    fc.property(build('1.0.0'), build('1.1.0'), (old, next) => {
      const isLost = old.hasState === true && next.hasState === true && !(old.saves && next.restores);
      expect(describeStateLoss(old, next) !== null).toBe(isLost);
    }),
  );
});

test('the report of a load has the facts of its hooks', async () => {
  const hooks = '(func (export "before_unload")) (func (export "after_load") (unreachable))';
  await warningsOf('hooked', '1.0.0', stateless.replace('(module', `(module ${hooks}`));
  await warningsOf('hooked', '1.1.0', stateless.replace('(module', `(module ${hooks}`));
  await service.load('hooked', '1.0.0', [device]);
  const [load] = await service.load('hooked', '1.1.0', [device]);
  expect(load).toMatchObject({ outcome: 'replaced', reason: null });
  const { body } = await service.get(`/v1/loads/${load?.id ?? ''}`);
  expect('report' in body ? body.report?.steps : body).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ step: 'loaded', facts: expect.objectContaining({ beforeUnload: 'completed' }) }),
      expect.objectContaining({
        step: 'table-updated',
        facts: expect.objectContaining({ afterLoad: 'failed', afterLoadFailure: 'unreachable' }),
      }),
    ]),
  );
});
