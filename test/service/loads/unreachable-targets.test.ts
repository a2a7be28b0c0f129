// Dry runs of loads, and what loads and rollouts do with the devices of a host that has stopped.

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestResponse } from '../test-service.ts';
import { firstOf, itemsOf, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
const fleet = { fleet: 'field' };
let up: string[] = [];
let down: string[] = [];

/** Two devices on a running host, and 22 on one that has stopped. */
beforeAll(async () => {
  service.unreachableAfter = 2_000;
  await service.start();
  service.startHost('up', 2, fleet);
  const stop = service.startHost('down', 22, fleet);
  const all = await service.connectedDevices(24);
  [down, up] = [all.slice(0, 22), all.slice(22)];
  for (const module of ['tcp', 'udp'])
    for (const version of ['1.0.0', '1.1.0']) expect((await service.push(module, version, workModule(1))).status).toBe(201);
  await stop();
  await until('the host is unreachable', async () => (await service.get('/v1/health')).body.hosts?.unreachable === 1);
});
afterAll(() => service.close());

const load = (more: object, headers?: Record<string, string>) =>
  service.postRaw('/v1/loads', { module: 'tcp', version: '1.0.0', labels: fleet, ...more }, headers);
const rollout = (more: object) =>
  service.postRaw('/v1/rollouts', {
    module: 'udp',
    version: '1.0.0',
    labels: fleet,
    soakSeconds: 0,
    waves: [{ upToPercent: 100 }],
    ...more,
  });
const loads = async () => itemsOf(await service.get('/v1/loads?limit=200'));
const detailOf = async (action: string, object: unknown) =>
  itemsOf(await service.get('/v1/audit?limit=200')).find((event) => event.action === action && event.object === object)?.detail;
const allUnreachable = { status: 409, body: { type: 'urn:patchbay:problem:all-unreachable' } };

/** The first 20 devices of the stopped host. */
const named = (body: TestResponse['body']) => {
  expect(body).toMatchObject({ unreachableDevices: { devices: expect.any(Array) } });
  const { devices } = Object(body['unreachableDevices']);
  expect(devices).toHaveLength(20);
  for (const { id, name } of devices) expect([down.includes(id), name.startsWith('down-')]).toEqual([true, true]);
};

test('a dry run of loads forecasts each device, and stores neither loads nor its idempotency key', async () => {
  const headers = { 'Idempotency-Key': 'preview first' };
  const preview = await load({ dryRun: true }, headers);
  expect(preview).toMatchObject({
    status: 200,
    body: { devices: 24, alreadyInstalled: 0, unreachable: 22, skipped: 0, refused: 0 },
  });
  const items = itemsOf(preview);
  expect(items.filter(({ reachable }) => reachable).map(({ device }) => device)).toEqual(expect.arrayContaining(up));
  expect(items.map(({ forecast }) => forecast)).toEqual(Array(24).fill('would-install'));
  expect(items.find(({ device }) => device === down[0])).toMatchObject({ deviceName: 'down-1', reachable: false, skipped: false });
  const skipping = await load({ dryRun: true, unreachable: 'skip' });
  expect(skipping.body).toMatchObject({ unreachable: 22, skipped: 22 });
  expect(itemsOf(skipping).find(({ device }) => device === down[0])).toMatchObject({ skipped: true });
  expect(await loads()).toEqual([]);
  expect((await load({ devices: [up[0]], labels: undefined }, headers)).status).toBe(202);
  await until('the load has ended', async () => firstOf(await service.get('/v1/loads')).outcome === 'installed');
  expect((await load({ dryRun: true })).body).toMatchObject({ alreadyInstalled: 1 });
  expect((await load({ dryRun: true, version: '7.0.0' })).body).toMatchObject({ type: 'urn:patchbay:problem:invalid-value' });
});

test('loads skip unreachable devices on request, and say which; by default they wait', async () => {
  const skipping = await load({ version: '1.1.0', unreachable: 'skip' });
  expect(skipping).toMatchObject({ status: 202, body: { unreachableDevices: { count: 22, skipped: 22 } } });
  named(skipping.body);
  const batch = String(skipping.body['batch']);
  expect(itemsOf(await service.get(`/v1/loads?batch=${batch}`)).map(({ device }) => device)).toEqual(expect.arrayContaining(up));
  expect((await service.get(`/v1/load-batches/${batch}`)).body).toMatchObject({ loads: 2, unreachableDevices: { count: 22, skipped: 22 } });
  expect(await detailOf('load.requested', batch)).toMatchObject({ devices: 2, unreachable: 'skip', skipped: 22 });
  await until('both loads have ended', async () =>
    itemsOf(await service.get(`/v1/loads?batch=${batch}`)).every(({ state }) => state === 'completed'),
  );

  const waiting = await load({ version: '1.1.0', labels: undefined, devices: [up[0], ...down.slice(0, 21)] });
  expect(waiting.body).toMatchObject({ unreachableDevices: { count: 21, skipped: 0 } });
  named(waiting.body);
  const queued = `/v1/loads?batch=${waiting.body['batch']}&state=queued` as const;
  await until('the other load has ended', async () => itemsOf(await service.get(queued)).length === 21);
  expect(Object.keys(Object(await detailOf('load.requested', waiting.body['batch'])))).not.toContain('skipped');
  await service.post(`/v1/load-batches/${waiting.body['batch']}/cancel`, undefined);

  // A request for several devices that leaves one load is a batch too, which says what it skipped.
  const one = await load({ version: '1.1.0', labels: undefined, devices: [up[0], down[0]], unreachable: 'skip' });
  expect(one.headers.get('location')).toBe(`/v1/loads/${firstOf(await service.get(`/v1/loads?batch=${one.body['batch']}`)).id}`);
  expect((await service.get(`/v1/load-batches/${one.body['batch']}`)).body).toMatchObject({ loads: 1, unreachableDevices: { skipped: 1 } });
  const reachable = await load({ version: '1.1.0', labels: undefined, devices: up, unreachable: 'skip' });
  expect(reachable.body).toMatchObject({ unreachableDevices: { count: 0, skipped: 0, devices: [] } });
});

test('a request that would skip every device is refused, and says what to do', async () => {
  const before = (await loads()).length;
  for (const dryRun of [false, true]) {
    const refused = await load({ labels: undefined, devices: down.slice(0, 2), unreachable: 'skip', dryRun });
    expect(refused).toMatchObject(allUnreachable);
    expect(refused.body['detail']).toBe(
      'all 2 devices to load are unreachable, and the request skips unreachable devices. Start their hosts, or use "unreachable": "wait" to load when they connect',
    );
    expect(await rollout({ labels: undefined, devices: down.slice(0, 1), unreachable: 'skip', dryRun })).toMatchObject(allUnreachable);
  }
  expect((await loads()).length).toBe(before);
  expect(itemsOf(await service.get('/v1/rollouts'))).toEqual([]);
});

test('a rollout skips unreachable devices on request, and completes without them', async () => {
  const body = { unreachable: 'skip' };
  const preview = await rollout({ ...body, dryRun: true });
  expect(preview.body).toMatchObject({ devices: 24, unreachable: 22, skipped: 22, alreadyInstalled: 0, waves: [{ devices: 2 }] });
  expect(itemsOf(preview).find(({ device }) => device === down[0])).toMatchObject({ wave: null, reachable: false });
  const created = await rollout(body);
  expect(created).toMatchObject({ status: 202, body: { unreachableDevices: { count: 22, skipped: 22 } } });
  const path = `/v1/rollouts/${created.body['id']}` as const;
  await until('the rollout has completed', async () => (await service.get(path)).body.state === 'completed');
  const { body: ended } = await service.get(path);
  expect(ended).toMatchObject({ deviceCounts: { loaded: 2, waiting: 0, skipped: 0 } });
  named(Object(ended));
  expect(await detailOf('rollout.requested', created.body['id'])).toMatchObject({ devices: 2, unreachable: 'skip', skipped: 22 });

  const waiting = await rollout({ version: '1.1.0' });
  expect(waiting.body).toMatchObject({ unreachableDevices: { count: 22, skipped: 0 } });
  await service.post(`/v1/rollouts/${waiting.body['id']}/abort`, {});
  expect(await rollout({ ...body, dynamic: true })).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/unreachable', detail: expect.stringContaining('would join later') }] },
  });
});
