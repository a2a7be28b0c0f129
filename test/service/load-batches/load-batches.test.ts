// A request for several devices is a batch: counted, listed, cancelled and retried.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runSql } from '../../databases.ts';
import { Agent, attached, completed, loaded } from '../agents/agent.ts';
import { itemsOf, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
const problem = (type: string) => `urn:patchbay:problem:${type}`;

beforeAll(async () => {
  await service.start();
  for (const [version, plus] of [
    ['1.0.0', 1],
    ['1.1.0', 2],
  ] as const)
    for (const module of ['tcp', 'udp']) await service.push(module, version, workModule(plus));
  const builds = ['tcp', 'udp'].map((module) => ({ module, version: '1.1.0' }));
  await service.post('/v1/patch-sets', { name: 'net', version: '2.0.0', builds });
});
afterAll(() => service.close());

/** Registers a simulated host. Without a connection, the loads of its devices remain queued. */
async function startAgent(name: string, count: number, connect = true): Promise<{ agent: Agent; ids: string[] }> {
  const agent = new Agent(service);
  agent.capabilities = ['load-patch-set', 'unload-module'];
  const names = Array.from({ length: count }, (_, index) => `${name}-${index}`);
  expect((await agent.register(name, names)).status).toBe(201);
  if (connect) {
    await agent.connect();
    await agent.report(...(await agent.order('attach-device', count)).map((order) => attached(order)));
  }
  const found = itemsOf(await service.get('/v1/devices?limit=200')).filter((device) => names.includes(device.name));
  return { agent, ids: found.map(({ id }) => id).toSorted() };
}

const request = async (body: object) => {
  const { status, headers, body: accepted } = await service.postRaw('/v1/loads', body);
  expect(status).toBe(202);
  return { batch: String(accepted['batch']), location: headers.get('location') };
};
const batchOf = async (batch: string) => (await service.get(`/v1/load-batches/${batch}`)).body;
const loadsOf = async (batch: string) => itemsOf(await service.get(`/v1/loads?limit=200&batch=${batch}`));
const retry = (batch: string, headers = {}) => service.postRaw(`/v1/load-batches/${batch}/retry`, undefined, headers);

/** Reports the loads of an agent that it has not reported yet: those of these devices as failed. */
async function settle(agent: Agent, batch: string, failing: readonly string[]): Promise<void> {
  const open = (await loadsOf(batch)).filter(({ outcome }) => outcome === null).map(({ id }) => id);
  const isOpen = (order: object) => 'load' in order && open.includes(String(order.load));
  const orders = await until('the orders arrive', async () => {
    const found = agent.orders.filter(isOpen);
    return found.length === open.length && found;
  });
  await agent.report(
    ...orders.map((order) => (failing.includes(order.device) ? completed(order, { outcome: 'failed', reason: 'broken' }) : loaded(order))),
  );
}

test('a batch says what was requested, by whom and when, and counts its loads by state and outcome', async () => {
  const { agent, ids } = await startAgent('shown', 3);
  for (const device of ids) expect((await service.put(`/v1/devices/${device}/labels`, { labels: { zone: 'shown' } })).status).toBe(200);
  const wanted = { module: 'tcp', version: '1.0.0', labels: { zone: 'shown' }, strategy: 'drain', drainMilliseconds: 50 };
  const { batch, location } = await request(wanted);
  expect(location).toBe(`/v1/load-batches/${batch}`);
  await until('the loads are dispatched', async () => (await batchOf(batch)).states?.dispatched === 3);
  await settle(agent, batch, ids.slice(0, 1));
  const detail = await batchOf(batch);
  expect(detail).toMatchObject({
    id: batch,
    kind: 'build',
    module: 'tcp',
    version: '1.0.0',
    selection: { labels: { zone: 'shown' }, selector: null, group: null },
    loads: 3,
    strategy: 'drain',
    drainMilliseconds: 50,
    rollback: false,
    retryOf: null,
    rollout: null,
    requestedBy: expect.stringMatching(/^key_/),
    states: { queued: 0, dispatched: 0, completed: 3 },
    outcomes: { failed: 1, installed: 2 },
  });
  expect(new Date(String(detail.requestedAt)).getTime()).toBeGreaterThan(Date.now() - 600_000);
  expect((await service.get(`/v1/load-batches/bat_${'0'.repeat(32)}`)).status).toBe(404);

  // A single load is its own resource; its batch can be read, but is not listed.
  const single = await request({ module: 'tcp', version: '1.1.0', devices: ids.slice(1, 2) });
  expect(single.location).toMatch(/^\/v1\/loads\/lod_/);
  expect(await batchOf(single.batch)).toMatchObject({ loads: 1, version: '1.1.0', selection: null });
  const other = await request({ module: 'udp', version: '1.1.0', devices: ids });
  const listed = async (query: string) => itemsOf(await service.get(`/v1/load-batches?${query}`)).map(({ id }) => id);
  expect(await listed('order=asc')).toEqual([batch, other.batch]);
  expect(await listed('module=udp')).toEqual([other.batch]);
  expect(await listed('version=1.0.0')).toEqual([batch]);
  expect(await listed('version=1.0.0&module=udp')).toEqual([]);
  const { body: first } = await service.get('/v1/load-batches?limit=1');
  expect(first.items?.[0]).toMatchObject({ id: other.batch, selection: { labels: null, selector: null } });
  expect(await listed(`cursor=${first.next}`)).toEqual([batch]);
});

test('cancelling a batch ends its queued loads alone, and can be repeated', async () => {
  const { agent, ids } = await startAgent('busy', 2);
  const silent = await startAgent('silent', 2, false);
  const { batch } = await request({ module: 'tcp', version: '1.0.0', devices: [...ids, ...silent.ids] });
  await until('two loads are dispatched', async () => (await batchOf(batch)).states?.dispatched === 2);
  const cancel = () => service.post(`/v1/load-batches/${batch}/cancel`, undefined);
  const cancelled = { states: { queued: 0, dispatched: 2, completed: 2 }, outcomes: { cancelled: 2 } };
  expect(await cancel()).toMatchObject({ status: 200, body: cancelled });
  const reasons = (await loadsOf(batch)).flatMap(({ outcome, reason }) => (outcome === null ? [] : [reason]));
  expect(reasons).toEqual([expect.stringMatching(/^cancelled by key_/), expect.stringMatching(/^cancelled by key_/)]);
  expect((await cancel()).body).toMatchObject(cancelled);
  await settle(agent, batch, []);
  expect((await batchOf(batch)).outcomes).toEqual({ cancelled: 2, installed: 2 });
  expect((await service.post(`/v1/load-batches/bat_${'0'.repeat(32)}/cancel`, undefined)).status).toBe(404);
  // Cancelled loads have not failed.
  expect(await retry(batch)).toMatchObject({ status: 409, body: { type: problem('nothing-to-retry') } });
});

test('more queued loads than one transaction ends are all cancelled', async () => {
  const { ids } = await startAgent('many', 2, false);
  const { batch } = await request({ module: 'tcp', version: '1.0.0', devices: ids });
  const columns = Object.keys((await runSql(service.database, 'SELECT * FROM "Load" WHERE "batchId" = ? LIMIT 1', batch))[0] ?? {});
  const copied = columns.filter((name) => name !== 'id').map((name) => `"${name}"`);
  await runSql(
    service.database,
    `WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 600)
     INSERT INTO "Load" ("id", ${copied.join(', ')})
     SELECT "id" || '-' || number, ${copied.join(', ')} FROM "Load" CROSS JOIN numbers WHERE "batchId" = ?`,
    batch,
  );
  const { body } = await service.post(`/v1/load-batches/${batch}/cancel`, undefined);
  expect(body).toMatchObject({ states: { queued: 0, completed: 1_202 }, outcomes: { cancelled: 1_202 } });
});

test('a retry loads the same content on the devices whose loads failed, once', async () => {
  const { agent, ids } = await startAgent('retried', 4);
  const [first = '', second = '', third = '', fourth = ''] = ids;
  const strategy = { strategy: 'drain-then-inject', drainMilliseconds: 20 };
  const { batch } = await request({ module: 'tcp', version: '1.1.0', devices: ids, ...strategy, deadlineSeconds: 600 });
  await settle(agent, batch, [first, second, third]);
  await service.post(`/v1/devices/${third}/decommission`, { reason: 'scrapped' });
  const headers = { 'idempotency-key': randomUUID() };
  const accepted = await retry(batch, headers);
  expect(accepted.status).toBe(202);
  const retried = String(accepted.body['batch']);
  expect(accepted.headers.get('location')).toBe(`/v1/load-batches/${retried}`);
  expect((await retry(batch, headers)).body).toEqual(accepted.body);
  expect((await loadsOf(retried)).map(({ device }) => device).toSorted()).toEqual([first, second].toSorted());
  const detail = await batchOf(retried);
  expect(detail).toMatchObject({ module: 'tcp', version: '1.1.0', retryOf: batch, loads: 2, selection: null, ...strategy });
  expect(Date.parse(String(detail.deadlineAt)) - Date.parse(String(detail.requestedAt))).toBe(600_000);
  expect(await service.get('/v1/load-batches?limit=1').then(({ body }) => body.items?.[0]?.id)).toBe(retried);

  // Another retry leaves out the devices of the first; the batch of the retry can be retried, even for a single device.
  expect((await retry(batch)).body['detail']).toContain('decommissioned');
  await settle(agent, retried, [second]);
  const again = await retry(retried);
  expect(again.status).toBe(202);
  const last = String(again.body['batch']);
  expect(again.headers.get('location')).toBe(`/v1/load-batches/${last}`);
  expect(await batchOf(last)).toMatchObject({ retryOf: retried, loads: 1 });
  await settle(agent, last, []);
  expect((await retry(last)).body['detail']).toBe(`no load of the batch ${last} has failed`);
  expect((await retry(retried)).body['detail']).toContain(`were retried as ${last}, so retry that batch`);
  expect((await loadsOf(batch)).find(({ device }) => device === fourth)?.outcome).toBe('installed');
  await service.post('/v1/modules/tcp/builds/1.1.0/yank', { reason: 'bad' });
  const other = await request({ module: 'tcp', version: '1.0.0', devices: [first, second] });
  await settle(agent, other.batch, [first, second]);
  await service.post('/v1/modules/tcp/builds/1.0.0/yank', { reason: 'bad' });
  expect(await retry(other.batch)).toMatchObject({ status: 409, body: { type: problem('build-yanked') } });
  for (const version of ['1.0.0', '1.1.0']) await service.postRaw(`/v1/modules/tcp/builds/${version}/unyank`, undefined);
});

test('loads of patch sets and unloads are retried too; those of a rollout are not', async () => {
  const { agent, ids } = await startAgent('kinds', 2);
  const fail = async (batch: string) => {
    await until('the loads are dispatched', async () => (await batchOf(batch)).states?.dispatched === ids.length);
    await settle(agent, batch, ids);
  };
  const set = await request({ patchSet: { name: 'net', version: '2.0.0' }, devices: ids });
  await fail(set.batch);
  const retriedSet = await retry(set.batch);
  expect(await batchOf(String(retriedSet.body['batch']))).toMatchObject({
    kind: 'patch-set',
    patchSet: { name: 'net', version: '2.0.0' },
    loads: 2,
  });
  await settle(agent, String(retriedSet.body['batch']), ids);
  const installing = await request({ module: 'udp', version: '1.0.0', devices: ids });
  await settle(agent, installing.batch, []);
  const unload = await service.post('/v1/unloads', { module: 'udp', devices: ids });
  expect(unload.headers.get('location')).toBe(`/v1/load-batches/${unload.body.batch}`);
  const reports = await agent.order('unload-module', 2);
  await agent.report(...reports.map((order) => completed(order, { outcome: 'failed', reason: 'broken' })));
  const retriedUnload = await retry(String(unload.body.batch));
  expect(await batchOf(String(retriedUnload.body['batch']))).toMatchObject({ kind: 'unload', module: 'udp', version: '1.0.0' });

  const waves = [{ upToPercent: 100 }];
  const { body: rollout } = await service.post('/v1/rollouts', { module: 'tcp', version: '1.0.0', devices: ids, waves });
  const load = await until('the rollout loads', async () => {
    const found = itemsOf(await service.get(`/v1/loads?device=${ids[0]}`)).find((each) => each.rollout === rollout.id);
    return found ?? null;
  });
  expect(await batchOf(load.batch)).toMatchObject({ rollout: rollout.id, selection: null });
  expect((await retry(load.batch)).body['detail']).toContain(`is part of the rollout ${rollout.id}`);
});
