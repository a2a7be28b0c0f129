// Rollbacks over HTTP: devices go back to the version before, or to one that they had, by ordinary loads.

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { itemsOf, type LoadPolicy, TestService, until, workModule } from '../test-service.ts';
import type { Sent } from '../typed-paths.ts';

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
async function had(module: string, devices: readonly string[], ...versions: string[]): Promise<void> {
  for (const version of versions) {
    await service.push(module, version, workModule(1));
    const loads = await service.load(module, version, devices);
    expect(loads.map(({ reason: why }) => why)).toEqual(loads.map(() => null));
  }
}

const rollBack = (device: string, module: string, body: Partial<Sent<'ModuleRollback'>> = {}, headers: Record<string, string> = {}) =>
  service.post(`/v1/devices/${device}/modules/${module}/rollback`, { reason, ...body }, headers);
const rollBackAll = (module: string, body: Partial<Sent<'NewRollback'>>) => service.post('/v1/rollbacks', { module, reason, ...body });

/** The loads of a batch, once all have their outcomes. */
async function outcomesOf(batch: unknown): Promise<readonly Schemas['Load'][]> {
  return until('the loads have outcomes', async () => {
    const items = itemsOf(await service.get(`/v1/loads?batch=${batch}`));
    return items.length > 0 && items.every(({ state }) => state === 'completed') && items;
  });
}

const versionOn = async (device: string, module: string) =>
  itemsOf(await service.get(`/v1/devices/${device}/modules`)).find((stay) => stay.module === module)?.version;
const loadsOf = async (module: string) => itemsOf(await service.get(`/v1/loads?limit=200&module=${module}`)).length;

test('a module goes back to the version before, and once more to the one before that', async () => {
  const [device = ''] = north;
  await had('twice', [device], '1.0.0', '1.1.0', '1.2.0');
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
      detail: expect.stringMatching(/^north-1 have no version of twice before .*; nothing was loaded anywhere\. Name one with "to"/),
    },
  });
  expect(await loadsOf('twice')).toBe(before);
});

test('a version that is put back counts once, and one that was withdrawn not at all', async () => {
  const [device = ''] = north;
  await had('inside', [device], '1.0.0', '1.1.0');
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
    body: { detail: expect.stringContaining('not had inside@1.2.0') },
  });
  const { body } = await rollBack(device, 'inside');
  expect(await outcomesOf(body.batch)).toMatchObject([{ version: '1.0.0', outcome: 'replaced-interrupting' }]);
  await service.post(`${started.headers.get('location')}/stop`, undefined);
});

test('a module goes back to a version that is named, and forward again', async () => {
  const [device = ''] = north;
  await had('named', [device], '1.0.0', '1.1.0', '1.2.0');
  await outcomesOf((await rollBack(device, 'named', { to: '1.0.0' })).body.batch);
  expect(await versionOn(device, 'named')).toBe('1.0.0');
  expect(await rollBack(device, 'named', { to: '1.0.0' })).toMatchObject({
    status: 409,
    body: { type: 'urn:patchbay:problem:already-installed', detail: expect.stringContaining('every device has named@1.0.0') },
  });
  await outcomesOf((await rollBack(device, 'named', { to: '1.2.0' })).body.batch);
  expect(await versionOn(device, 'named')).toBe('1.2.0');
  // Before that it had 1.0.0, to which it had gone back.
  await outcomesOf((await rollBack(device, 'named')).body.batch);
  expect(await versionOn(device, 'named')).toBe('1.0.0');
});

test('an older version that lacks an export is not refused, unless similarity is asked for', async () => {
  const [device = ''] = north;
  await had('fewer', [device], '1.0.0');
  const more = workModule(1).replace('(module', '(module (func (export "more") (result i32) (i32.const 1))');
  await service.push('fewer', '1.1.0', more);
  await service.load('fewer', '1.1.0', [device]);
  const strict = await rollBack(device, 'fewer', { similarityPolicy: 'require' });
  expect(await outcomesOf(strict.body.batch)).toMatchObject([{ outcome: 'refused-dissimilar' }]);
  expect(await outcomesOf((await rollBack(device, 'fewer')).body.batch)).toMatchObject([{ version: '1.0.0', outcome: 'replaced' }]);
});

test('devices with labels go back, each to its own version before; those that have none stop all of them, or are skipped', async () => {
  const [north1 = '', north2 = ''] = north;
  await had('fleet', [north1], '1.0.0', '1.2.0');
  await had('fleet', [north2], '1.1.0', '1.2.0');
  await had('fleet', [south], '1.2.0');
  const before = await loadsOf('fleet');
  const all = { devices: [north1, north2, south] };
  expect(await rollBackAll('fleet', all)).toMatchObject({
    status: 409,
    body: { type: 'urn:patchbay:problem:nothing-to-roll-back', detail: expect.stringMatching(/^south-1 have no version/) },
  });
  expect(await loadsOf('fleet')).toBe(before);
  const skipping = await rollBackAll('fleet', { ...all, to: '1.0.0', onMissingVersion: 'skip' });
  expect(skipping).toMatchObject({ status: 202, body: { loads: [{ device: north1, version: '1.0.0' }], unchanged: [] } });
  expect(skipping.body.skipped).toEqual([north2, south]);
  await outcomesOf(skipping.body.batch);
  await had('fleet', [north1], '1.2.0');

  const answer = await rollBackAll('fleet', { labels: { zone: 'north' } });
  expect(answer.headers.get('location')).toBe(`/v1/loads?batch=${answer.body.batch}`);
  const loads = await outcomesOf(answer.body.batch);
  expect(new Map(loads.map(({ device, version }) => [device, version]))).toEqual(
    new Map([
      [north1, '1.0.0'],
      [north2, '1.1.0'],
    ]),
  );
  const [event] = itemsOf(await service.get(`/v1/audit?object=${answer.body.batch}`));
  expect(event?.detail).toMatchObject({ versions: expect.arrayContaining(['1.0.0', '1.1.0']), labels: { zone: 'north' }, devices: 2 });
  // One of them has it already.
  await had('fleet', [north1], '1.1.0');
  await had('fleet', [north2], '1.2.0');
  const mixed = await rollBackAll('fleet', { labels: { zone: 'north' }, to: '1.1.0' });
  expect(mixed.body).toMatchObject({ loads: [{ device: north2, version: '1.1.0' }], unchanged: [north1], skipped: [] });
  await outcomesOf(mixed.body.batch);
  expect(await rollBackAll('fleet', { labels: { zone: 'north' }, to: '1.1.0' })).toMatchObject({
    status: 409,
    body: { type: 'urn:patchbay:problem:already-installed' },
  });
});

test('a rollback that is repeated with its key is done once', async () => {
  const [device = ''] = north;
  await had('once', [device], '1.0.0', '1.1.0', '1.2.0');
  const key = { 'idempotency-key': 'rollback-once' };
  const [first, again] = [await rollBack(device, 'once', {}, key), await rollBack(device, 'once', {}, key)];
  await outcomesOf(first.body.batch);
  const later = await rollBack(device, 'once', {}, key);
  for (const answer of [again, later]) {
    expect(answer).toMatchObject({ status: 202, body: first.body });
    expect(answer.headers.get('idempotency-replayed')).toBe('true');
    expect(answer.headers.get('location')).toBe(first.headers.get('location'));
  }
  expect(await versionOn(device, 'once')).toBe('1.1.0');
});

test.each<[string, object, string]>([
  ['no reason', { reason: undefined }, '/reason'],
  ['an empty reason', { reason: '' }, '/reason'],
  ['a drain that does not drain', { drainMilliseconds: 5 }, '/drainMilliseconds'],
  ['a version policy', { versionPolicy: 'newer' }, '/versionPolicy'],
])('a rollback with %s is refused', async (_what, body, pointer) => {
  for (const answer of [
    await service.postRaw(`/v1/devices/${south}/modules/tcp/rollback`, { reason, ...body }),
    await service.postRaw('/v1/rollbacks', { module: 'tcp', devices: [south], reason, ...body }),
  ])
    expect(answer).toMatchObject({ status: 422, body: { errors: [expect.objectContaining({ in: 'body', pointer })] } });
});

test('a rollback of an unknown device, module or version is refused', async () => {
  const nobody = 'dev_00000000000000000000000000000000';
  expect((await rollBack(nobody, 'tcp')).status).toBe(404);
  expect(await rollBack(south, 'never-loaded')).toMatchObject({ status: 409 });
  expect(await rollBack(south, 'fleet', { to: '9.9.9' })).toMatchObject({
    status: 409,
    body: { detail: expect.stringMatching(/^south-1 have not had fleet@9\.9\.9 in memory; nothing was loaded anywhere\. GET/) },
  });
  expect(await rollBackAll('fleet', { devices: [south, nobody] })).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/devices/1' }] },
  });
  expect(await rollBackAll('fleet', { labels: { zone: 'west' } })).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/labels' }] },
  });
  expect(await rollBackAll('fleet', { devices: [south], labels: { zone: 'north' } })).toMatchObject({ status: 422 });
});
