// Renamed devices and hosts remain the same; decommissioned ones leave the fleet, and their names are free.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runSql, timeInSql } from '../../databases.ts';
import { Agent, attached, loaded } from '../agents/agent.ts';
import { bearer, firstOf, itemsOf, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
const reason = 'the rack was scrapped';

beforeAll(async () => {
  await service.start();
  for (const [version, plus] of [
    ['1.0.0', 1],
    ['1.1.0', 2],
  ] as const)
    await service.push('tcp', version, workModule(plus));
});
afterAll(() => service.close());

const patch = (path: string, body: unknown) => service.request('PATCH', path, body);
const devicesOf = async (host: string, query = '') => itemsOf(await service.get(`/v1/devices?limit=200&host=${host}${query}`));
const hostNamed = async (name: string) => {
  const found = itemsOf(await service.get('/v1/hosts?limit=200')).find((host) => host.name === name);
  return found?.id ?? '';
};
const connectedOn = (host: string, count: number) =>
  until(`${count} devices of ${host} are connected`, async () => {
    const devices = (await devicesOf(host)).filter(({ status }) => status === 'connected');
    return devices.length === count && devices.map(({ id }) => id).toSorted();
  });
const statusAndType = ({ status, body }: { readonly status: number; readonly body: { readonly type?: unknown } }) => [status, body.type];
const problem = (type: string) => `urn:patchbay:problem:${type}`;

/** Registers a simulated host with attached devices. */
async function startAgent(name: string, devices: readonly string[]): Promise<{ agent: Agent; ids: string[] }> {
  const agent = new Agent(service);
  expect((await agent.register(name, [...devices])).status).toBe(201);
  await agent.connect();
  await agent.report(...(await agent.order('attach-device', devices.length)).map((order) => attached(order)));
  return { agent, ids: await connectedOn(name, devices.length) };
}

test('a renamed device or host remains the same when its host restarts', async () => {
  const stop = service.startHost('rack', 2);
  const ids = await connectedOn('rack', 2);
  const [first = '', second = ''] = ids;
  await service.load('tcp', '1.0.0', ids);
  const host = await hostNamed('rack');
  expect(await patch(`/v1/devices/${first}`, { name: 'router' })).toMatchObject({ status: 200, body: { name: 'router' } });
  expect(await patch(`/v1/hosts/${host}`, { name: 'north' })).toMatchObject({
    status: 200,
    body: { name: 'north', registeredName: 'rack' },
  });
  const registered = String((await service.get(`/v1/devices/${first}`)).body.registeredName);
  // The name of another device, and a name that another device registers with.
  for (const name of ['router', registered]) {
    const taken = await patch(`/v1/devices/${second}`, { name });
    expect(taken).toMatchObject({ status: 409, body: { type: problem('name-taken'), errors: [{ in: 'body', pointer: '/name' }] } });
  }
  expect(await patch(`/v1/hosts/${host}`, { name: '' })).toMatchObject({ status: 422, body: { errors: [{ pointer: '/name' }] } });
  await stop();
  const boot = async () => (await runSql(service.database, 'SELECT "bootId" FROM "Host" WHERE "id" = ?', host))[0]?.['bootId'];
  const before = await boot();
  service.startHost('rack', 2);
  await until('the host has registered again', async () => (await boot()) !== before);
  expect(await connectedOn('north', 2)).toEqual(ids);
  expect((await service.get(`/v1/devices/${first}`)).body).toMatchObject({ name: 'router', modules: { tcp: '1.0.0' }, host });
  // Another host can use neither name.
  for (const name of ['router', registered])
    expect(statusAndType(await new Agent(service).register('other', [name]))).toEqual([409, problem('name-taken')]);
  expect(statusAndType(await new Agent(service).register('north', []))).toEqual([409, problem('name-taken')]);
  expect((await patch(`/v1/devices/${first}`, { name: registered })).body).toMatchObject({ name: registered, registeredName: null });
  const events = itemsOf(await service.get(`/v1/audit?object=${first}&action=device.renamed&order=asc`));
  expect(events.map(({ detail }) => detail['after'])).toEqual(['router', registered]);
});

test('a dead host no longer degrades the fleet, and its rollout continues', async () => {
  const { agent, ids } = await startAgent('dead', ['dead-1', 'dead-2']);
  const living = await startAgent('living', ['living-1']);
  const [firstId = '', secondId = ''] = ids;
  const installed = service.load('tcp', '1.0.0', [firstId]);
  await agent.report(...(await agent.order('load')).map((order) => loaded(order)));
  await installed;
  const waves = [{ devices: 2 }, { upToPercent: 100 }];
  const devices = [...ids, ...living.ids];
  const thresholds = { failedLoadsPercent: 0 };
  const rollout = await service.post('/v1/rollouts', { module: 'tcp', version: '1.1.0', devices, waves, thresholds, soakSeconds: 0 });
  const state = async () => (await service.get(`/v1/rollouts/${rollout.body.id}`)).body;
  await until('the loads of the first wave are queued', async () => (await state()).deviceCounts?.loading === 2);
  const { body: queued } = await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [secondId] });
  const host = await hostNamed('dead');
  await runSql(service.database, `UPDATE "Host" SET "unreachableSince" = ${timeInSql(Date.now())} WHERE "id" = '${host}'`);
  agent.disconnect();
  const health = async () => (await service.get('/v1/health')).body;
  expect((await health()).reasons).toContain('the host dead with 2 devices is unreachable');

  expect((await service.post(`/v1/hosts/${host}/decommission`, { reason })).body).toEqual({
    devices: expect.toSatisfy((done: string[]) => done.toSorted().join() === ids.join()),
    cancelledLoads: 3,
  });
  expect((await health()).reasons?.filter((text) => text.includes('dead'))).toEqual([]);
  expect((await health()).devices).toMatchObject({ unreachable: 0 });
  expect(firstOf(await service.get(`/v1/loads?batch=${queued.batch}`))).toMatchObject({
    outcome: 'cancelled',
    reason: `the device was decommissioned: ${reason}`,
  });
  // The next wave has a device on a living host.
  const [order] = await living.agent.order('load');
  await living.agent.report(...(order === undefined ? [] : [loaded(order)]));
  await until('the rollout is completed', async () => (await state()).state === 'completed');
  expect((await state()).deviceCounts).toMatchObject({ loaded: 1, failed: 0, skipped: 2 });

  // What happened can still be queried.
  expect(await devicesOf(host)).toEqual([]);
  expect((await devicesOf(host, '&status=decommissioned')).map(({ id }) => id).toSorted()).toEqual(ids);
  expect(itemsOf(await service.get(`/v1/devices?id=${firstId}`))).toMatchObject([{ decommissioned: { reason } }]);
  expect(itemsOf(await service.get('/v1/hosts?status=decommissioned'))).toMatchObject([{ id: host, status: 'decommissioned', devices: 0 }]);
  expect(await service.get('/v1/devices?status=decommissioned&sort=name')).toMatchObject({
    status: 422,
    body: { errors: [{ in: 'query', pointer: '/sort' }] },
  });
  expect((await service.get(`/v1/hosts/${host}`)).body).toMatchObject({ name: 'dead', decommissioned: { reason } });
  expect(itemsOf(await service.get(`/v1/devices/${firstId}/history`))).toMatchObject([
    { version: '1.0.0', removalCause: 'decommissioned' },
  ]);
  expect(itemsOf(await service.get(`/v1/audit?object=${host}&limit=1`))).toMatchObject([
    { action: 'host.decommissioned', detail: { devices: 2, reason } },
  ]);

  // Nothing changes a decommissioned device or host.
  for (const selector of [{ devices: ids }, { devices: [...living.ids, secondId] }]) {
    const refused = await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', ...selector });
    const pointer = `/devices/${selector.devices.indexOf(secondId)}`;
    expect(refused.status).toBe(422);
    expect(refused.body.errors).toContainEqual({ in: 'body', pointer, detail: `the device ${secondId} is decommissioned` });
  }
  const decommissioned = [409, problem('decommissioned')];
  expect(statusAndType(await service.post(`/v1/devices/${firstId}/programs`, { module: 'tcp', export: 'work', arguments: [1] }))).toEqual(
    decommissioned,
  );
  expect(statusAndType(await service.put(`/v1/devices/${firstId}/labels`, { labels: {} }))).toEqual(decommissioned);
  expect(statusAndType(await patch(`/v1/devices/${firstId}`, { name: 'renamed' }))).toEqual(decommissioned);
  expect(statusAndType(await patch(`/v1/hosts/${host}`, { name: 'renamed' }))).toEqual(decommissioned);
  expect((await service.post(`/v1/hosts/${host}/decommission`, { reason })).body).toEqual({ devices: [], cancelledLoads: 0 });

  // Its agent gets a final error; a replacement uses the same names.
  expect((await agent.heartbeat()).status).toBe(401);
  expect(statusAndType(await agent.register('dead', ['dead-1', 'dead-2']))).toEqual(decommissioned);
  const replacement = await startAgent('dead', ['dead-1', 'dead-2']);
  expect(replacement.ids.filter((id) => ids.includes(id))).toEqual([]);
  expect(await devicesOf('dead')).toMatchObject([{ modules: {} }, { modules: {} }]);
  // Old devices do not appear under the new host, and health does not count them.
  expect((await health()).reasons).toEqual([]);
  for (const each of [living.agent, replacement.agent]) each.disconnect();
});

test('a living host drops the device with its programs', async () => {
  const stop = service.startHost('live', 2, { row: 'seven' });
  const ids = await connectedOn('live', 2);
  const [first = '', second = ''] = ids;
  await service.load('tcp', '1.0.0', ids);
  await service.put(`/v1/devices/${first}/labels`, { labels: { row: 'eight' } });
  const { body: program } = await service.post(`/v1/devices/${first}/programs`, { module: 'tcp', export: 'work', arguments: [1_000] });
  const stateOf = async () => (await service.get(`/v1/devices/${first}/programs/${program.id}`)).body.state;
  await until('the program runs', async () => (await stateOf()) === 'running');
  expect(await service.post('/v1/devices/decommission', { labels: { row: 'nine' }, reason })).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/labels' }] },
  });
  expect((await service.post('/v1/devices/decommission', { labels: { row: 'eight' }, reason })).body).toEqual({
    devices: [first],
    cancelledLoads: 0,
  });
  expect(await stateOf()).toBe('stopped');
  await until('the host has dropped the device', async () => {
    return itemsOf(await service.get(`/v1/audit?object=${first}&action=device.detached`)).length === 1;
  });
  expect(await service.load('tcp', '1.1.0', [second])).toMatchObject([{ outcome: 'replaced' }]);
  // By name, beside identifiers of devices that are decommissioned already.
  const [remaining] = await devicesOf('live');
  expect(await service.post('/v1/devices/decommission', { devices: [first, 'no-such-device'], reason })).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/devices/1', detail: 'the device no-such-device does not exist' }] },
  });
  const { body } = await service.post('/v1/devices/decommission', { devices: [first, remaining?.name ?? '', second], reason });
  expect(body).toEqual({ devices: [second], cancelledLoads: 0 });
  await stop();
});

test('an agent does not register a decommissioned device again, until its host restarts', async () => {
  const { agent, ids } = await startAgent('again', ['again-1', 'again-2']);
  const names = new Map((await devicesOf('again')).map(({ id, name }) => [id, name]));
  const [first = '', second = ''] = ids;
  expect((await service.post(`/v1/devices/${first}/decommission`, { reason })).body).toEqual({ devices: [first], cancelledLoads: 0 });
  expect((await service.post(`/v1/devices/dev_${'0'.repeat(32)}/decommission`, { reason })).status).toBe(404);
  const register = () => agent.register('again', ['again-1', 'again-2']);
  expect((await register()).status).toBe(201);
  expect((await devicesOf('again')).map(({ id }) => id)).toEqual([second]);
  // States of the decommissioned device are ignored.
  const [order] = agent.orders.filter(({ device }) => device === first);
  if (order === undefined) throw new Error('no order');
  const report = { kind: 'device-state' as const, device: order.device, state: attached(order).state };
  expect((await agent.report(report)).status).toBe(204);
  expect((await service.get(`/v1/devices/${first}`)).body).toMatchObject({ status: 'decommissioned', name: names.get(first) });
  agent.disconnect();
  agent.bootId = randomUUID();
  expect((await register()).status).toBe(201);
  const after = await devicesOf('again');
  expect(after.map(({ name }) => name).toSorted()).toEqual(['again-1', 'again-2']);
  expect(after.map(({ id }) => id)).not.toContain(first);
  agent.disconnect();
});

test('a viewer cannot decommission', async () => {
  const { body: key } = await service.post('/v1/keys', { name: 'viewer', role: 'viewer' });
  const asViewer = bearer(String(key.secret));
  const host = await hostNamed('again');
  for (const path of [`/v1/hosts/${host}/decommission`, '/v1/devices/decommission', `/v1/devices/${host}/decommission`] as const)
    expect((await service.request('POST', path, { reason }, asViewer)).status).toBe(403);
});

test('a rename with If-Match fails if the name has changed since it was read', async () => {
  const { ids } = await startAgent('tagged', ['tagged-1']);
  for (const path of [`/v1/devices/${ids[0]}`, `/v1/hosts/${await hostNamed('tagged')}`]) {
    const etag = (await service.request('GET', path)).headers.get('etag') ?? '';
    const rename = (name: string) => service.request('PATCH', path, { name }, { 'if-match': etag });
    const renamed = await rename('tagged-once');
    expect(renamed).toMatchObject({ status: 200, body: { name: 'tagged-once' } });
    expect(renamed.headers.get('etag')).toBe((await service.request('GET', path)).headers.get('etag'));
    expect(statusAndType(await rename('tagged-twice'))).toEqual([412, problem('precondition-failed')]);
    expect((await service.request('GET', path)).body['name']).toBe('tagged-once');
  }
});

test('more devices than one transaction takes are decommissioned, by a selector and with their host', async () => {
  const many = (rack: string) => ({
    name: rack,
    bootId: randomUUID(),
    capacity: 300,
    devices: Array.from({ length: 205 }, (_, index) => ({ name: `${rack}-${index}`, labels: { rack }, ramPages: 16 })),
  });
  for (const rack of ['many-a', 'many-b'])
    expect((await service.post('/agent/v1/hosts', many(rack), bearer(service.joinToken))).status).toBe(201);
  const host = await hostNamed('many-a');
  await service.post('/v1/groups', { name: 'many', selector: 'rack=many-b' });
  const [byGroup, byHost] = [
    await service.post('/v1/devices/decommission', { group: 'many', reason }),
    await service.post(`/v1/hosts/${host}/decommission`, { reason }),
  ];
  for (const { status, body } of [byGroup, byHost]) {
    expect(status).toBe(200);
    expect(new Set(body.devices).size).toBe(205);
  }
  for (const rack of ['many-a', 'many-b']) expect(itemsOf(await service.get(`/v1/devices?label=rack=${rack}`))).toEqual([]);
  const events = itemsOf(await service.get('/v1/audit?action=device.decommissioned&limit=200'));
  expect(events).toHaveLength(200);
});
