// Drift: the modules of a device differ from the records of the service, as after a restored backup. The service reports it and corrects its records.

import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { createPostgresql, kind } from '../../databases.ts';
import { itemsOf, type LoadPolicy, TestService, until, workModule } from '../test-service.ts';
import { Agent, attached, loaded, state } from './agent.ts';

let service: TestService;
beforeEach(async () => {
  service = await new TestService().start();
});
afterEach(() => service.close());

/** Stops the service while its database is copied. Returns a function that restarts the service with the copy. */
async function backUp(): Promise<() => Promise<void>> {
  await service.stop();
  const copy = await copyOf(service.database);
  await service.start();
  return async () => {
    await service.stop();
    service.database = copy;
    await service.start();
  };
}

async function copyOf(database: string): Promise<string> {
  if (kind === 'postgresql') return createPostgresql(new URL(database).pathname.slice(1));
  const copy = join(service.folder, 'backup.db');
  cpSync(database, copy);
  return copy;
}

const versions = ['1.0.0', '1.1.0', '1.2.0'] as const;
async function pushAll(): Promise<void> {
  for (const [index, version] of versions.entries()) await service.push('tcp', version, workModule(index));
}

const deviceOf = async (id: string) => (await service.get(`/v1/devices/${id}`)).body;
const historyOf = async (id: string) => itemsOf(await service.get(`/v1/devices/${id}/modules/tcp/history`));
const drifted = async () => itemsOf(await service.get('/v1/audit?action=device.drifted'));
const health = async () => (await service.get('/v1/health')).body;

/** Waits until the history has this version on the device. */
async function untilRuns(device: string, version: string): Promise<void> {
  await until(`the history has ${version}`, async () => {
    const [newest] = await historyOf(device);
    return newest?.version === version && newest.removedAt === null;
  });
}

async function rollBack(device: string): Promise<unknown> {
  const accepted = await service.post('/v1/rollbacks', { module: 'tcp', devices: [device], reason: 'it drops packets' });
  expect(accepted.status).toBe(202);
  const [load] = await until('the rollback has an outcome', async () => {
    const items = itemsOf(await service.get(`/v1/loads?batch=${accepted.body.batch}`));
    return items.every(({ state }) => state === 'completed') && items;
  });
  return load;
}

test('after a restore of a backup from before a load, the service detects the version on the device, and a rollback starts from it', async () => {
  service.startHost('host', 1);
  const [device = ''] = await service.connectedDevices(1);
  await pushAll();
  for (const version of ['1.0.0', '1.1.0']) await service.load('tcp', version, [device]);
  const restore = await backUp();
  await service.connectedDevices(1);
  await service.load('tcp', '1.2.0', [device]);
  await restore();

  await untilRuns(device, '1.2.0');
  expect(await historyOf(device)).toMatchObject([
    { version: '1.2.0', source: 'observed', load: null, requestedBy: null, removedAt: null },
    { version: '1.1.0', source: 'load', removalCause: 'drifted', replacedByLoad: null },
    { version: '1.0.0', source: 'load', removalCause: 'replaced' },
  ]);
  expect(await drifted()).toMatchObject([
    { object: device, detail: { module: 'tcp', expected: '1.1.0', observed: '1.2.0', resolved: false } },
  ]);
  expect(await deviceOf(device)).toMatchObject({
    modules: { tcp: '1.2.0' },
    drift: [{ module: 'tcp', expected: '1.1.0', observed: '1.2.0' }],
  });
  expect(itemsOf(await service.get('/v1/devices?module=tcp&version=1.2.0'))).toMatchObject([
    { id: device, drift: [{ expected: '1.1.0' }] },
  ]);
  expect(await health()).toMatchObject({ status: 'degraded', reasons: [expect.stringContaining('host-1 (tcp@1.2.0, expected 1.1.0)')] });

  expect(await rollBack(device)).toMatchObject({ version: '1.1.0', outcome: 'replaced' });
  expect(await deviceOf(device)).toMatchObject({ modules: { tcp: '1.1.0' }, drift: [] });
  expect(await health()).toMatchObject({ status: 'healthy', reasons: [] });
  expect(await rollBack(device)).toMatchObject({ version: '1.0.0', outcome: 'replaced' });
  expect(await drifted()).toHaveLength(1);
});

test('drift is resolved when an operator requests a load of the version that the device has, although the load is refused', async () => {
  service.startHost('host', 1);
  const [device = ''] = await service.connectedDevices(1);
  await pushAll();
  await service.load('tcp', '1.0.0', [device]);
  const restore = await backUp();
  await service.connectedDevices(1);
  await service.load('tcp', '1.1.0', [device]);
  await restore();
  await untilRuns(device, '1.1.0');
  expect(await service.load('tcp', '1.0.0', [device])).toMatchObject([{ outcome: 'refused-not-newer' }]);
  expect(await deviceOf(device)).toMatchObject({ drift: [{ module: 'tcp' }] });
  expect(await service.load('tcp', '1.1.0', [device])).toMatchObject([{ outcome: 'refused-not-newer' }]);
  expect(await deviceOf(device)).toMatchObject({ drift: [] });
  expect(await health()).toMatchObject({ status: 'healthy' });
});

test('a host that is not in the restored database registers again, and its devices keep their modules', async () => {
  await pushAll();
  const restore = await backUp();
  service.startHost('host', 1);
  const [before = ''] = await service.connectedDevices(1);
  await service.load('tcp', '1.0.0', [before]);
  await restore();
  const [device = ''] = await service.connectedDevices(1);
  expect(device).not.toBe(before);
  await untilRuns(device, '1.0.0');
  expect(await historyOf(device)).toMatchObject([{ version: '1.0.0', source: 'observed', removedAt: null }]);
  expect(await deviceOf(device)).toMatchObject({ drift: [{ module: 'tcp', expected: null, observed: '1.0.0' }] });
  expect(await service.load('tcp', '1.1.0', [device])).toMatchObject([{ outcome: 'replaced' }]);
  expect(await health()).toMatchObject({ status: 'healthy' });
});

test('a restored backup from before a restart of the host does not change the modules and programs of its device', async () => {
  const stop = service.startHost('host', 1);
  const [device = ''] = await service.connectedDevices(1);
  await pushAll();
  await service.load('tcp', '1.0.0', [device]);
  const restore = await backUp();
  await service.connectedDevices(1);
  await stop();
  service.startHost('host', 1);
  await service.connectedDevices(1);
  await service.load('tcp', '1.1.0', [device]);
  await service.post(`/v1/devices/${device}/programs`, { module: 'tcp', export: 'work', arguments: [5] });
  const running = async () =>
    itemsOf(await service.get(`/v1/devices/${device}/programs`)).filter(({ state }) => state === 'running').length;
  await until('the program runs', async () => (await running()) === 1);
  await restore();

  await untilRuns(device, '1.1.0');
  expect(await historyOf(device)).toMatchObject([
    { version: '1.1.0', source: 'observed', removedAt: null },
    { version: '1.0.0', source: 'load', removalCause: 'reboot' },
  ]);
  expect(await deviceOf(device)).toMatchObject({
    attachFailure: null,
    modules: { tcp: '1.1.0' },
    drift: [{ expected: '1.0.0', observed: '1.1.0' }],
  });
  expect(await rollBack(device)).toMatchObject({ version: '1.0.0', outcome: 'replaced' });
});

test('drift of an unexpected module is resolved when a restart removes the module', async () => {
  const stop = service.startHost('host', 1);
  const [device = ''] = await service.connectedDevices(1);
  await pushAll();
  await service.load('tcp', '1.0.0', [device]);
  const restore = await backUp();
  await service.connectedDevices(1);
  await service.push('udp', '1.0.0', workModule(7));
  await service.load('udp', '1.0.0', [device]);
  await restore();
  await until('the drift is detected', async () => (await drifted()).length === 1);
  expect(await deviceOf(device)).toMatchObject({ drift: [{ module: 'udp', expected: null, observed: '1.0.0' }] });
  const restart = async (last: () => Promise<void>) => {
    await last();
    const attachments = itemsOf(await service.get('/v1/audit?action=device.attached')).length;
    const next = service.startHost('host', 1);
    await until('the device is attached', async () => itemsOf(await service.get('/v1/audit?action=device.attached')).length > attachments);
    return next;
  };
  const stopAgain = await restart(stop);
  expect(await deviceOf(device)).toMatchObject({ modules: { tcp: '1.0.0' }, drift: [], attachFailure: null });
  expect(await health()).toMatchObject({ status: 'healthy', reasons: [] });
  expect(await drifted()).toMatchObject([{ detail: { module: 'udp', expected: null, observed: null, resolved: true } }, {}]);
  // The next restart does not restore the module either.
  await restart(stopAgain);
  expect(await deviceOf(device)).toMatchObject({ modules: { tcp: '1.0.0' }, drift: [], attachFailure: null });
  expect(await health()).toMatchObject({ status: 'healthy', reasons: [] });
  expect(await drifted()).toHaveLength(2);
});

const image = (digit: string) => `sha256:${digit.repeat(64)}`;
const table = (version: string, digit: string, address = '0x1000') => ({ tcp: { version, image: image(digit), address } });

/** Returns an agent with one attached device. */
async function connectedAgent(): Promise<{ readonly agent: Agent; readonly device: string }> {
  const agent = new Agent(service);
  await agent.register('agent', ['d1']);
  await agent.connect();
  const [attach] = await agent.order('attach-device');
  if (attach === undefined) throw new Error('no order');
  await agent.report(attached(attach));
  return { agent, device: attach.device };
}

async function requestLoad(version: string, device: string): Promise<string> {
  const accepted = await service.post('/v1/loads', { module: 'tcp', version, devices: [device] });
  return accepted.headers.get('location') ?? '';
}

test('a change by a load in progress is not drift', async () => {
  const { agent, device } = await connectedAgent();
  await pushAll();
  await requestLoad('1.0.0', device);
  const [order] = await agent.order('load');
  if (order?.kind !== 'load') throw new Error('no order');
  const swapped = state({ tcp: { version: order.version, image: order.image, address: '0x1000' } });
  await agent.report({ kind: 'device-state', device, state: swapped });
  expect(await drifted()).toEqual([]);
  await agent.report(loaded(order));
  expect(await drifted()).toEqual([]);
  expect(await historyOf(device)).toMatchObject([{ version: '1.0.0', source: 'load' }]);
  agent.disconnect();
});

test('a missing module is drift until it is present again', async () => {
  const { agent, device } = await connectedAgent();
  await pushAll();
  await requestLoad('1.0.0', device);
  const [order] = await agent.order('load');
  if (order?.kind !== 'load') throw new Error('no order');
  await agent.report(loaded(order));
  for (let times = 0; times < 2; times += 1) await agent.report({ kind: 'device-state', device, state: state() });
  expect(await drifted()).toMatchObject([{ detail: { module: 'tcp', expected: '1.0.0', observed: null } }]);
  expect(await historyOf(device)).toMatchObject([{ version: '1.0.0', removalCause: 'drifted' }]);
  expect(await deviceOf(device)).toMatchObject({ modules: {}, drift: [{ module: 'tcp', expected: '1.0.0', observed: null }] });
  expect((await health()).reasons).toContainEqual(expect.stringContaining('d1 (tcp, expected 1.0.0)'));
  const { version, image: digest } = order;
  await agent.report({ kind: 'device-state', device, state: state({ tcp: { version, image: digest, address: '0x1000' } }) });
  expect(await drifted()).toMatchObject([{ detail: { expected: '1.0.0', observed: '1.0.0', resolved: true } }, {}]);
  expect(await historyOf(device)).toMatchObject([{ version: '1.0.0', source: 'observed', removedAt: null }, { removalCause: 'drifted' }]);
  expect(await deviceOf(device)).toMatchObject({ drift: [] });
  agent.disconnect();
});

test('drift of an unexpected module is resolved when the module is removed', async () => {
  const { agent, device } = await connectedAgent();
  await agent.report({ kind: 'device-state', device, state: state(table('1.0.0', 'a')) });
  expect(await deviceOf(device)).toMatchObject({ drift: [{ expected: null, observed: '1.0.0' }] });
  for (let times = 0; times < 2; times += 1) await agent.report({ kind: 'device-state', device, state: state() });
  expect(await deviceOf(device)).toMatchObject({ modules: {}, drift: [] });
  expect(await drifted()).toMatchObject([{ detail: { expected: null, observed: null, resolved: true } }, {}]);
  expect(await historyOf(device)).toMatchObject([{ version: '1.0.0', removalCause: 'drifted' }]);
  await agent.report({ kind: 'device-state', device, state: state(table('1.0.0', 'a')) });
  expect(await deviceOf(device)).toMatchObject({ modules: { tcp: '1.0.0' }, drift: [{ expected: null, observed: '1.0.0' }] });
  await agent.report({ kind: 'device-state', device, state: state() });
  expect(await deviceOf(device)).toMatchObject({ modules: {}, drift: [] });
  agent.disconnect();
  // The next boot does not restore the module.
  const again = new Agent(service);
  await again.register('agent', ['d1']);
  await again.connect();
  expect(await again.order('attach-device')).toMatchObject([{ device, modules: [] }]);
  again.disconnect();
});

test('a device that drifts several times is expected to have its first version', async () => {
  const { agent, device } = await connectedAgent();
  for (const [version, digit] of [
    ['1.0.0', 'a'],
    ['1.1.0', 'b'],
    // The same version with another image is drift too.
    ['1.1.0', 'c'],
  ] as const)
    await agent.report({ kind: 'device-state', device, state: state(table(version, digit)) });
  expect(await drifted()).toMatchObject([
    { detail: { expected: null, observed: '1.1.0', image: image('c') } },
    { detail: { expected: null, observed: '1.1.0', image: image('b') } },
    { detail: { expected: null, observed: '1.0.0', image: image('a') } },
  ]);
  expect(await deviceOf(device)).toMatchObject({ drift: [{ expected: null, observed: '1.1.0' }] });
  agent.disconnect();
});

test('a late report with an old state does not hide the current version of the device', async () => {
  const { agent, device } = await connectedAgent();
  await pushAll();
  await requestLoad('1.1.0', device);
  const [order] = await agent.order('load');
  if (order === undefined) throw new Error('no order');
  const late = loaded(order);
  await agent.report({ kind: 'device-state', device, state: { ...state(table('1.2.0', 'c', '0x3000')), sequence: 1_000_000 } });
  await agent.report({ ...late, state: { ...late.state, sequence: 999_999 } });
  const [now, before] = await historyOf(device);
  expect(now).toMatchObject({ version: '1.2.0', source: 'observed', removedAt: null });
  expect(before).toMatchObject({ version: '1.1.0', source: 'load', removalCause: 'drifted' });
  agent.disconnect();
});

test.each([
  ['in one batch', true],
  ['in two batches', false],
])('loads reported in the wrong order, %s, are in the history in the order of their states', async (_, isOneBatch) => {
  const { agent, device } = await connectedAgent();
  await pushAll();
  const locations: string[] = [];
  for (const version of versions) locations.push(await requestLoad(version, device));
  const orders = await agent.order('load', 3);
  // Everything is done before the first report arrives: no time is later than its report.
  const begin = Date.now() - orders.length;
  const reports = orders
    .map((order, index) => {
      const report = loaded(order, `0x${index + 1}000`);
      const at = new Date(begin + index).toISOString();
      const facts = { from: null, to: `0x${index + 1}000` };
      const swap: Schemas['Step'] = { step: 'table-updated', operation: 240, at, startedMicroseconds: 1, microseconds: 1, facts };
      return { ...report, result: { ...report.result, steps: [swap] } };
    })
    .toReversed();
  if (isOneBatch) await agent.report(...reports);
  else for (const report of reports) await agent.report(report);
  const [first, second, third] = locations.map((location) => location.split('/').at(-1));
  const entries = await historyOf(device);
  expect(entries).toMatchObject([
    { version: '1.2.0', load: third, removedAt: null },
    { version: '1.1.0', load: second, removalCause: 'replaced', replacedByLoad: third },
    { version: '1.0.0', load: first, removalCause: 'replaced', replacedByLoad: second },
  ]);
  expect(entries.slice(1).map(({ removedAt }) => removedAt)).toEqual(entries.slice(0, -1).map(({ installedAt }) => installedAt));
  expect(await deviceOf(device)).toMatchObject({ modules: { tcp: '1.2.0' }, drift: [] });
  expect(await drifted()).toEqual([]);
  expect((await health()).reasons).not.toContainEqual(expect.stringContaining('tcp'));
  for (const location of locations) expect((await service.get(location)).body).toMatchObject({ state: 'completed', outcome: 'installed' });
  agent.disconnect();
});

const downgrade: LoadPolicy = { versionPolicy: 'downgrade', downgradeReason: 'it drops packets' };

test('a load between two loads of the same version keeps its place in the history', async () => {
  const { agent, device } = await connectedAgent();
  await pushAll();
  await requestLoad('1.0.0', device);
  const [first] = await agent.order('load');
  if (first?.kind !== 'load') throw new Error('no order');
  await agent.report(loaded(first));
  await requestLoad('1.1.0', device);
  await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [device], ...downgrade });
  const reports = (await agent.order('load', 3)).slice(1).map((order) => loaded(order));
  const { version, image: digest } = first;
  await agent.report({ kind: 'device-state', device, state: state({ tcp: { version, image: digest, address: '0x1000' } }) });
  for (const report of reports) await agent.report(report);
  expect((await historyOf(device)).map((entry) => entry.version)).toEqual(['1.0.0', '1.1.0', '1.0.0']);
  expect(await drifted()).toEqual([]);
  agent.disconnect();
});

test('orders with reused numbers after a restore reach an agent that has seen higher numbers', async () => {
  const { agent, device } = await connectedAgent();
  await pushAll();
  const restore = await backUp();
  await agent.connect();
  let newest = 0;
  for (const version of ['1.0.0', '1.1.0'] as const) {
    await requestLoad(version, device);
    const orders = await agent.order('load', 1);
    const order = orders.at(-1);
    if (order === undefined) throw new Error('no order');
    agent.orders.length = 0;
    newest = order.sequence;
    await agent.report(loaded(order, `0x${newest}000`));
  }
  await restore();

  const load = await requestLoad('1.2.0', device);
  const next = await agent.next(newest, 20);
  expect(next).toMatchObject([{ kind: 'load', version: '1.2.0' }]);
  expect(next[0]?.sequence).toBeLessThanOrEqual(newest);
  expect((await service.get(load)).body).toMatchObject({ state: 'dispatched' });
  // It was just offered and is not offered again at once.
  expect(await agent.next(newest, 0)).toEqual([]);
  await agent.connect({ 'last-event-id': String(newest) });
  expect(await agent.order('load')).toMatchObject([{ version: '1.2.0' }]);
  agent.disconnect();
});
