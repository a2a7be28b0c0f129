// Rollbacks over HTTP: to the previous version, or to a named earlier version.

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { itemsOf, type LoadPolicy, TestService, until, workModule } from '../test-service.ts';
import type { RequestSchema } from '../typed-paths.ts';

const service = new TestService();
let north: string[];
let south = '';
beforeAll(async () => {
  await service.start();
  service.startHost('north', 2, { zone: 'north' });
  await service.connectedDevices(2);
  service.startHost('south', 1, { zone: 'south' });
  const devices = await service.connectedDevices(3);
  north = devices.slice(0, 2);
  south = devices[2] ?? '';
});
afterAll(() => service.close());

const reason = '1.1.0 drops packets';

/** Loads these versions one after another. */
async function install(module: string, devices: readonly string[], ...versions: string[]): Promise<void> {
  for (const version of versions) {
    await service.push(module, version, workModule(1));
    const loads = await service.load(module, version, devices);
    expect(loads.map(({ reason: why }) => why)).toEqual(loads.map(() => null));
  }
}

const rollBack = (
  device: string,
  module: string,
  body: Partial<RequestSchema<'ModuleRollback'>> = {},
  headers: Record<string, string> = {},
) => service.post(`/v1/devices/${device}/modules/${module}/rollback`, { reason, ...body }, headers);
const rollBackAll = (module: string, body: Partial<RequestSchema<'NewRollback'>>) =>
  service.post('/v1/rollbacks', { module, reason, ...body });

/** Returns the loads of a batch once all have outcomes. */
async function outcomesOf(batch: unknown): Promise<readonly Schemas['Load'][]> {
  return until('the loads have outcomes', async () => {
    const items = itemsOf(await service.get(`/v1/loads?batch=${batch}`));
    return items.length > 0 && items.every(({ state }) => state === 'completed') && items;
  });
}

const versionOn = async (device: string, module: string) =>
  itemsOf(await service.get(`/v1/devices/${device}/modules`)).find((residency) => residency.module === module)?.version;
const loadsOf = async (module: string) => itemsOf(await service.get(`/v1/loads?limit=200&module=${module}`)).length;

test('rolls a module back to the previous version, and then to the version before that', async () => {
  const [device = ''] = north;
  await install('twice', [device], '1.0.0', '1.1.0', '1.2.0');
  const first = await rollBack(device, 'twice', { invalidation: 'delete' });
  expect(first).toMatchObject({ status: 202, body: { loads: [{ device, version: '1.1.0' }] } });
  expect(first.headers.get('location')).toBe(`/v1/loads/${Object(first.body.loads)[0].id}`);
  expect(await outcomesOf(first.body.batch)).toMatchObject([
    {
      version: '1.1.0',
      outcome: 'replaced',
      rollback: true,
      versionPolicy: 'downgrade',
      downgradeReason: reason,
      invalidation: 'delete',
      similarityPolicy: 'warn',
    },
  ]);
  const [event] = itemsOf(await service.get(`/v1/audit?object=${first.body.batch}`));
  expect(event).toMatchObject({
    action: 'load.requested',
    detail: { module: 'twice', isRollback: true, versions: ['1.1.0'], downgradeReason: reason, devices: 1 },
  });
  await outcomesOf((await rollBack(device, 'twice')).body.batch);
  expect(await versionOn(device, 'twice')).toBe('1.0.0');
  const before = await loadsOf('twice');
  expect(await rollBack(device, 'twice')).toMatchObject({
    status: 409,
    body: {
      type: 'urn:patchbay:problem:nothing-to-roll-back',
      detail: expect.stringMatching(/^no previous version of twice among .* on north-1; no load was created\. Name a version/),
    },
  });
  expect(await loadsOf('twice')).toBe(before);
});

test('ignores a reverted swap', async () => {
  const [device = ''] = north;
  await install('inside', [device], '1.0.0', '1.1.0');
  const program = { module: 'inside', export: 'work', arguments: [2_000_000_000] };
  const started = await service.post(`/v1/devices/${device}/programs`, program);
  await until('a thread is inside', async () =>
    JSON.stringify((await service.get(`/v1/devices/${device}`)).body).includes('"referenceCount":1'),
  );
  await service.push('inside', '1.2.0', workModule(1));
  const drain: LoadPolicy = { strategy: 'drain', drainMilliseconds: 20 };
  expect(await service.load('inside', '1.2.0', [device], drain)).toMatchObject([{ outcome: 'failed' }]);
  expect(await rollBack(device, 'inside', { to: '1.2.0' })).toMatchObject({
    status: 409,
    body: { detail: expect.stringContaining('inside@1.2.0 was never installed') },
  });
  const { body } = await rollBack(device, 'inside');
  expect(await outcomesOf(body.batch)).toMatchObject([{ version: '1.0.0', outcome: 'replaced-interrupting' }]);
  await service.post(`${started.headers.get('location')}/stop`, undefined);
});

test('rolls a module back to a named version, and forward again', async () => {
  const [device = ''] = north;
  await install('named', [device], '1.0.0', '1.1.0', '1.2.0');
  await outcomesOf((await rollBack(device, 'named', { to: '1.0.0' })).body.batch);
  expect(await versionOn(device, 'named')).toBe('1.0.0');
  expect(await rollBack(device, 'named', { to: '1.0.0' })).toMatchObject({
    status: 409,
    body: { type: 'urn:patchbay:problem:already-installed', detail: expect.stringContaining('already runs named@1.0.0') },
  });
  await outcomesOf((await rollBack(device, 'named', { to: '1.2.0' })).body.batch);
  expect(await versionOn(device, 'named')).toBe('1.2.0');
  // The previous version is 1.0.0, the target of the first rollback.
  await outcomesOf((await rollBack(device, 'named')).body.batch);
  expect(await versionOn(device, 'named')).toBe('1.0.0');
});

test('loads an older version without an export, unless similarity is required', async () => {
  const [device = ''] = north;
  await install('fewer', [device], '1.0.0');
  const more = workModule(1).replace('(module', '(module (func (export "more") (result i32) (i32.const 1))');
  await service.push('fewer', '1.1.0', more);
  await service.load('fewer', '1.1.0', [device]);
  const strict = await rollBack(device, 'fewer', { similarityPolicy: 'require' });
  expect(await outcomesOf(strict.body.batch)).toMatchObject([{ outcome: 'refused-dissimilar' }]);
  expect(await outcomesOf((await rollBack(device, 'fewer')).body.batch)).toMatchObject([{ version: '1.0.0', outcome: 'replaced' }]);
});

test('rolls each selected device back to its own previous version; devices without one reject the request or are skipped', async () => {
  const [north1 = '', north2 = ''] = north;
  await install('fleet', [north1], '1.0.0', '1.2.0');
  await install('fleet', [north2], '1.1.0', '1.2.0');
  await install('fleet', [south], '1.2.0');
  const before = await loadsOf('fleet');
  const all = { devices: [north1, north2, south] };
  expect(await rollBackAll('fleet', all)).toMatchObject({
    status: 409,
    body: {
      type: 'urn:patchbay:problem:nothing-to-roll-back',
      detail: expect.stringMatching(/^no previous version of fleet .* on south-1;/),
    },
  });
  expect(await loadsOf('fleet')).toBe(before);
  const skipping = await rollBackAll('fleet', { ...all, to: '1.0.0', onMissingVersion: 'skip' });
  expect(skipping).toMatchObject({ status: 202, body: { loads: [{ device: north1, version: '1.0.0' }], unchanged: [] } });
  expect(skipping.body.skipped).toEqual([north2, south]);
  await outcomesOf(skipping.body.batch);
  await install('fleet', [north1], '1.2.0');

  const response = await rollBackAll('fleet', { labels: { zone: 'north' } });
  expect(response.headers.get('location')).toBe(`/v1/load-batches/${response.body.batch}`);
  const loads = await outcomesOf(response.body.batch);
  expect(new Map(loads.map(({ device, version }) => [device, version]))).toEqual(
    new Map([
      [north1, '1.0.0'],
      [north2, '1.1.0'],
    ]),
  );
  const [event] = itemsOf(await service.get(`/v1/audit?object=${response.body.batch}`));
  expect(event?.detail).toMatchObject({ versions: expect.arrayContaining(['1.0.0', '1.1.0']), labels: { zone: 'north' }, devices: 2 });
  // One of the devices already has the version.
  await install('fleet', [north1], '1.1.0');
  await install('fleet', [north2], '1.2.0');
  const mixed = await rollBackAll('fleet', { labels: { zone: 'north' }, to: '1.1.0' });
  expect(mixed.body).toMatchObject({ loads: [{ device: north2, version: '1.1.0' }], unchanged: [north1], skipped: [] });
  await outcomesOf(mixed.body.batch);
  expect(await rollBackAll('fleet', { labels: { zone: 'north' }, to: '1.1.0' })).toMatchObject({
    status: 409,
    body: { type: 'urn:patchbay:problem:already-installed' },
  });
});

test('executes a repeated request with the same idempotency key once', async () => {
  const [device = ''] = north;
  await install('once', [device], '1.0.0', '1.1.0', '1.2.0');
  const key = { 'idempotency-key': 'rollback-once' };
  const [first, again] = [await rollBack(device, 'once', {}, key), await rollBack(device, 'once', {}, key)];
  await outcomesOf(first.body.batch);
  const later = await rollBack(device, 'once', {}, key);
  for (const response of [again, later]) {
    expect(response).toMatchObject({ status: 202, body: first.body });
    expect(response.headers.get('idempotency-replayed')).toBe('true');
    expect(response.headers.get('location')).toBe(first.headers.get('location'));
  }
  expect(await versionOn(device, 'once')).toBe('1.1.0');
});

test.each<[string, object, string]>([
  ['no reason', { reason: undefined }, '/reason'],
  ['an empty reason', { reason: '' }, '/reason'],
  ['a drain time without draining', { drainMilliseconds: 5 }, '/drainMilliseconds'],
  ['a version policy', { versionPolicy: 'newer' }, '/versionPolicy'],
])('rejects a rollback with %s', async (_title, body, pointer) => {
  for (const response of [
    await service.postRaw(`/v1/devices/${south}/modules/tcp/rollback`, { reason, ...body }),
    await service.postRaw('/v1/rollbacks', { module: 'tcp', devices: [south], reason, ...body }),
  ])
    expect(response).toMatchObject({ status: 422, body: { errors: [expect.objectContaining({ in: 'body', pointer })] } });
});

test('rejects a rollback of an unknown device, module or version', async () => {
  const unknown = 'dev_00000000000000000000000000000000';
  expect((await rollBack(unknown, 'tcp')).status).toBe(404);
  expect(await rollBack(south, 'never-loaded')).toMatchObject({ status: 409 });
  expect(await rollBack(south, 'fleet', { to: '9.9.9' })).toMatchObject({
    status: 409,
    body: { detail: expect.stringMatching(/^fleet@9\.9\.9 was never installed on south-1; no load was created\. See/) },
  });
  expect(await rollBackAll('fleet', { devices: [south, unknown] })).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/devices/1' }] },
  });
  expect(await rollBackAll('fleet', { labels: { zone: 'west' } })).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/labels' }] },
  });
  expect(await rollBackAll('fleet', { devices: [south], labels: { zone: 'north' } })).toMatchObject({ status: 422 });
});
