// A simulated agent over plain HTTP: the orders that it gets and the effect of its reports, also when they are repeated.

import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { digestOf } from '../../../src/machine/digest.ts';
import { bearer, itemsOf, joinToken, TestService, until, workModule } from '../test-service.ts';
import { Agent, attached, loaded, state } from './agent.ts';

let service: TestService;
const agents: Agent[] = [];
function newAgent(): Agent {
  const agent = new Agent(service);
  agents.push(agent);
  return agent;
}
beforeEach(async () => {
  service = await new TestService().start();
});
afterEach(async () => {
  for (const agent of agents.splice(0)) agent.disconnect();
  await service.close();
});

/** Returns an agent with one attached device. */
async function connectedAgent(): Promise<Agent> {
  const agent = newAgent();
  await agent.register('agent', ['d1']);
  await agent.connect();
  const [attach] = await agent.order('attach-device');
  if (attach !== undefined) await agent.report(attached(attach));
  return agent;
}

const deviceNamed = async (name: string) => String(itemsOf(await service.get('/v1/devices')).find((device) => device.name === name)?.id);

async function requestLoad(version: string): Promise<string> {
  await service.push('tcp', version, workModule(1));
  const response = await service.post('/v1/loads', { module: 'tcp', version, devices: [await deviceNamed('d1')] });
  return response.headers.get('location') ?? '';
}

test('a host registers, and its devices are created once and attach', async () => {
  const agent = newAgent();
  expect(await agent.register('agent', ['d1', 'd2'])).toMatchObject({ status: 201, body: { name: 'agent', devices: 2 } });
  expect(itemsOf(await service.get('/v1/devices'))).toMatchObject([{ status: 'attaching' }, { status: 'attaching' }]);
  await agent.connect();
  const orders = await agent.order('attach-device', 2);
  expect((await agent.report(...orders.map((order) => attached(order)))).status).toBe(204);
  expect(itemsOf(await service.get('/v1/devices')).map(({ status }) => status)).toEqual(['connected', 'connected']);
  expect((await agent.register('agent', ['d1', 'd2', 'd3'])).body).toMatchObject({ devices: 3 });
  expect(await agent.order('attach-device', 3)).toHaveLength(3);
});

test('every stream repeats an order until a report settles it, and the report is applied once', async () => {
  const agent = await connectedAgent();
  const path = await requestLoad('1.0.0');
  const [first] = await agent.order('load');
  agent.disconnect();
  await agent.connect();
  const [again] = await agent.order('load');
  expect(again).toMatchObject({ order: first?.order, sequence: first?.sequence });
  if (again === undefined) throw new Error('no order');
  expect(await Promise.all([agent.report(loaded(again)), agent.report(loaded(again), loaded(again))])).toMatchObject([
    { status: 204 },
    { status: 204 },
  ]);
  expect((await service.get(path)).body).toMatchObject({ state: 'completed', outcome: 'installed' });
  expect((await agent.report(loaded(again, '0x9000'))).status).toBe(204);
  const device = await deviceNamed('d1');
  expect(itemsOf(await service.get(`/v1/devices/${device}/modules/tcp/history`))).toMatchObject([{ address: '0x1000', removedAt: null }]);
  expect(itemsOf(await service.get('/v1/audit?action=load.completed'))).toHaveLength(1);
  agent.disconnect();
  await agent.connect();
  await requestLoad('1.1.0');
  expect(await agent.order('load')).toMatchObject([{ version: '1.1.0' }]);
});

test('after a restart of its host, a device is restored and then gets the orders of the meantime', async () => {
  const agent = await connectedAgent();
  await requestLoad('1.0.0');
  const [load] = await agent.order('load');
  if (load === undefined) throw new Error('no order');
  await agent.report(loaded(load));
  agent.disconnect();
  const path = await requestLoad('1.1.0');

  agent.bootId = randomUUID();
  await agent.register('agent', ['d1']);
  const device = await deviceNamed('d1');
  expect(itemsOf(await service.get(`/v1/devices/${device}/modules/tcp/history`))).toMatchObject([
    { version: '1.0.0', removalCause: 'reboot' },
  ]);
  await agent.connect();
  const [next] = await agent.order('load');
  expect(agent.orders).toMatchObject([
    { kind: 'attach-device', modules: [{ module: 'tcp', version: '1.0.0' }], programs: [] },
    { kind: 'load', version: '1.1.0' },
  ]);
  const [attach] = agent.orders;
  if (attach === undefined || next === undefined || load.kind !== 'load') throw new Error('no order');
  await agent.report(attached(attach, { tcp: { version: '1.0.0', image: load.image, address: '0x1000' } }), loaded(next, '0x2000'));
  expect(itemsOf(await service.get(`/v1/devices/${device}/modules/tcp/history`))).toMatchObject([
    { version: '1.1.0', removedAt: null, address: '0x2000' },
    { version: '1.0.0', load: null, removalCause: 'replaced' },
    { version: '1.0.0', removalCause: 'reboot' },
  ]);
  expect((await service.get(path)).body).toMatchObject({ state: 'completed' });
});

test('a host that restarts again before its devices are restored loses nothing', async () => {
  const agent = await connectedAgent();
  await requestLoad('1.0.0');
  const [load] = await agent.order('load');
  if (load !== undefined) await agent.report(loaded(load));
  for (let restart = 0; restart < 3; restart += 1) {
    agent.disconnect();
    agent.bootId = randomUUID();
    await agent.register('agent', ['d1']);
  }
  await agent.connect();
  expect(await agent.order('attach-device')).toMatchObject([{ modules: [{ module: 'tcp', version: '1.0.0' }] }]);
  expect(agent.orders).toHaveLength(1);
});

test('a request of an earlier boot gets stale-boot', async () => {
  const agent = await connectedAgent();
  const { bootId: old, token: oldToken } = agent;
  agent.disconnect();
  agent.bootId = randomUUID();
  await agent.register('agent', ['d1']);
  const path = `/agent/v1/hosts/${agent.host}` as const;
  const requests = (token: string) =>
    Promise.all([
      service.post(`${path}/reports`, { bootId: old, reports: [] }, bearer(token)),
      service.post(`${path}/heartbeats`, { bootId: old }, bearer(token)),
      service.get(`${path}/orders?bootId=${old}`, bearer(token)),
      service.get(`${path}/orders/next?bootId=${old}`, bearer(token)),
    ]);
  for (const response of await requests(oldToken))
    expect(response).toMatchObject({ status: 401, body: { type: 'urn:patchbay:problem:unauthenticated' } });
  for (const response of await requests(agent.token))
    expect(response).toMatchObject({ status: 409, body: { type: 'urn:patchbay:problem:stale-boot' } });
});

test('a newer stream of a host ends the older one', async () => {
  const agent = await connectedAgent();
  const second = newAgent();
  second.bootId = agent.bootId;
  second.host = agent.host;
  second.token = agent.token;
  await second.connect();
  await until('the first stream ends', async () => agent.ended);
  await requestLoad('1.0.0');
  expect(await second.order('load')).toHaveLength(1);
});

test('a host can neither take a device of another host nor settle its orders', async () => {
  const agent = await connectedAgent();
  const thief = newAgent();
  expect(await thief.register('thief', ['d1'])).toMatchObject({ status: 409, body: { type: 'urn:patchbay:problem:name-taken' } });
  await thief.register('thief', ['d9']);
  const path = await requestLoad('1.0.0');
  const [load] = await agent.order('load');
  if (load === undefined) throw new Error('no order');
  expect((await thief.report(loaded(load))).status).toBe(204);
  expect((await agent.report({ ...loaded(load), device: 'dev_ffffffffffffffffffffffffffffffff' })).status).toBe(204);
  expect((await service.get(path)).body).toMatchObject({ state: 'dispatched' });
});

const module = { tcp: { version: '1.0.0', image: `sha256:${'0'.repeat(64)}`, address: '0x1000' } };
const pastAndFuture = ['1970-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z', '2100-01-01T00:00:00.000Z'];
const momentOf = (index: number) => pastAndFuture[index % pastAndFuture.length] ?? '';
const deviceNow = async (device: string) => (await service.get(`/v1/devices/${device}`)).body;

test('the state with the highest sequence wins, regardless of the clock of the device and the order of the reports', async () => {
  const agent = await connectedAgent();
  const device = await deviceNamed('d1');
  const states = Array.from({ length: 9 }, (_, index) => ({ ...state(index === 8 ? module : {}), at: momentOf(index) }));
  const report = (index: number): Schemas['DeviceStateReport'] => ({ kind: 'device-state', device, state: states[index] ?? state() });
  // In separate batches, and in one.
  for (const index of [0, 2, 1, 4, 3]) await agent.report(report(index));
  await agent.report(report(6), report(8), report(5), report(7));
  await agent.report(report(7));
  expect(await deviceNow(device)).toMatchObject({ moduleTable: [{ module: 'tcp' }], reportedAt: expect.any(String) });
  await agent.report({ kind: 'device-state', device, state: { ...state(), at: momentOf(0) } });
  expect(await deviceNow(device)).toMatchObject({ moduleTable: [], reportedAt: momentOf(0) });
});

test('a state with a time in the future is shown with its time of receipt and does not block the next one', async () => {
  const agent = await connectedAgent();
  const device = await deviceNamed('d1');
  await agent.report({ kind: 'device-state', device, state: { ...state(module), at: '2100-01-01T00:00:00.000Z' } });
  const { reportedAt } = await deviceNow(device);
  expect(Date.parse(String(reportedAt))).toBeLessThanOrEqual(Date.now());
  await agent.report({ kind: 'device-state', device, state: state() });
  expect(await deviceNow(device)).toMatchObject({ moduleTable: [] });
});

test('states without a sequence apply in order of arrival', async () => {
  const agent = await connectedAgent();
  const device = await deviceNamed('d1');
  const withoutSequence = (index: number, modules = {}): Schemas['DeviceStateReport'] => {
    const { sequence: _, ...rest } = state(modules);
    return { kind: 'device-state', device, state: { ...rest, at: momentOf(index) } };
  };
  await agent.report(withoutSequence(2));
  await agent.report(withoutSequence(0, module));
  expect(await deviceNow(device)).toMatchObject({ moduleTable: [{ module: 'tcp' }] });
  await agent.report(withoutSequence(2, module), withoutSequence(1));
  expect(await deviceNow(device)).toMatchObject({ moduleTable: [] });
});

test('rejects a sequence that is not a positive integer, and states the expected value', async () => {
  const agent = await connectedAgent();
  const device = await deviceNamed('d1');
  for (const sequence of [0, -1, 1.5, '7', null])
    expect(await agent.reportRaw({ kind: 'device-state', device, state: { ...state(), sequence } })).toMatchObject({
      status: 422,
      body: { errors: [{ pointer: '/reports/0/state/sequence' }] },
    });
});

test('downloads images by digest', async () => {
  const pushed = await service.push('tcp', '1.0.0', workModule(1));
  const { image } = pushed.body;
  const digest = typeof image === 'object' && image !== null && 'digest' in image ? String(image.digest) : '';
  const { token } = await connectedAgent();
  const response = await fetch(`${service.url}/agent/v1/images/${digest}`, { headers: bearer(token) });
  expect(digestOf(new Uint8Array(await response.arrayBuffer()))).toBe(digest);
  expect(await service.get(`/agent/v1/images/sha256:${'0'.repeat(64)}`, bearer(token))).toMatchObject({ status: 404 });
  expect(await service.get('/agent/v1/images/latest', bearer(token))).toMatchObject({ status: 422 });
  expect(await service.get(`/agent/v1/images/${digest}`)).toMatchObject({ status: 401 });
});

test('rejects malformed registrations and reports', async () => {
  const agent = await connectedAgent();
  expect(await service.post('/agent/v1/hosts', { name: 'x', bootId: 'short', capacity: 0, devices: [] }, bearer(joinToken))).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/bootId' }, { pointer: '/capacity' }] },
  });
  expect(await agent.reportRaw({ kind: 'device-exploded' })).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: expect.stringMatching(/^\/reports\/0/) }] },
  });
  const tooMany = Array.from({ length: 501 }, (): Schemas['DeviceStateReport'] => ({
    kind: 'device-state',
    device: 'dev_00000000000000000000000000000000',
    state: state(),
  }));
  expect(await agent.report(...tooMany)).toMatchObject({ status: 422 });
});
