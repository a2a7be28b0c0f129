// Devices that move to another host: what follows, and that a device never runs on two hosts.

import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { agentCapabilities, type Order } from '../../../src/protocol/agent.ts';
import { runSql, timeInSql } from '../../databases.ts';
import { Agent, attached, loaded, state } from '../agents/agent.ts';
import { firstOf, itemsOf, TestService, until, workModule } from '../test-service.ts';

let service: TestService;
beforeEach(async () => {
  service = await new TestService().start();
  for (const [version, plus] of [
    ['1.0.0', 1],
    ['1.1.0', 2],
    ['1.2.0', 3],
  ] as const)
    await service.push('tcp', version, workModule(plus));
});
afterEach(() => service.close());

const reason = 'the rack died';

/** Registers a simulated host with attached devices. */
async function startAgent(name: string, devices: string[], capabilities: readonly string[] = agentCapabilities) {
  const agent = new Agent(service);
  agent.capabilities = [...capabilities];
  expect((await agent.register(name, devices)).status).toBe(201);
  if (devices.length > 0) await agent.report(...(await agent.next(0, 10)).map((order) => attached(order)));
  return { agent, ids: itemsOf(await service.get(`/v1/devices?host=${name}&sort=name&order=asc`)).map(({ id }) => id) };
}

const fallSilent = ({ host }: Agent) =>
  runSql(service.database, `UPDATE "Host" SET "unreachableSince" = ${timeInSql(Date.now())} WHERE "id" = '${host}'`);
const move = (device: string, host: string) => service.post(`/v1/devices/${device}/move`, { host, reason });
const deviceOf = async (id: string) => (await service.get(`/v1/devices/${id}`)).body;
const kindsOf = (orders: readonly Order[]) => orders.map(({ kind }) => kind);
const requestLoad = async (device: string, version: string) => {
  const { body } = await service.post('/v1/loads', { module: 'tcp', version, devices: [device] });
  return itemsOf(await service.get(`/v1/loads?batch=${body.batch}`))[0]?.id ?? '';
};
const outcomeOf = async (load: string) => {
  const { state: loadState, outcome, reason: why } = (await service.get(`/v1/loads/${load}`)).body;
  return { state: loadState, outcome, reason: why };
};
const detached = ({ order, device }: Order) => ({ kind: 'device-detached' as const, order, device, state: state(), failure: null });
const events = async (action: string) => itemsOf(await service.get(`/v1/audit?action=${action}`));

/** Loads a version on a device of an agent, and returns the last sequence. */
async function install(agent: Agent, device: string, version: string): Promise<number> {
  await requestLoad(device, version);
  const [order] = await agent.next(0, 10);
  if (order === undefined) throw new Error('no order');
  await agent.report(loaded(order));
  return order.sequence;
}

test('a device of an unreachable host moves at once, with modules, queued loads and history', async () => {
  const { agent: old, ids } = await startAgent('rack-a', ['router-1', 'router-2']);
  const [device = '', other = ''] = ids;
  const { agent: next } = await startAgent('rack-b', []);
  const last = await install(old, device, '1.0.0');
  const sent = await requestLoad(device, '1.1.0');
  expect(kindsOf(await old.next(last, 10))).toEqual(['load']);
  const queued = await requestLoad(device, '1.2.0');
  await fallSilent(old);

  const { status, body } = await move(device, 'rack-b');
  expect([status, body]).toEqual([200, { host: next.host, devices: [device], detaching: [], endedLoads: 1 }]);
  expect(await deviceOf(device)).toMatchObject({ name: 'router-1', host: next.host, status: 'attaching', movingTo: null });
  expect(await outcomeOf(sent)).toEqual({
    state: 'completed',
    outcome: 'cancelled',
    reason: 'the device was moved to host rack-b after the load had been sent to host rack-a',
  });
  const orders = await next.next(0, 10);
  expect(orders).toMatchObject([
    { kind: 'attach-device', name: 'router-1', modules: [{ module: 'tcp', version: '1.0.0' }] },
    { kind: 'load', load: queued, version: '1.2.0' },
  ]);
  const [attach, load] = orders;
  if (attach?.kind !== 'attach-device' || load === undefined) throw new Error('no order');
  const image = attach.modules[0]?.image ?? '';
  await next.report(attached(attach, { tcp: { version: '1.0.0', image, address: '0x1000' } }), loaded(load));
  expect(await outcomeOf(queued)).toMatchObject({ outcome: 'installed' });
  expect(await deviceOf(device)).toMatchObject({ status: 'connected', modules: { tcp: '1.2.0' } });
  expect(itemsOf(await service.get(`/v1/devices/${device}/modules/tcp/history`))).toMatchObject([
    { version: '1.2.0', removedAt: null },
    { version: '1.0.0', removalCause: 'replaced' },
    { version: '1.0.0', removalCause: 'moved' },
  ]);
  expect(await events('device.moved')).toMatchObject([
    { object: device, actor: expect.stringMatching(/^key_/), detail: { from: old.host, to: next.host, reason, source: 'unreachable' } },
  ]);
  // Repeating the request has no effect.
  expect((await move(device, 'rack-b')).body).toMatchObject({ devices: [], detaching: [] });

  // The old host returns in the same boot: it drops the device, and its reports do not count.
  expect((await old.heartbeat()).status).toBe(204);
  const returned = await old.next(0, 10);
  expect(returned.map(({ kind, device: of }) => [kind, of])).toEqual([['detach-device', device]]);
  await old.report({ kind: 'device-state', device, state: state() }, ...returned.map(detached));
  expect(await deviceOf(device)).toMatchObject({ host: next.host, modules: { tcp: '1.2.0' } });
  expect(await events('device.detached')).toMatchObject([{ object: device, detail: { host: old.host } }]);
  expect(await old.next(0, 0)).toEqual([]);
  // It does not register the device again, in this boot and in later ones.
  for (const bootId of [old.bootId, randomUUID()]) {
    old.bootId = bootId;
    expect(await old.register('rack-a', ['router-1', 'router-2'])).toMatchObject({ status: 201, body: { devices: 1 } });
  }
  expect((await old.next(0, 10)).map(({ device: of }) => of)).toEqual([other]);
  expect((await deviceOf(device)).host).toBe(next.host);
});

test('a connected host drops the device before it moves, and loads of the meantime run on the new host', async () => {
  const { agent: old, ids } = await startAgent('rack-a', ['router-1']);
  const [device = ''] = ids;
  const { agent: next } = await startAgent('rack-b', []);
  const last = await install(old, device, '1.0.0');
  expect((await move(device, next.host)).body).toMatchObject({ devices: [], detaching: [device] });
  expect(await deviceOf(device)).toMatchObject({ host: old.host, status: 'connected', movingTo: next.host });
  expect((await move(device, next.host)).body).toMatchObject({ detaching: [device] });
  const meantime = await requestLoad(device, '1.1.0');
  const orders = await old.next(last, 10);
  expect(kindsOf(orders)).toEqual(['detach-device', 'load']);
  expect(await next.next(0, 0)).toEqual([]);
  const [detach] = orders;
  if (detach === undefined) throw new Error('no order');
  await old.report(detached(detach));
  expect(await next.next(0, 10)).toMatchObject([
    { kind: 'attach-device', modules: [{ version: '1.0.0' }] },
    { kind: 'load', load: meantime },
  ]);
  expect(await deviceOf(device)).toMatchObject({ host: next.host, movingTo: null });
  expect(await old.next(0, 0)).toEqual([]);
  expect(await events('device.moving')).toMatchObject([{ object: device, detail: { reason } }]);
  expect(await events('device.moved')).toMatchObject([{ object: device, detail: { source: 'detached' } }]);
});

test('a host that restarts or is unreachable before it drops a device does not keep it', async () => {
  const { agent: old, ids } = await startAgent('rack-a', ['router-1', 'router-2']);
  const [first = '', second = ''] = ids;
  const { agent: next } = await startAgent('rack-b', []);
  await move(first, 'rack-b');
  old.bootId = randomUUID();
  expect(await old.register('rack-a', ['router-1', 'router-2'])).toMatchObject({ status: 201, body: { devices: 1 } });
  expect((await deviceOf(first)).host).toBe(next.host);
  const restarted = await old.next(0, 10);
  expect(restarted.map(({ kind, device }) => [kind, device])).toEqual([['attach-device', second]]);
  await old.report(...restarted.map((order) => attached(order)));

  await service.stop();
  service.unreachableAfter = 8_000;
  await service.start();
  await old.heartbeat();
  expect((await move(second, 'rack-b')).body).toMatchObject({ detaching: [second] });
  await until('the device has moved', async () => (await deviceOf(second)).host === next.host);
  expect(await events('device.moved')).toMatchObject([{ detail: { source: 'unreachable' } }, { detail: { source: 'reboot' } }]);
});

test('a device that moves back attaches again, and does not obey an older order to drop it', async () => {
  const { agent: old, ids } = await startAgent('rack-a', ['router-1']);
  const [device = ''] = ids;
  const { agent: next } = await startAgent('rack-b', []);
  await move(device, 'rack-b');
  expect((await move(device, 'rack-a')).body).toMatchObject({ detaching: [device] });
  const [detach] = await old.next(0, 10);
  if (detach === undefined) throw new Error('no order');
  await old.report(detached(detach));
  expect(await deviceOf(device)).toMatchObject({ host: old.host, movingTo: null });
  expect(kindsOf(await old.next(0, 10))).toEqual(['attach-device']);
  expect(await next.next(0, 0)).toEqual([]);
});

test('a host is not decommissioned while its devices move away, and the devices of a decommissioned target stay', async () => {
  const { agent: old, ids } = await startAgent('rack-a', ['router-1', 'router-2']);
  const [first = '', second = ''] = ids;
  const { agent: next } = await startAgent('rack-b', []);
  await move(first, 'rack-b');
  const decommission = (host: string) => service.post(`/v1/hosts/${host}/decommission`, { reason: 'the rack was scrapped' });
  expect(await decommission(old.host)).toMatchObject({
    status: 409,
    body: {
      type: 'urn:patchbay:problem:devices-moving',
      detail: expect.stringContaining('the host rack-a has devices that move to other hosts and would be lost (1)'),
    },
  });
  expect(await deviceOf(second)).toMatchObject({ status: 'connected', decommissioned: null });
  const [detach] = await old.next(2, 10);
  if (detach === undefined) throw new Error('no order');

  // The target is decommissioned first: the device returns to its host.
  expect((await decommission(next.host)).status).toBe(200);
  await old.report(detached(detach));
  expect(await deviceOf(first)).toMatchObject({ host: old.host, movingTo: null, decommissioned: null });
  expect((await decommission(old.host)).body).toMatchObject({ devices: expect.arrayContaining([first, second]) });
});

test('a host whose name is the identifier of another one gets none of its devices', async () => {
  const { agent: impostor } = await startAgent('rack-0', []);
  const { ids } = await startAgent('rack-a', ['router-1']);
  const { agent: next } = await startAgent('rack-b', ['router-2']);
  const rename = (host: string, name: string) => service.request('PATCH', `/v1/hosts/${host}`, { name });
  expect(await rename(impostor.host, next.host)).toMatchObject({ status: 422, body: { errors: [{ pointer: '/name' }] } });
  // An agent can register with any name.
  await runSql(service.database, `UPDATE "Host" SET "name" = '${next.host}' WHERE "id" = '${impostor.host}'`);
  expect((await rename(next.host, 'rack-c')).status).toBe(200);
  expect((await move(ids[0] ?? '', next.host)).body).toMatchObject({ host: next.host });
  expect(itemsOf(await service.get(`/v1/devices?host=${next.host}`)).map(({ name }) => name)).toEqual(['router-2']);
});

test('rejects moves that are impossible, and says what to do', async () => {
  const { ids } = await startAgent('rack-a', ['router-1'], ['inject-load']);
  const [device = ''] = ids;
  await startAgent('rack-b', []);
  await startAgent(
    'full',
    Array.from({ length: 10 }, (_, index) => `full-${index}`),
  );
  expect(await move(device, 'rack-b')).toMatchObject({
    status: 409,
    body: {
      type: 'urn:patchbay:problem:unsupported-by-host',
      detail: 'the agent of host rack-a does not support detaching devices: update it; no device was moved',
    },
  });
  expect(await move(device, 'full')).toMatchObject({
    status: 409,
    body: {
      type: 'urn:patchbay:problem:no-host',
      detail: expect.stringContaining('the host full has room for 0 more devices (capacity 10)'),
    },
  });
  expect(await move(device, 'nowhere')).toMatchObject({ status: 422, body: { errors: [{ pointer: '/host' }] } });
  expect((await move(`dev_${'0'.repeat(32)}`, 'rack-b')).status).toBe(404);
  await service.post(`/v1/devices/${device}/decommission`, { reason });
  expect(await move(device, 'rack-b')).toMatchObject({ status: 409, body: { type: 'urn:patchbay:problem:decommissioned' } });
  expect(await events('device.moving')).toEqual([]);
});

test('all devices of a host move in groups, within the capacity of the new host', async () => {
  const names = Array.from({ length: 10 }, (_, index) => `router-${index}`);
  const { agent: old, ids } = await startAgent('rack-a', names);
  const { agent: next } = await startAgent('rack-b', ['own']);
  await fallSilent(old);
  const path = `/v1/hosts/${old.host}/move-devices` as const;
  expect(await service.post(path, { host: 'rack-b' })).toMatchObject({ status: 409, body: { type: 'urn:patchbay:problem:no-host' } });
  await runSql(service.database, `UPDATE "Host" SET "capacity" = 11 WHERE "id" = '${next.host}'`);
  const { body } = await service.post(path, { host: 'rack-b' });
  expect([...(body.devices ?? [])].toSorted()).toEqual([...ids].toSorted());
  expect((await service.get(`/v1/hosts/${next.host}`)).body).toMatchObject({ devices: 11 });
  expect((await service.post(path, { host: 'rack-b' })).body).toMatchObject({ devices: [], detaching: [] });
  expect(await service.post(`/v1/hosts/${next.host}/move-devices`, { host: 'rack-b' })).toMatchObject({ status: 422 });
});

test('a connected host drops a decommissioned device from memory', async () => {
  const { agent, ids } = await startAgent('rack-a', ['router-1', 'router-2']);
  const [device = ''] = ids;
  await service.post(`/v1/devices/${device}/decommission`, { reason });
  const [order] = await agent.next(0, 10);
  expect(order).toMatchObject({ kind: 'detach-device', device });
  if (order !== undefined) await agent.report(detached(order));
  expect(await events('device.detached')).toMatchObject([{ object: device, outcome: 'succeeded' }]);
  expect(await deviceOf(device)).toMatchObject({ status: 'decommissioned' });
});

test('real hosts: a program continues at the new host, and the old host frees the memory', async () => {
  service.startHost('rack-a', 1);
  service.startHost('rack-b', 0);
  const [device = ''] = await service.connectedDevices(1);
  await service.load('tcp', '1.0.0', [device]);
  const program = { module: 'tcp', export: 'work', arguments: [10], threads: 2, calls: null, pauseMilliseconds: 1 };
  const { body: started } = await service.post(`/v1/devices/${device}/programs`, program);
  const statistics = async () => (await service.get(`/v1/devices/${device}/programs/${started.id}`)).body.statistics;
  await until('the program calls', async () => ((await statistics())?.callsCompleted ?? 0) > 0);
  expect((await move(device, 'rack-b')).body).toMatchObject({ detaching: [device] });
  await until('the device is on the new host', async () => (await deviceOf(device)).movingTo === null);
  expect(await service.connectedDevices(1)).toEqual([device]);
  await until('the program calls again', async () => ((await statistics())?.callsCompleted ?? 0) > 0);
  expect(firstOf(await service.get(`/v1/devices/${device}/programs`))).toMatchObject({ state: 'running', failure: null });
  expect(await deviceOf(device)).toMatchObject({ modules: { tcp: '1.0.0' }, attachFailure: null });
  // And back, and decommissioned.
  await move(device, 'rack-a');
  await until('the device is back', async () => (await deviceOf(device)).movingTo === null);
  expect(await service.connectedDevices(1)).toEqual([device]);
  await service.post(`/v1/devices/${device}/decommission`, { reason });
  await until('the device was dropped', async () => (await events('device.detached')).length === 3);
});
