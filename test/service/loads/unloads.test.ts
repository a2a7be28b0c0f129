// Unloads: loads that remove a module from devices, with a simulated agent.

import { randomUUID } from 'node:crypto';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import type { Order, OrderOf } from '../../../src/protocol/agent.ts';
import { runSql, timeInSql } from '../../databases.ts';
import { Agent, attached, completed, loaded, state } from '../agents/agent.ts';
import { firstOf, itemsOf, TestService } from '../test-service.ts';

let service: TestService;
let agent: Agent;
let device: string;
/** The number of the last order. */
let last: number;

beforeEach(async () => {
  service = await new TestService().start();
  onTestFinished(() => service.close());
  for (const version of ['1.0.0', '1.1.0']) await service.push('tcp', version, `(module (func (export "v${version}")))`);
  agent = new Agent(service);
  agent.capabilities = ['unload-module', 'inject-load', 'cancel-load'];
  await agent.register('rack', ['rack-1', 'rack-2']);
  const attaching = await agent.next(0, 10);
  await agent.report(...attaching.map((order) => attached(order)));
  [device = ''] = itemsOf(await service.get('/v1/devices?sort=name&order=asc')).map(({ id }) => id);
  last = attaching.at(-1)?.sequence ?? 0;
});

async function next(): Promise<Order> {
  const [order] = await agent.next(last, 10);
  if (order === undefined) throw new Error('no order');
  last = order.sequence;
  return order;
}

/** Loads a version of tcp, which gets the address; returns its module table entry. */
async function load(version: string, address = '0x1000') {
  const accepted = await service.post('/v1/loads', {
    module: 'tcp',
    version,
    devices: [device],
    versionPolicy: 'different',
    similarityPolicy: 'off',
  });
  expect(accepted.status).toBe(202);
  const order = await next();
  if (order.kind !== 'load') throw new Error('not a load');
  expect((await agent.report(loaded(order, address))).status).toBe(204);
  return { version, image: order.image, address };
}

async function request(more: object = {}): Promise<{ load: `/v1/loads/${string}`; order: OrderOf<'unload-module'> }> {
  const response = await service.postRaw('/v1/unloads', { module: 'tcp', devices: [device], ...more });
  expect(response).toMatchObject({ status: 202, body: { loads: [{ device }] } });
  const order = await next();
  if (order.kind !== 'unload-module') throw new Error(`not an unload: ${order.kind}`);
  expect(response.headers.get('location')).toBe(`/v1/loads/${order.load}`);
  return { load: `/v1/loads/${order.load}`, order };
}

const read = async (path: `/v1/loads/${string}`) => (await service.get(path)).body;
const history = async () =>
  itemsOf(await service.get(`/v1/devices/${device}/modules/tcp/history`)).map(({ version, removalCause }) => [version, removalCause]);
const eventsOf = async (path: string) =>
  itemsOf(await service.get(`/v1/audit?order=asc&object=${path.split('/').at(-1)}`)).map(({ action, outcome }) => `${action} ${outcome}`);
const drift = async () => (await service.get(`/v1/devices/${device}`)).body.drift;

/** Restarts the host, and returns the modules that it is to restore. */
async function restart(): Promise<unknown> {
  agent.bootId = randomUUID();
  await agent.register('rack', ['rack-1', 'rack-2']);
  const orders = await agent.next(0, 10);
  await agent.report(...orders.filter(({ kind }) => kind === 'attach-device').map((order) => attached(order)));
  last = orders.at(-1)?.sequence ?? 0;
  return orders.flatMap((order) => (order.kind === 'attach-device' && order.device === device ? order.modules : []));
}

test('an unload ends the residency; a restart does not restore the module, and any version can be loaded again', async () => {
  const entry = await load('1.1.0');
  const { load: path, order } = await request({ strategy: 'drain-then-inject', drainMilliseconds: 500, invalidation: 'delete' });
  expect(order).toMatchObject({
    module: 'tcp',
    strategy: 'drain-then-inject',
    drainMilliseconds: 500,
    invalidation: 'delete',
    forceReason: null,
  });
  expect(order.remainingMilliseconds).toBeGreaterThan(86_000_000);
  // The device reports a state without the module before the report of the order.
  await agent.report({ kind: 'device-state', device, state: state() });
  expect([await drift(), await history()]).toEqual([[], [['1.1.0', null]]]);
  const previous = { ...entry, pages: 1, tainted: null };
  const report = completed(order, { outcome: 'unloaded-interrupting', previous, interrupted: 2, failed: 2 });
  for (const _ of [1, 2]) await agent.report(report);
  expect(await read(path)).toMatchObject({
    kind: 'unload',
    build: null,
    patchSet: null,
    module: 'tcp',
    version: '1.1.0',
    forceReason: null,
    outcome: 'unloaded-interrupting',
    interrupted: 2,
    report: { previous: { version: '1.1.0' }, current: null },
  });
  expect(firstOf(await service.get(`/v1/devices/${device}/history`))).toMatchObject({
    removalCause: 'unloaded',
    replacedByLoad: order.load,
    interrupted: 2,
    invalidation: 'delete',
  });
  expect(itemsOf(await service.get(`/v1/devices/${device}/modules`))).toEqual([]);
  expect(itemsOf(await service.get('/v1/devices?module=tcp'))).toEqual([]);
  expect(await drift()).toEqual([]);
  expect(await eventsOf(path)).toEqual(['load.completed succeeded']);
  expect(firstOf(await service.get(`/v1/audit?object=${order.load}`)).detail).toMatchObject({
    kind: 'unload',
    module: 'tcp',
    version: '1.1.0',
    outcome: 'unloaded-interrupting',
  });
  expect((await service.get('/v1/health')).body.loads?.outcomes).toMatchObject({ 'unloaded-interrupting': 1 });
  expect(await restart()).toEqual([]);
  await load('1.0.0');
  expect(await history()).toEqual([
    ['1.0.0', null],
    ['1.1.0', 'unloaded'],
  ]);
  expect(await restart()).toMatchObject([{ module: 'tcp', version: '1.0.0' }]);
});

test('rejects an unload that no device or host can execute, and says why', async () => {
  const unload = (body: object, headers = {}) => service.postRaw('/v1/unloads', { module: 'tcp', ...body }, headers);
  const [, other = ''] = itemsOf(await service.get('/v1/devices?sort=name&order=asc')).map(({ id }) => id);
  const notLoaded = (detail: string) => ({ status: 409, body: { type: 'urn:patchbay:problem:not-loaded', detail } });
  const invalid = (pointer: string) => ({ status: 422, body: { errors: [{ pointer }] } });
  await service.put(`/v1/devices/${device}/labels`, { labels: { zone: 'north' } });
  await service.put(`/v1/devices/${other}/labels`, { labels: { zone: 'north' } });
  expect(await unload({ devices: [device, other] })).toMatchObject(notLoaded('tcp is not loaded on rack-1, rack-2; no load was created'));
  expect(await unload({ labels: { zone: 'north' } })).toMatchObject(notLoaded('tcp is not loaded on rack-1, rack-2; no load was created'));
  expect(await unload({ module: 'udp', devices: [device] })).toMatchObject(invalid('/module'));
  await load('1.0.0');
  expect(await unload({ devices: [device, other] })).toMatchObject(notLoaded('tcp is not loaded on rack-2; no load was created'));
  expect(await unload({ devices: [device], drainMilliseconds: 5 })).toMatchObject(invalid('/drainMilliseconds'));
  expect(await unload({ devices: [device], forceReason: '' })).toMatchObject(invalid('/forceReason'));
  expect(await unload({ devices: [`dev_${'0'.repeat(32)}`] })).toMatchObject(invalid('/devices/0'));
  expect(await unload({ devices: [device] }, { authorization: 'Bearer wrong' })).toMatchObject({ status: 401 });
  // Labels also select a device without the module, which is skipped.
  const forceReason = 'udp is retired';
  const { order, load: path } = await request({ devices: undefined, labels: { zone: 'north' }, forceReason });
  expect(order.forceReason).toBe(forceReason);
  expect(await read(path)).toMatchObject({ forceReason });
  const reason = 'udp@1.0.0 imports tcp.v1: unload udp first, or give a reason to force the unload';
  await agent.report(completed(order, { outcome: 'refused-imported', reason }, { tcp: await inMemory() }));
  expect(await read(path)).toMatchObject({ outcome: 'refused-imported', reason });
  expect(itemsOf(await service.get('/v1/loads?outcome=refused-imported'))).toHaveLength(1);
  expect(await eventsOf(path)).toEqual(['load.completed refused']);
  expect(await history()).toEqual([['1.0.0', null]]);
});

test('a host with an older agent gets no unload, also if the agent is older after a restart', async () => {
  await load('1.0.0');
  const { load: path } = await request();
  agent.capabilities = ['inject-load'];
  expect(await restart()).toMatchObject([{ module: 'tcp' }]);
  expect(await read(path)).toMatchObject({
    outcome: 'failed',
    reason: 'host rack restarted with an agent that does not support the order unload-module: update it',
  });
  expect(await service.post('/v1/unloads', { module: 'tcp', devices: [device] })).toMatchObject({
    status: 409,
    body: {
      type: 'urn:patchbay:problem:unsupported-by-host',
      detail: 'the agent of host rack does not support unloading modules: update it; no load was created',
    },
  });
});

/** Reports that the device has tcp, and a module that imports it. Returns the module table. */
async function importTcp() {
  const { version, image } = (
    await service.push('udp', '1.0.0', '(module (import "tcp" "v1.0.0" (func $call)) (func (export "send") (call $call)))')
  ).body;
  const table = { tcp: await inMemory(), udp: { version: String(version), image: String(image?.digest), address: '0x2000' } };
  await agent.report({ kind: 'device-state', device, state: state(table) });
  return table;
}

test('a dry run forecasts each device that has the module, and creates nothing', async () => {
  await load('1.0.0');
  const preview = async (more: object = {}) => {
    const { status, body } = await service.postRaw('/v1/unloads', { module: 'tcp', selector: 'zone!=x', dryRun: true, ...more });
    return { status, ...body };
  };
  const known = { device, deviceName: 'rack-1', currentVersion: '1.0.0', reachable: true };
  const item = { ...known, held: false, heldUntil: null, skipped: false, warnings: [] };
  const counts = { status: 200, devices: 1, withoutModule: 1, unreachable: 0, skipped: 0, held: 0 };
  expect(await preview()).toEqual({ ...counts, refused: 0, items: [{ ...item, forecast: 'would-unload', reason: null }] });
  const { tcp } = await importTcp();
  const link = 'udp@1.0.0, which is in memory, imports tcp.v1.0.0';
  expect(await preview()).toMatchObject({
    refused: 1,
    items: [
      { forecast: 'refused-imported', reason: expect.stringMatching(`${link}.*unload udp first, or force the unload with a reason`) },
    ],
  });
  const forced = await preview({ forceReason: 'udp is next' });
  expect(forced).toMatchObject({
    refused: 0,
    items: [{ forecast: 'would-unload', reason: null, warnings: [expect.stringContaining(link)] }],
  });
  await agent.report({
    kind: 'device-state',
    device,
    state: state({ tcp, raw: { version: '1.0.0', image: `sha256:${'0'.repeat(64)}`, address: '0x2000' } }),
  });
  expect(await preview()).toMatchObject({
    items: [{ forecast: 'would-unload', reason: expect.stringContaining('the service has no build of raw@1.0.0') }],
  });
  await agent.report({ kind: 'device-state', device, state: state() });
  expect(await preview()).toMatchObject({ refused: 1, items: [{ forecast: 'refused-not-loaded', reason: 'tcp is not in memory' }] });
  expect(await preview({ selector: undefined, devices: ['rack-2'] })).toMatchObject({
    status: 409,
    type: 'urn:patchbay:problem:not-loaded',
  });
  agent.capabilities = ['inject-load'];
  await restart();
  expect(await preview()).toMatchObject({
    refused: 1,
    items: [{ forecast: 'unsupported-by-host', reason: expect.stringContaining('host rack') }],
  });
  // The load of tcp.
  expect(itemsOf(await service.get('/v1/loads'))).toHaveLength(1);
  expect(itemsOf(await service.get('/v1/audit?action=load.requested'))).toHaveLength(1);
});

test('a forecast is uncertain until the device has reported its state', async () => {
  await load('1.0.0');
  agent.bootId = randomUUID();
  await agent.register('rack', ['rack-1', 'rack-2']);
  expect(await service.postRaw('/v1/unloads', { module: 'tcp', devices: [device], dryRun: true })).toMatchObject({
    status: 200,
    body: { items: [{ forecast: 'would-unload', reason: expect.stringContaining('has not reported its state') }] },
  });
});

test('an unload skips unreachable devices on request, and says which; by default it waits', async () => {
  await load('1.0.0');
  const other = new Agent(service);
  other.capabilities = agent.capabilities;
  await other.register('far', ['far-1']);
  await other.report(...(await other.next(0, 10)).map((order) => attached(order)));
  const accepted = await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: ['far-1'] });
  const order = (await other.next(1, 10)).find(({ kind }) => kind === 'load');
  if (order?.kind !== 'load') throw new Error(`no load: ${JSON.stringify(accepted.body)}`);
  await other.report(loaded(order));
  await runSql(service.database, `UPDATE "Host" SET "unreachableSince" = ${timeInSql(Date.now())} WHERE "id" = '${other.host}'`);
  const unload = (more: object) => service.postRaw('/v1/unloads', { module: 'tcp', selector: 'zone!=x', ...more });
  const far = { count: 1, devices: [{ name: 'far-1' }] };
  expect(await unload({ dryRun: true })).toMatchObject({ body: { devices: 2, withoutModule: 1, unreachable: 1, skipped: 0 } });
  const preview = await unload({ dryRun: true, unreachable: 'skip' });
  expect(preview.body).toMatchObject({ devices: 2, unreachable: 1, skipped: 1 });
  expect(
    itemsOf(preview)
      .map(({ deviceName, reachable, skipped }) => [deviceName, reachable, skipped])
      .toSorted(),
  ).toEqual([
    ['far-1', false, true],
    ['rack-1', true, false],
  ]);
  const skipping = await unload({ unreachable: 'skip' });
  expect(skipping).toMatchObject({ status: 202, body: { loads: [{ device }], unreachableDevices: { ...far, skipped: 1 } } });
  const batch = String(skipping.body['batch']);
  expect((await service.get(`/v1/load-batches/${batch}`)).body).toMatchObject({ loads: 1, unreachableDevices: { ...far, skipped: 1 } });
  const [event] = itemsOf(await service.get(`/v1/audit?object=${batch}&action=load.requested`));
  expect(event?.detail).toMatchObject({ devices: 1, unreachable: 'skip', skipped: 1 });
  const waiting = await unload({});
  expect(waiting).toMatchObject({ status: 202, body: { unreachableDevices: { ...far, skipped: 0 } } });
  expect(waiting.body['loads']).toHaveLength(2);
  const refused = await unload({ selector: undefined, devices: ['far-1'], unreachable: 'skip' });
  expect(refused).toMatchObject({ status: 409, body: { type: 'urn:patchbay:problem:all-unreachable' } });
  expect(refused.body['detail']).toContain('the device to unload the module from is unreachable');
});

test('a queued unload can be cancelled and superseded, expires, and is created once for an Idempotency-Key', async () => {
  await load('1.0.0');
  const body = { module: 'tcp', devices: [device] };
  const headers = { 'idempotency-key': randomUUID() };
  const first = await service.post('/v1/unloads', body, headers);
  expect((await service.post('/v1/unloads', body, headers)).body).toEqual(first.body);
  const pathOf = ({ body: { loads } }: { body: { loads?: readonly { id: string }[] | undefined } }): `/v1/loads/${string}` =>
    `/v1/loads/${loads?.[0]?.id}`;
  expect(await service.post(`${pathOf(first)}/cancel` as const, undefined)).toMatchObject({ status: 200, body: { outcome: 'cancelled' } });
  const second = await service.post('/v1/unloads', body);
  const third = await service.post('/v1/loads', { ...body, version: '1.1.0', supersede: true });
  expect(await read(pathOf(second))).toMatchObject({ outcome: 'superseded' });
  const fourth = await service.post('/v1/unloads', { ...body, supersede: true, deadlineSeconds: 1 });
  expect(await read(pathOf(third))).toMatchObject({ outcome: 'superseded' });
  const order = await next();
  expect(order).toMatchObject({ kind: 'unload-module', load: fourth.body.loads?.[0]?.id });
  await agent.report(completed(order, { outcome: 'expired', reason: 'too late' }, { tcp: await inMemory() }));
  expect(await read(pathOf(fourth))).toMatchObject({ outcome: 'expired' });
  expect(await history()).toEqual([['1.0.0', null]]);
});

/** Returns the module table entry of tcp. */
async function inMemory() {
  const { moduleTable } = (await service.get(`/v1/devices/${device}`)).body;
  const entry = moduleTable?.[0];
  if (entry === undefined) throw new Error('not in memory');
  return { version: entry.version, image: entry.image, address: entry.address };
}

test('a draining unload shows its progress, and its revert is in the history', async () => {
  const entry = await load('1.0.0');
  const { load: path, order } = await request({ strategy: 'drain' });
  const draining = { load: order.load, operation: 250 as const, module: 'tcp', previousVersion: '1.0.0', accesses: 1, programs: [] };
  await agent.report({ kind: 'device-state', device, state: { ...state(), draining: { ...draining, waitedMilliseconds: 5 } } });
  expect((await read(path)).progress).toMatchObject({ module: 'tcp', accesses: 1 });
  expect(await service.post(`${path}/inject`, undefined)).toMatchObject({ status: 202 });
  expect(await service.post(`${path}/cancel`, undefined)).toMatchObject({ status: 202 });
  expect(await next()).toMatchObject({ kind: 'inject-load', load: order.load });
  const times = { at: new Date().toISOString(), startedMicroseconds: 0, microseconds: 1 };
  const steps = [
    { step: 'table-updated' as const, operation: 240 as const, ...times, facts: { from: '0x1000', to: null } },
    { step: 'cancelled' as const, operation: null, ...times, facts: { during: 'checked-references' as const, reason: 'cancelled' } },
  ];
  const image = { ...entry, pages: 1, tainted: null };
  await agent.report(
    completed(order, { outcome: 'cancelled', reason: 'cancelled', previous: image, current: image, steps }, { tcp: entry }),
  );
  expect(await read(path)).toMatchObject({ outcome: 'cancelled' });
  expect(await history()).toEqual([
    ['1.0.0', null],
    ['1.0.0', 'unloaded'],
  ]);
  expect(await drift()).toEqual([]);
  expect(await restart()).toMatchObject([{ module: 'tcp', version: '1.0.0' }]);
});

test('a rollback after an unload loads the version that was unloaded; the next one goes further back', async () => {
  await load('1.0.0');
  await load('1.1.0', '0x2000');
  expect(await restart()).toHaveLength(1);
  const { order } = await request();
  await agent.report(completed(order, { outcome: 'unloaded' }));
  const rollBack = async (body: object = {}) =>
    (await service.postRaw(`/v1/devices/${device}/modules/tcp/rollback`, { reason: 'a mistake', ...body })).status;
  expect(await rollBack({ to: '1.1.0' })).toBe(202);
  const named = await next();
  expect(named).toMatchObject({ kind: 'load', version: '1.1.0' });
  await agent.report(completed(named, { outcome: 'failed', reason: 'for the test' }));
  for (const version of ['1.1.0', '1.0.0']) {
    expect(await rollBack()).toBe(202);
    const restored = await next();
    expect(restored).toMatchObject({ kind: 'load', version });
    await agent.report(loaded(restored, '0x3000'));
  }
  expect(await rollBack()).toBe(409);
});

test('a module that the device lost is not restored after an unload that found nothing', async () => {
  await load('1.0.0');
  await agent.report({ kind: 'device-state', device, state: state() });
  expect(await drift()).toMatchObject([{ module: 'tcp', expected: '1.0.0', observed: null }]);
  const { order, load: path } = await request();
  await agent.report(completed(order, { outcome: 'refused-not-loaded', reason: 'tcp is not in memory' }));
  expect(await read(path)).toMatchObject({ outcome: 'refused-not-loaded' });
  expect([await drift(), await history()]).toEqual([[], [['1.0.0', 'drifted']]]);
  expect(await restart()).toEqual([]);
});

test('reports out of order: a load before an unload, and an unload before a load, keep their places in the history', async () => {
  await load('1.0.0');
  const post = (body: object) => service.postRaw('/v1/loads', { module: 'tcp', devices: [device], versionPolicy: 'different', ...body });
  await post({ version: '1.1.0', similarityPolicy: 'off' });
  const replacing = await next();
  const replaced = loaded(replacing, '0x2000');
  const { order: unloading } = await request();
  const unloaded = completed(unloading, { outcome: 'unloaded' });
  await agent.report(unloaded);
  await agent.report(replaced);
  expect(await history()).toEqual([
    ['1.1.0', 'unloaded'],
    ['1.0.0', 'replaced'],
  ]);
  expect([await drift(), await restart()]).toEqual([[], []]);
  await load('1.0.0');
  const { order: overtaken } = await request();
  const late = completed(overtaken, { outcome: 'unloaded' });
  await post({ version: '1.1.0', similarityPolicy: 'off' });
  await agent.report(loaded(await next(), '0x3000'));
  await agent.report(late);
  expect((await history()).slice(0, 2)).toEqual([
    ['1.1.0', null],
    ['1.0.0', 'unloaded'],
  ]);
  expect([await drift(), await restart()]).toMatchObject([[], [{ version: '1.1.0' }]]);
});
