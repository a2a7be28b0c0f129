// The module history over HTTP: residencies with their loads and removal causes, module tables at a time, and devices of a build.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { Agent, attached, loaded } from '../agents/agent.ts';
import { bearer, itemsOf, type LoadPolicy, type TestResponse, TestService, until, workModule } from '../test-service.ts';
import type { ResponseBody } from '../typed-paths.ts';

const service = new TestService();
let devices: string[];
let operator: { readonly id: string; readonly headers: Record<string, string> };
let stopRebooting: () => Promise<void>;
beforeAll(async () => {
  await service.start();
  service.startHost('north', 2, { zone: 'north' });
  await service.connectedDevices(2);
  stopRebooting = service.startHost('rebooting', 1);
  devices = await service.connectedDevices(3);
  const { body } = await service.post('/v1/keys', { name: 'operator', role: 'operator' });
  operator = { id: String(body.id), headers: bearer(String(body.secret)) };
});
afterAll(() => service.close());

const endless = 2_000_000_000;

/** Loads a version on a device as the operator. Returns the load with its outcome. */
async function load(device: string, module: string, version: string, policy: LoadPolicy = {}) {
  await service.push(module, version, workModule(1));
  const accepted = await service.post('/v1/loads', { module, version, devices: [device], ...policy }, operator.headers);
  return until('the load has an outcome', async () => {
    const { body } = await service.get(`/v1/loads/${accepted.body.loads?.[0]?.id}`);
    return body.outcome !== null && body;
  });
}

const historyOf = async (device: string, module: string) =>
  itemsOf(await service.get(`/v1/devices/${device}/modules/${module}/history?order=asc`));

/** Returns the time of a step in the report. */
function timeOf({ report }: Pick<ResponseBody<'/v1/loads/{load}', 'get'>, 'report'>, step: Schemas['Step']['step']): string | undefined {
  return report?.steps.find((reported) => reported.step === step)?.at;
}

test('each residency has its requester, address and removal cause, reverted swaps included', async () => {
  const [device = ''] = devices;
  const first = await load(device, 'tcp', '1.0.0');
  const program = { module: 'tcp', export: 'work', arguments: [endless], threads: 3 };
  const started = await service.post(`/v1/devices/${device}/programs`, program);
  await until('the threads are inside', async () =>
    JSON.stringify((await service.get(`/v1/devices/${device}`)).body).includes('"referenceCount":3'),
  );
  const tried = await load(device, 'tcp', '1.1.0', { strategy: 'drain', drainMilliseconds: 50 });
  const second = await load(device, 'tcp', '1.2.0', { invalidation: 'mark-invalid' });
  await service.post(`${started.headers.get('location')}/stop`, undefined);
  const third = await load(device, 'tcp', '1.3.0', { strategy: 'drain', invalidation: 'delete' });
  expect([first, tried, second, third]).toMatchObject([
    { outcome: 'installed', requestedBy: operator.id },
    { outcome: 'failed' },
    { outcome: 'replaced-interrupting' },
    { outcome: 'replaced' },
  ]);

  const [swap, end] = [timeOf(tried, 'table-updated'), timeOf(tried, 'failed')];
  const none = { removedAt: null, removalCause: null, replacedByLoad: null, invalidation: null, interrupted: null };
  const by = { module: 'tcp', requestedBy: operator.id, pages: 1 };
  const old = { ...by, version: '1.0.0', load: first['id'], address: '0x1000', lastAddress: '0x1fff' };
  expect(await historyOf(device, 'tcp')).toMatchObject([
    {
      ...old,
      installedAt: timeOf(first, 'table-updated'),
      removedAt: swap,
      removalCause: 'replaced',
      replacedByLoad: tried['id'],
      invalidation: 'none',
      interrupted: 0,
    },
    {
      ...by,
      version: '1.1.0',
      load: tried['id'],
      address: '0x2000',
      lastAddress: '0x2fff',
      installedAt: swap,
      removedAt: end,
      removalCause: 'reverted',
      replacedByLoad: null,
      invalidation: 'mark-invalid',
    },
    {
      ...old,
      installedAt: end,
      removedAt: timeOf(second, 'table-updated'),
      removalCause: 'replaced-interrupting',
      replacedByLoad: second['id'],
      invalidation: 'mark-invalid',
      interrupted: 3,
    },
    {
      ...by,
      version: '1.2.0',
      load: second['id'],
      removedAt: timeOf(third, 'table-updated'),
      removalCause: 'replaced',
      replacedByLoad: third['id'],
      invalidation: 'delete',
      interrupted: 0,
    },
    { ...by, version: '1.3.0', load: third['id'], installedAt: timeOf(third, 'table-updated'), ...none },
  ]);
  expect(Date.parse(String(end))).toBeGreaterThan(Date.parse(String(swap)));
});

test('lists the module table of a device at any time', async () => {
  const device = devices[1] ?? '';
  const begin = new Date().toISOString();
  await load(device, 'a', '1.0.0');
  await load(device, 'b', '1.0.0');
  await load(device, 'a', '1.1.0');
  const [old, newer] = await historyOf(device, 'a');
  const [other] = await historyOf(device, 'b');
  const at = async (time: unknown) => {
    const items = itemsOf(await service.get(`/v1/devices/${device}/modules?at=${time}`));
    return items.map(({ module, version }) => `${module}@${version}`);
  };
  const before = (time: unknown) => new Date(Date.parse(String(time)) - 1).toISOString();
  for (const time of ['0000-01-01T00:00:00Z', '2000-01-01T00:00:00Z']) expect(await at(time)).toEqual([]);
  expect(await at(before(begin))).toEqual([]);
  expect(await at(old?.installedAt)).toContain('a@1.0.0');
  expect(await at(before(newer?.installedAt))).toEqual(['a@1.0.0', 'b@1.0.0']);
  expect(await at(newer?.installedAt)).toEqual(['a@1.1.0', 'b@1.0.0']);
  expect(await at(String(newer?.installedAt).replace('Z', '999Z'))).toEqual(['a@1.1.0', 'b@1.0.0']);
  expect(await at('2100-01-01T00:00:00Z')).toEqual(['a@1.1.0', 'b@1.0.0']);
  const now = await service.get(`/v1/devices/${device}/modules`);
  expect(itemsOf(now)).toEqual([newer, other]);
  const page = await service.get(`/v1/devices/${device}/modules?limit=1`);
  expect(itemsOf(page)).toEqual([newer]);
  expect(itemsOf(await service.get(`/v1/devices/${device}/modules?limit=1&cursor=${page.body.next}`))).toEqual([other]);
  const all = itemsOf(await service.get(`/v1/devices/${device}/history?order=asc`));
  expect(all.map(({ module, version }) => `${module}@${version}`)).toEqual(['a@1.0.0', 'b@1.0.0', 'a@1.1.0']);
  for (const path of ['modules', 'history'])
    expect((await service.get(`/v1/devices/dev_00000000000000000000000000000000/${path}`)).status).toBe(404);
  expect((await service.get(`/v1/devices/${device}/modules?at=yesterday`)).body).toMatchObject({
    errors: [{ in: 'query', pointer: '/at' }],
  });
});

test('lists devices that run a build, ran it, or no longer run it', async () => {
  const [north1 = '', north2 = ''] = devices;
  for (const device of [north1, north2]) await load(device, 'where', '1.0.0');
  await load(north2, 'where', '1.1.0');
  await load(north2, 'where', '1.0.0', { versionPolicy: 'downgrade', downgradeReason: 'there and back' });
  await load(north1, 'where', '1.1.0');
  await service.push('where', '2.0.0', workModule(2));
  const of = (version: string, query = '') => service.get(`/v1/modules/where/builds/${version}/devices?${query}`);
  const ids = async (version: string, query = '') => itemsOf(await of(version, query)).map(({ device }) => device);
  const byIdentifier = [north1, north2].toSorted();
  expect(await ids('1.0.0')).toEqual(byIdentifier);
  expect(await ids('1.0.0', 'running=true')).toEqual([north2]);
  expect(await ids('1.0.0', 'running=false')).toEqual([north1]);
  expect(await ids('1.1.0', 'running=true')).toEqual([north1]);
  expect(await ids('1.1.0', 'running=false')).toEqual([north2]);
  expect(await ids('2.0.0')).toEqual([]);
  const [first, , last] = await historyOf(north2, 'where');
  const [removed] = await historyOf(north1, 'where');
  const items = itemsOf(await of('1.0.0'));
  expect(items.find(({ device }) => device === north2)).toEqual({
    device: north2,
    deviceName: 'north-2',
    firstInstalledAt: first?.installedAt,
    lastInstalledAt: last?.installedAt,
    removedAt: null,
    residencies: 2,
  });
  expect(items.find(({ device }) => device === north1)).toMatchObject({
    deviceName: 'north-1',
    removedAt: removed?.removedAt,
    residencies: 1,
  });
  const page = await of('1.0.0', 'limit=1');
  expect(itemsOf(page)).toEqual(items.slice(0, 1));
  expect(await ids('1.0.0', `limit=1&cursor=${page.body.next}`)).toEqual(byIdentifier.slice(1));
  expect((await of('3.0.0')).status).toBe(404);
  expect((await of('1.0.0', 'running=maybe')).body).toMatchObject({ errors: [{ in: 'query', pointer: '/running' }] });
});

test('a version restored after a restart of its host is a new residency without a load', async () => {
  const device = devices[2] ?? '';
  const first = await load(device, 'kept', '1.0.0');
  await stopRebooting();
  stopRebooting = service.startHost('rebooting', 1);
  const [before, after] = await until('the version is restored', async () => {
    const residencies = await historyOf(device, 'kept');
    return residencies.length === 2 && residencies;
  });
  expect(before).toMatchObject({ load: first['id'], removalCause: 'reboot', replacedByLoad: null, invalidation: null, interrupted: 0 });
  expect(after).toMatchObject({ version: '1.0.0', load: null, requestedBy: null, removedAt: null });
  expect(Date.parse(String(after?.installedAt))).toBeGreaterThanOrEqual(Date.parse(String(before?.removedAt)));
});

test('a late report of a disconnected host is recorded with the times of its device', async () => {
  const agent = new Agent(service);
  await agent.register('cut-off', ['cut-off-1']);
  await agent.connect();
  const [attach] = await agent.order('attach-device');
  if (attach === undefined) throw new Error('no order');
  await agent.report(attached(attach));
  await service.push('late', '1.0.0', workModule(1));
  const requested = await service.post('/v1/loads', { module: 'late', version: '1.0.0', devices: [attach.device] });
  const [order] = await agent.order('load');
  if (order === undefined) throw new Error('no order');
  const { requestedAt } = (await service.get(requested.headers.get('location') ?? '')).body;
  const swappedAt = new Date(Date.parse(String(requestedAt)) + 1).toISOString();
  const report = loaded(order);
  const swap: Schemas['Step'] = {
    step: 'table-updated',
    operation: 240,
    at: swappedAt,
    startedMicroseconds: 0,
    microseconds: 1,
    facts: { from: null, to: '0x1000' },
  };
  // The device has swapped the module; its report arrives later.
  await until('time has passed', async () => Date.now() > Date.parse(swappedAt) + 20);
  expect((await agent.report({ ...report, result: { ...report.result, steps: [swap] } })).status).toBe(204);
  expect(await historyOf(attach.device, 'late')).toMatchObject([{ installedAt: swappedAt, load: orderLoad(requested) }]);

  // After a reboot, the device does not run the build until it is attached again.
  const running = async () => itemsOf(await service.get('/v1/modules/late/builds/1.0.0/devices?running=true')).map(({ device }) => device);
  expect(await running()).toEqual([attach.device]);
  agent.disconnect();
  agent.bootId = randomUUID();
  await agent.register('cut-off', ['cut-off-1']);
  expect(await running()).toEqual([]);
});

/** Returns the identifier of the only load of a request. */
function orderLoad({ body }: TestResponse<ResponseBody<'/v1/loads', 'post'>>): string | undefined {
  return body.loads?.[0]?.id;
}
