// Tokens of hosts, detection of unreachable hosts, and loads and orders that wait for hosts.

import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bearer, firstOf, itemsOf, type LoadPolicy, TestService, until, workModule } from '../test-service.ts';
import { Agent, attached, loaded } from './agent.ts';

let service: TestService;
let agent: Agent;
beforeEach(async () => {
  service = new TestService();
  service.unreachableAfter = 1_000;
  await service.start();
  for (const version of ['1.0.0', '1.1.0', '1.2.0']) await service.push('tcp', version, workModule(1));
  agent = new Agent(service);
  await agent.register('agent', ['d1']);
  const [attach] = await agent.next(0, 10);
  await agent.report(attached(attach ?? never()));
});
afterEach(async () => {
  agent.disconnect();
  await service.close();
});

function never(): never {
  throw new Error('no order');
}

const device = async () => firstOf(await service.get('/v1/devices'));
const statusIs = (status: string) => until(`the device is ${status}`, async () => (await device()).status === status);

async function requestLoad(version: string, facts: LoadPolicy = {}): Promise<string> {
  const response = await service.post('/v1/loads', { module: 'tcp', version, devices: [(await device()).id], ...facts });
  expect(response.status).toBe(202);
  return response.headers.get('location') ?? '';
}

const ended = (path: string) =>
  until(`${path} has ended`, async () => {
    const { body } = await service.get(path);
    return body['state'] === 'completed' && body;
  });

const problem = (status: number, type: string) => ({ status, body: { type: `urn:patchbay:problem:${type}` } });

test('every request of a host requires its token, and a token is valid for one host only', async () => {
  const other = new Agent(service);
  await other.register('other', ['d2']);
  const paths = {
    reports: (token?: string) => service.post(`${own}/reports`, { bootId: agent.bootId, reports: [] }, headers(token)),
    heartbeats: (token?: string) => service.post(`${own}/heartbeats`, { bootId: agent.bootId }, headers(token)),
    orders: (token?: string) => get('orders', token),
    next: (token?: string) => get('orders/next', token),
  };
  const own = `/agent/v1/hosts/${agent.host}` as const;
  const headers = (token?: string) => (token === undefined ? { authorization: '' } : bearer(token));
  const get = (path: string, token?: string) => service.get(`${own}/${path}?bootId=${agent.bootId}`, headers(token));
  for (const ask of Object.values(paths)) {
    expect(await ask()).toMatchObject(problem(401, 'unauthenticated'));
    expect(await ask('agt_of-nobody')).toMatchObject(problem(401, 'unauthenticated'));
    expect(await ask(other.token)).toMatchObject(problem(403, 'forbidden'));
  }
  expect((await paths.heartbeats(agent.token)).status).toBe(204);
  const registration = { name: 'third', bootId: randomUUID(), capacity: 1, devices: [] };
  for (const token of [undefined, 'not-the-join-token', agent.token])
    expect(await service.post('/agent/v1/hosts', registration, headers(token))).toMatchObject(problem(401, 'unauthenticated'));
  const { items } = (await service.get('/v1/hosts')).body;
  expect(items).toHaveLength(2);
});

test('a silent host and its devices are unreachable, and connected again after its next request', async () => {
  await statusIs('unreachable');
  expect(itemsOf(await service.get('/v1/hosts'))).toMatchObject([{ status: 'unreachable', unreachableSince: expect.any(String) }]);
  expect(itemsOf(await service.get('/v1/devices?status=connected'))).toEqual([]);
  expect((await service.get('/v1/health')).body).toMatchObject({ status: 'degraded', devices: { unreachable: 1, connected: 0 } });
  expect((await agent.heartbeat()).status).toBe(204);
  expect(await device()).toMatchObject({ status: 'connected' });
  await statusIs('unreachable');
  await agent.register('agent', ['d1']);
  expect(await device()).toMatchObject({ status: 'connected' });
  const events = itemsOf(await service.get('/v1/audit?order=asc&limit=200')).filter(({ action }) => String(action).endsWith('reachable'));
  const byTurns = ['host.unreachable', 'host.reachable', 'host.unreachable', 'host.reachable'];
  expect(events.map(({ action }) => action)).toEqual(byTurns);
  expect(events.map(({ actor }) => actor)).toEqual(['service', 'service', 'service', 'join-token']);
});

test('the silence of hosts is measured from the start of the service', async () => {
  await service.stop();
  await service.start();
  expect(await device()).toMatchObject({ status: 'connected' });
  await statusIs('unreachable');
  await service.stop();
  await service.start();
  expect(await device()).toMatchObject({ status: 'unreachable' });
  await agent.heartbeat();
  expect(await device()).toMatchObject({ status: 'connected' });
});

test('a load for an unreachable device ends as expired, and its order is not sent after that', async () => {
  const path = await requestLoad('1.0.0', { deadlineSeconds: 1 });
  expect((await service.get(path)).body).toMatchObject({ state: 'queued', outcome: null, dispatchedAt: null });
  expect(await ended(path)).toMatchObject({ outcome: 'expired', reason: expect.stringMatching(/deadline/), report: null });
  expect(await agent.next(0, 0)).toEqual([]);
  agent.bootId = randomUUID();
  await agent.register('agent', ['d1']);
  expect((await agent.next(0, 10)).map(({ kind }) => kind)).toEqual(['attach-device']);
  const events = itemsOf(await service.get(`/v1/audit?object=${path.split('/').at(-1)}`));
  expect(events).toMatchObject([{ action: 'load.completed', actor: 'service', detail: { outcome: 'expired' } }]);
});

test('a load that a device completes after the deadline is in the history and remains expired', async () => {
  const path = await requestLoad('1.0.0', { deadlineSeconds: 1 });
  const [order] = await agent.next(0, 10);
  expect((await service.get(path)).body).toMatchObject({ state: 'dispatched', dispatchedAt: expect.any(String) });
  await ended(path);
  for (const _ of [1, 2]) expect((await agent.report(loaded(order ?? never()))).status).toBe(204);
  expect((await service.get(path)).body).toMatchObject({ outcome: 'expired', report: null });
  const id = (await device()).id;
  expect(itemsOf(await service.get(`/v1/devices/${id}/modules/tcp/history`))).toMatchObject([{ version: '1.0.0', removedAt: null }]);
  agent.bootId = randomUUID();
  await agent.register('agent', ['d1']);
  expect(await agent.next(0, 10)).toMatchObject([{ kind: 'attach-device', modules: [{ version: '1.0.0' }] }]);
});

test('a queued load can be cancelled, also repeatedly; a dispatched load cannot', async () => {
  const waiting = await requestLoad('1.0.0');
  for (const _ of [1, 2])
    expect(await service.post(`${waiting}/cancel`, undefined)).toMatchObject({ status: 200, body: { outcome: 'cancelled' } });
  expect(await agent.next(0, 0)).toEqual([]);
  const sent = await requestLoad('1.1.0');
  const [order] = await agent.next(0, 10);
  expect(await service.post(`${sent}/cancel`, undefined)).toMatchObject(problem(409, 'not-queued'));
  await agent.report(loaded(order ?? never()));
  expect(await service.post(`${sent}/cancel`, undefined)).toMatchObject(problem(409, 'not-queued'));
  expect((await service.get(sent)).body).toMatchObject({ outcome: 'installed' });
  expect(await service.post('/v1/loads/lod_00000000000000000000000000000000/cancel', undefined)).toMatchObject({ status: 404 });
});

test('a load with supersede ends the queued loads', async () => {
  const sent = await requestLoad('1.0.0');
  await agent.next(0, 10);
  const first = await requestLoad('1.1.0');
  const second = await requestLoad('1.2.0');
  expect((await service.get(first)).body).toMatchObject({ state: 'queued' });
  const last = await requestLoad('1.2.0', { supersede: true });
  for (const path of [first, second])
    expect((await service.get(path)).body).toMatchObject({
      state: 'completed',
      outcome: 'superseded',
      reason: expect.stringContaining('bat_'),
    });
  expect((await service.get(sent)).body).toMatchObject({ state: 'dispatched' });
  const orders = await agent.next(0, 0);
  expect(orders.map((order) => order.kind === 'load' && `/v1/loads/${order.load}`)).toEqual([sent, last]);
  expect(itemsOf(await service.get('/v1/loads?outcome=superseded'))).toHaveLength(2);
});

test('a device can have 100 open loads', async () => {
  const id = (await device()).id;
  const ask = (facts: LoadPolicy = {}) => service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [id], ...facts });
  for (let count = 0; count < 100; count += 1) expect((await ask()).status).toBe(202);
  const refused = await ask();
  expect(refused).toMatchObject(problem(429, 'busy'));
  expect(refused.headers.get('retry-after')).toBe('1');
  expect((await ask({ supersede: true })).status).toBe(202);
  expect((await service.get('/v1/health')).body).toMatchObject({ loads: { queued: 1 } });
});

test('a poll waits for orders after a sequence and returns them once they exist', async () => {
  const waiting = agent.next(0, 30);
  await requestLoad('1.0.0');
  const [order] = await waiting;
  expect(order).toMatchObject({ kind: 'load', version: '1.0.0' });
  expect(await agent.next(order?.sequence ?? 0, 0)).toEqual([]);
  expect(await agent.next(0, 0)).toMatchObject([{ order: order?.order, sequence: order?.sequence }]);
  await agent.report(loaded(order ?? never()));
  expect(await agent.next(0, 0)).toEqual([]);
  const path = `/agent/v1/hosts/${agent.host}/orders/next?bootId=${agent.bootId}`;
  expect(await service.get(`${path}&waitSeconds=51`, bearer(agent.token))).toMatchObject(problem(422, 'invalid-value'));
});

test('an unsettled order is repeated regardless of Last-Event-ID', async () => {
  await requestLoad('1.0.0');
  await requestLoad('1.1.0');
  await agent.connect();
  const [first, second] = await agent.order('load', 2);
  if (first === undefined || second === undefined) throw never();
  agent.disconnect();
  // The agent received both, and the report of the first was lost.
  await agent.connect({ 'last-event-id': String(second.sequence) });
  const again = await agent.order('load', 2);
  expect(again.map(({ order, sequence }) => ({ order, sequence }))).toEqual(
    [first, second].map(({ order, sequence }) => ({ order, sequence })),
  );
  await agent.report(loaded(first));
  agent.disconnect();
  await agent.connect();
  await requestLoad('1.2.0');
  expect(await agent.order('load', 2)).toMatchObject([{ order: second.order }, { version: '1.2.0' }]);
});
