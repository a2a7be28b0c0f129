// Held loads and their hosts: what a host is offered when maintenance windows close, open, and when it restarts or its devices move.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { isLoadOrder, type Order } from '../../../src/protocol/agent.ts';
import { kind as databaseKind, openSql, timeInSql } from '../../databases.ts';
import { Agent, attached, loaded } from '../agents/agent.ts';
import { firstOf, itemsOf, TestService, until, workModule } from '../test-service.ts';

type Window = Schemas['ScheduleWindow'];
const days = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const;
const weekday = (ahead: number, now = new Date()) => days[(now.getUTCDay() + ahead) % 7] ?? 'monday';
const closed = (): Window => ({ days: [weekday(3)], from: '00:00', until: '12:00', timeZone: 'UTC' });
const always: Window = { days: [...days], from: '00:00', until: '00:00', timeZone: 'UTC' };

const service = new TestService();
const agent = new Agent(service);
const other = new Agent(service);
let device = '';

beforeAll(async () => {
  service.unreachableAfter = 24 * 3_600_000;
  await service.start();
  agent.capabilities = ['unload-module', 'load-patch-set', 'detach-device'];
  await agent.register('host-a', ['device-1']);
  await attach(agent);
  other.capabilities = ['detach-device'];
  await other.register('host-b', ['device-2']);
  await attach(other);
  const devices = await service.connectedDevices(2);
  device = devices[0] ?? '';
  for (const module of ['tcp', 'udp', 'ip'])
    for (const version of ['1.0.0', '1.1.0']) expect((await service.push(module, version, workModule(1))).status).toBe(201);
});
beforeEach(() => setWindows([always]));
afterAll(() => service.close());

/** Polls for every unsettled order of a kind: a host without a stream is offered orders only when it asks. */
const poll = (from: Agent, kind: Order['kind']) =>
  until(`an order of the kind ${kind}`, async () => {
    const orders = (await from.next(0, 0)).filter((order) => order.kind === kind);
    return orders.length > 0 && orders;
  });
const attach = async (to: Agent) => {
  const orders = await poll(to, 'attach-device');
  expect((await to.report(...orders.map((order) => attached(order)))).status).toBeLessThan(300);
};

async function setWindows(maintenanceWindows: readonly Window[]): Promise<void> {
  const body = { name: 'all', selector: '!beta', maintenanceWindows: [...maintenanceWindows] };
  const replaced = await service.request('PUT', '/v1/groups/all', body);
  if (replaced.status === 404) expect((await service.postRaw('/v1/groups', body)).status).toBe(201);
}

async function request(module: string, version = '1.0.0', more: object = {}): Promise<Schemas['Load']> {
  const body = { module, version, devices: [device], versionPolicy: 'different', deadlineSeconds: 7 * 24 * 3_600, ...more };
  const accepted = await service.postRaw('/v1/loads', body);
  expect(accepted).toMatchObject({ status: 202 });
  return firstOf(await service.get(`/v1/loads?batch=${String(accepted.body['batch'])}`));
}
const read = async (id: string) => (await service.get(`/v1/loads/${id}`)).body;
const loadsOf = (orders: readonly Order[]) => orders.flatMap((order) => (isLoadOrder(order) ? [order.load] : []));
const offered = (to: Agent, count: number) =>
  until(`${count} loads are offered`, async () => {
    const loads = (await to.next(0, 0)).filter((order) => isLoadOrder(order));
    return loads.length >= count && loads;
  });
const settle = async (to: Agent, orders: readonly Order[]) =>
  expect((await to.report(...orders.map((order) => loaded(order)))).status).toBeLessThan(300);

test('windows that close before the host gets an order hold it; loads keep their order when the windows open', async () => {
  const queued = [await request('tcp'), await request('udp')];
  for (const load of queued) expect(load).toMatchObject({ state: 'queued', heldSince: null });
  await setWindows([closed()]);
  const later = await request('ip');
  expect(later.heldUntil).not.toBe(null);
  const urgent = await request('ip', '1.1.0', { overrideMaintenanceWindow: { reason: 'fix' } });
  const first = await offered(agent, 1);
  expect(loadsOf(first)).toEqual([urgent.id]);
  await settle(agent, first);
  for (const { id } of queued) expect(await read(id)).toMatchObject({ state: 'queued', heldUntil: later.heldUntil, dispatchedAt: null });
  const events = itemsOf(await service.get('/v1/audit?limit=200')).filter(({ action }) => action === 'load.held');
  expect(events.map(({ object }) => object)).toEqual(expect.arrayContaining(queued.map(({ id }) => id)));
  expect(events[0]?.detail).toEqual({ device, groups: ['all'], until: later.heldUntil });
  await setWindows([always]);
  const orders = await offered(agent, 3);
  expect(loadsOf(orders)).toEqual([...queued, later].map(({ id }) => id));
  await settle(agent, orders);
});

test('a load that is requested or offered when the windows have opened does not overtake a held load of its device', async () => {
  await setWindows([closed()]);
  const held = await request('tcp');
  await setWindows([always]);
  const later = await request('udp');
  // The host asks only now, when both can be offered.
  await until('both loads are released', async () =>
    [await read(held.id), await read(later.id)].every(({ heldSince }) => heldSince === null),
  );
  const orders = await offered(agent, 2);
  expect(loadsOf(orders)).toEqual([held.id, later.id]);
  await settle(agent, orders);

  // An order in the queue of the host, as if the windows had closed and opened between two of its polls.
  await setWindows([closed()]);
  const first = await request('tcp', '1.1.0');
  const queued = await request('udp', '1.1.0', { overrideMaintenanceWindow: { reason: 'test' } });
  const sql = await openSql(service.database);
  await sql.run(`UPDATE "Load" SET "windowOverride" = NULL WHERE "id" = '${queued.id}'`);
  await sql.close();
  await setWindows([always]);
  await agent.next(0, 0);
  const both = await offered(agent, 2);
  expect(loadsOf(both)).toEqual([first.id, queued.id]);
  await settle(agent, both);
});

test('an order that was sent is neither recalled nor held when the windows close, and is offered again', async () => {
  const sent = await request('tcp', '1.1.0');
  const [first] = await offered(agent, 1);
  expect(loadsOf(first === undefined ? [] : [first])).toEqual([sent.id]);
  await setWindows([closed()]);
  const held = await request('udp', '1.1.0');
  const again = await offered(agent, 1);
  expect(loadsOf(again)).toEqual([sent.id]);
  expect(await read(sent.id)).toMatchObject({ state: 'dispatched', heldSince: null });
  await settle(agent, again);
  expect(await read(sent.id)).toMatchObject({ outcome: 'installed' });
  await service.post(`/v1/loads/${held.id}/cancel`, undefined);
});

test('after a restart of the host, a load that was sent is held before the later held loads of its device', async () => {
  const sent = await request('tcp');
  await offered(agent, 1);
  await setWindows([closed()]);
  const held = await request('udp');
  agent.bootId = randomUUID();
  await agent.register('host-a', ['device-1']);
  await attach(agent);
  await until('the sent load is held again', async () => (await read(sent.id)).heldUntil === held.heldUntil);
  expect(loadsOf(await agent.next(0, 0))).toEqual([]);
  await setWindows([always]);
  const orders = await offered(agent, 2);
  expect(loadsOf(orders)).toEqual([sent.id, held.id]);
  await settle(agent, orders);
});

test('a held load follows its device to another host, and fails if that host does not support it', async () => {
  await setWindows([closed()]);
  const held = await request('tcp', '1.1.0');
  const set = { name: 'both', version: '1.0.0', builds: ['tcp', 'udp'].map((module) => ({ module, version: '1.1.0' })) };
  expect((await service.postRaw('/v1/patch-sets', set)).status).toBe(201);
  const body = { patchSet: { name: 'both', version: '1.0.0' }, devices: [device], deadlineSeconds: 7 * 24 * 3_600 };
  const accepted = await service.postRaw('/v1/loads', body);
  const unsupported = firstOf(await service.get(`/v1/loads?batch=${String(accepted.body['batch'])}`));
  expect((await service.post(`/v1/devices/${device}/move`, { host: 'host-b', reason: 'test' })).status).toBeLessThan(300);
  const [detach] = await poll(agent, 'detach-device');
  if (detach === undefined) throw new Error('no order to detach');
  const { order } = detach;
  const state = { ...attached(detach).state };
  expect((await agent.report({ kind: 'device-detached', order, device, state, failure: null })).status).toBeLessThan(300);
  await attach(other);
  expect(await read(held.id)).toMatchObject({ state: 'queued', heldUntil: held.heldUntil });
  await setWindows([always]);
  const orders = await offered(other, 1);
  expect(loadsOf(orders)).toEqual([held.id]);
  expect(await read(unsupported.id)).toMatchObject({
    outcome: 'failed',
    reason: 'the agent of host host-b does not support patch sets: update it',
  });
  await settle(other, orders);
});

test('damaged windows never open: their loads are held or rejected, unless they override', async () => {
  const sql = await openSql(service.database);
  await setWindows([closed()]);
  await sql.run(`UPDATE "DeviceGroup" SET "maintenanceWindows" = '{"days":7}'`);
  const refused = await service.postRaw('/v1/loads', { module: 'ip', version: '1.0.0', devices: [device] });
  expect(refused).toMatchObject({ status: 409, body: { detail: expect.stringContaining('do not all open within 30 days') } });
  const urgent = await request('ip', '1.0.0', { overrideMaintenanceWindow: { reason: 'fix' } });
  const orders = await offered(other, 1);
  expect(loadsOf(orders)).toEqual([urgent.id]);
  await settle(other, orders);
  // The group can be repaired.
  await setWindows([always]);
  expect((await service.get('/v1/groups/all')).body).toMatchObject({ maintenanceWindows: [always] });
  await sql.close();
});

test('damaged selectors and unknown time zones of groups hold loads, and stop neither orders nor loads that override the windows', async () => {
  const sql = await openSql(service.database);
  const damages = [`"selector" = '!beta,,'`, `"maintenanceWindows" = '${JSON.stringify([{ ...always, timeZone: 'Europe/Atlantis' }])}'`];
  for (const [index, damage] of damages.entries()) {
    await setWindows([closed()]);
    await sql.run(`UPDATE "DeviceGroup" SET ${damage} WHERE "name" = 'all'`);
    const refused = await service.postRaw('/v1/loads', { module: 'ip', version: '1.0.0', devices: [device] });
    expect(refused).toMatchObject({ status: 409, body: { detail: expect.stringContaining('(groups: all)') } });
    const urgent = await request('ip', `1.${index}.0`, { overrideMaintenanceWindow: { reason: 'fix' } });
    const orders = await offered(other, 1);
    expect(loadsOf(orders)).toEqual([urgent.id]);
    await settle(other, orders);
    await setWindows([always]);
  }
  await sql.close();
});

test('a load of a rollout that was requested before the windows closed can be held beyond its deadline, which begins again', async () => {
  const rollout = { module: 'ip', version: '1.0.0', versionPolicy: 'different', devices: [device], soakSeconds: 0, deadlineSeconds: 300 };
  const created = await service.postRaw('/v1/rollouts', { ...rollout, waves: [{ upToPercent: 100 }] });
  expect(created).toMatchObject({ status: 202 });
  const queued = await until('a load of the rollout', async () => itemsOf(await service.get('/v1/loads?state=queued'))[0] ?? null);
  expect(queued).toMatchObject({ rollout: created.body['id'], heldSince: null });
  await setWindows([closed()]);
  expect(loadsOf(await other.next(0, 0))).toEqual([]);
  const held = await read(queued.id);
  expect(held).toMatchObject({ state: 'queued', heldUntil: expect.any(String) });
  expect(Date.parse(held.deadlineAt ?? '')).toBeGreaterThan(Date.parse(held.heldUntil ?? ''));
  await setWindows([always]);
  const [order] = await offered(other, 1);
  if (order === undefined || !isLoadOrder(order)) throw new Error('no order');
  const { deadlineAt, dispatchedAt } = await read(queued.id);
  expect(order).toMatchObject({ load: queued.id, deadline: deadlineAt });
  const left = Date.parse(deadlineAt ?? '') - Date.parse(dispatchedAt ?? '');
  expect(left).toBeGreaterThan(0);
  expect(left).toBeLessThanOrEqual(300_000);
  await settle(other, [order]);
});

test('the release of a load does not postpone its deadline, which was moved while the load was held', async () => {
  await setWindows([closed()]);
  const held = await request('tcp', '1.1.0');
  // As after a correction of a request time that was in the future.
  const earlier = new Date(Date.parse(held.deadlineAt ?? '') - 3_600_000);
  const sql = await openSql(service.database);
  await sql.run(`UPDATE "Load" SET "deadlineAt" = ${timeInSql(earlier.getTime())} WHERE "id" = '${held.id}'`);
  await sql.close();
  await setWindows([always]);
  const orders = await offered(other, 1);
  expect(loadsOf(orders)).toEqual([held.id]);
  expect(await read(held.id)).toMatchObject({ heldSince: null, deadlineAt: earlier.toISOString() });
  expect(orders[0]).toMatchObject({ deadline: earlier.toISOString() });
  await settle(other, orders);
});

test('a damaged held order does not hold back the later loads of its device', async () => {
  await setWindows([closed()]);
  const damaged = await request('tcp', '1.0.0');
  const later = await request('udp', '1.0.0');
  const sql = await openSql(service.database);
  const body = databaseKind === 'sqlite' ? `, "body" = '{'` : `, "body" = '{}'`;
  const time = databaseKind === 'sqlite' ? `'not a time'` : `'infinity'`;
  await sql.run(`UPDATE "HeldOrder" SET "createdAt" = ${time}${body} WHERE "loadId" = '${damaged.id}'`);
  await setWindows([always]);
  expect(loadsOf(await offered(other, 1))).toEqual([later.id]);
  await settle(other, await offered(other, 1));
  expect(await read(later.id)).toMatchObject({ state: 'completed' });
  // The damaged order was sent in vain: its load ends at its deadline.
  expect(await read(damaged.id)).toMatchObject({ state: 'dispatched', heldSince: null });
  expect((await service.get('/v1/health')).body).toMatchObject({ reasons: expect.arrayContaining([expect.stringContaining('order')]) });
  await sql.run(`DELETE FROM "AgentOrder" WHERE "loadId" = '${damaged.id}'`);
  await sql.close();
});

describe('limits', () => {
  const create = (name: string, maintenanceWindows: unknown) =>
    service.postRaw('/v1/groups', { name, selector: 'none', maintenanceWindows });

  test('a group has up to 10 windows, with known time zones', async () => {
    expect((await create('ten', Array(10).fill(always))).status).toBe(201);
    const eleven = await create('eleven', Array(11).fill(always));
    expect(eleven).toMatchObject({ status: 422, body: { errors: [{ pointer: '/maintenanceWindows' }] } });
    const unknown = await create('unknown', [always, { ...always, timeZone: 'Europe/Atlantis' }]);
    expect(unknown).toMatchObject({ status: 422, body: { errors: [{ pointer: '/maintenanceWindows/1/timeZone' }] } });
  });

  test('up to 100 groups have windows', async () => {
    const { length } = itemsOf(await service.get('/v1/groups?limit=200'));
    for (let index = length; index < 100; index += 1) expect((await create(`group-${index}`, [always])).status).toBe(201);
    const full = { status: 409, body: { type: 'urn:patchbay:problem:too-many-groups' } };
    expect(await create('one-more', [always])).toMatchObject(full);
    expect((await create('without', [])).status).toBe(201);
    const body = { name: 'without', selector: 'none', maintenanceWindows: [always] };
    expect(await service.request('PUT', '/v1/groups/without', body)).toMatchObject(full);
    expect((await service.request('PUT', '/v1/groups/ten', { ...body, name: 'ten' })).status).toBe(200);
  });
});

test('changes of windows are in the audit trail', async () => {
  await setWindows([always, closed()]);
  const { detail } = firstOf(await service.get('/v1/audit?action=group.replaced'));
  expect(Object(detail).after.maintenanceWindows).toMatch(/^sunday,monday,.* 00:00-00:00 UTC; [a-z]+ 00:00-12:00 UTC$/);
});

// On PostgreSQL, the service follows the clock of the database.
test.skipIf(databaseKind !== 'sqlite')('windows open by the clock of the service, not by a wall clock that jumps', async () => {
  const clocked = new TestService();
  const start = performance.now();
  /** Hours that pass on both clocks, and hours that only the wall clock jumps. */
  const shift = { passed: 0, jumped: 0 };
  const monotonic = () => performance.now() + shift.passed * 3_600_000;
  clocked.time = { monotonic, wall: () => Date.parse('2026-06-01T12:00Z') + monotonic() - start + shift.jumped * 3_600_000 };
  clocked.unreachableAfter = 1_000 * 3_600_000;
  await clocked.start();
  clocked.startHost('clocked', 1);
  const [id = ''] = await clocked.connectedDevices(1);
  expect((await clocked.push('tcp', '1.0.0', workModule(1))).status).toBe(201);
  const night = { days: [...days], from: '22:00', until: '04:00', timeZone: 'Europe/Berlin' };
  expect((await clocked.postRaw('/v1/groups', { name: 'all', selector: '!beta', maintenanceWindows: [night] })).status).toBe(201);
  const accepted = await clocked.postRaw('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [id] });
  const path = `/v1/loads?batch=${String(accepted.body['batch'])}` as const;
  expect(firstOf(await clocked.get(path))).toMatchObject({ heldUntil: '2026-06-01T20:00:00.000Z' });
  // The wall clock jumps into the window: the service does not follow at once.
  shift.jumped = 9;
  await until('the jump is noticed', async () => {
    const { body } = await clocked.get('/v1/health');
    return JSON.stringify(body).includes('jumped');
  });
  expect(firstOf(await clocked.get(path))).toMatchObject({ state: 'queued', heldUntil: '2026-06-01T20:00:00.000Z' });
  shift.jumped = 0;
  shift.passed = 8;
  await until('the load has ended', async () => firstOf(await clocked.get(path)).outcome === 'installed');
  await clocked.close();
});
