// Devices, loads, programs, history, audit and health over HTTP, with real device hosts.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { itemsOf, type LoadPolicy, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
service.unreachableAfter = 4_000;
let north: string[];
let south: string[];
beforeAll(async () => {
  await service.start();
  service.startHost('north', 3, { zone: 'north' });
  service.startHost('south', 2, { zone: 'south', tier: 'edge' });
  const devices = await service.connectedDevices(5);
  north = devices.slice(0, 3);
  south = devices.slice(3);
});
afterAll(() => service.close());

const endless = 2_000_000_000;

async function referenceCount(device: string, module: string): Promise<number> {
  const { body } = await service.get(`/v1/devices/${device}`);
  const table = Array.isArray(body.moduleTable) ? body.moduleTable : [];
  return table.find((entry: { module: string }) => entry.module === module)?.referenceCount ?? 0;
}

test('lists devices by labels, host and status', async () => {
  const ids = async (query: string) =>
    itemsOf(await service.get(`/v1/devices?${query}`))
      .map(({ id }) => id)
      .toSorted();
  expect(await ids('label=zone=north')).toEqual(north.toSorted());
  expect(await ids('label=zone=south&label=tier=edge')).toEqual(south.toSorted());
  expect(await ids('label=zone=north&label=tier=edge')).toEqual([]);
  const [host] = itemsOf(await service.get('/v1/hosts')).filter(({ name }) => name === 'south');
  expect(host).toMatchObject({ status: 'connected', unreachableSince: null, devices: 2, capacity: 100 });
  expect(await ids(`host=${host?.id}`)).toEqual(south.toSorted());
  expect(await ids('status=connected')).toEqual([...north, ...south].toSorted());
  expect(await ids('status=connected&label=tier=edge')).toEqual(south.toSorted());
  expect(await ids('status=unreachable')).toEqual([]);
  expect((await service.get('/v1/devices?status=lost')).body).toMatchObject({ errors: [{ in: 'query', pointer: '/status' }] });
  expect((await service.get('/v1/devices?label=zone')).status).toBe(422);
  expect((await service.get('/v1/devices?label=zone=a&label=zone=b')).body).toMatchObject({ errors: [{ in: 'query', pointer: '/label' }] });
});

test('loads a build by labels, patches it under a running program, and records every step', async () => {
  await service.push('tcp', '1.0.0', workModule(1));
  await service.push('tcp', '1.1.0', workModule(2));
  const accepted = await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', labels: { zone: 'north' } });
  expect(accepted.status).toBe(202);
  expect(accepted.headers.get('location')).toBe(`/v1/load-batches/${accepted.body.batch}`);
  await until(
    'the first loads are completed',
    async () => itemsOf(await service.get(`/v1/loads?batch=${accepted.body.batch}&state=completed`)).length === 3,
  );

  const running = itemsOf(await service.get('/v1/devices?sort=name')).map(({ name, modules }) => [name, modules]);
  expect(running).toEqual([
    ...[1, 2, 3].map((number) => [`north-${number}`, { tcp: '1.0.0' }]),
    ...[1, 2].map((number) => [`south-${number}`, {}]),
  ]);

  const [device = ''] = north;
  const started = await service.post(`/v1/devices/${device}/programs`, {
    module: 'tcp',
    export: 'work',
    arguments: [endless],
    threads: 7,
    calls: 1,
  });
  expect(started).toMatchObject({
    status: 202,
    body: { name: 'tcp.work', type: { parameters: ['i32'], results: ['i32'] }, arguments: [String(endless)], threads: 7, calls: 1 },
  });
  const program = started.headers.get('location') ?? '';
  await until('seven threads are inside', async () => (await referenceCount(device, 'tcp')) === 7);
  expect((await service.get(program)).body).toMatchObject({ state: 'running', statistics: { threads: 7, callsCompleted: 0 } });

  const [load] = await service.load('tcp', '1.1.0', [device]);
  expect(load).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 7, retried: 7, failed: 0, version: '1.1.0', device });
  const detail = await service.get(`/v1/loads/${load?.id}`);
  expect(detail.body).toMatchObject({
    report: {
      outcome: 'replaced-interrupting',
      previous: { version: '1.0.0', address: '0x1000' },
      current: { version: '1.1.0', address: '0x2000' },
      steps: [
        { step: 'received', operation: 200, facts: { module: 'tcp', version: '1.1.0' } },
        { step: 'looked-up', operation: 210, facts: { address: '0x1000', version: '1.0.0' } },
        { step: 'compared', operation: 220, facts: { precedence: 'newer', similarity: { similar: true } } },
        { step: 'linked', operation: 220, facts: { linkPolicy: 'require', unresolved: [], unresolvedLinks: 0 } },
        { step: 'loaded', operation: 230 },
        { step: 'table-updated', operation: 240, facts: { from: '0x1000', to: '0x2000' } },
        { step: 'checked-references', operation: 250, facts: { referenceCount: 7 } },
        {
          step: 'interrupted',
          operation: 260,
          facts: { accesses: 7, threads: 7, programs: [{ program: started.body.id, threads: 7 }] },
        },
        { step: 'references-reset', operation: 270, facts: { referenceCount: 0, retried: 7, failed: 0 } },
        { step: 'invalidated', operation: 275, facts: { invalidation: 'nx', address: '0x1000' } },
        { step: 'completed', operation: 280, facts: { outcome: 'replaced-interrupting' } },
      ],
    },
  });

  const history = itemsOf(await service.get(`/v1/devices/${device}/modules/tcp/history`));
  expect(history).toMatchObject([
    { version: '1.1.0', load: load?.id, address: '0x2000', removedAt: null, removalCause: null },
    { version: '1.0.0', address: '0x1000', removalCause: 'replaced-interrupting', interrupted: 7 },
  ]);
  expect(history[1]?.removedAt).toBe(history[0]?.installedAt);
  expect((await service.get(`/v1/devices/${device}`)).body).toMatchObject({
    status: 'connected',
    moduleTable: [{ module: 'tcp', version: '1.1.0', address: '0x2000' }],
    memoryMap: {
      pageBytes: 4096,
      pages: 64,
      usedPages: 2,
      ranges: [
        { address: '0x1000', nx: true },
        { address: '0x2000', nx: false },
      ],
    },
  });
  const audit = itemsOf(await service.get(`/v1/audit?object=${load?.id}`));
  expect(audit).toMatchObject([
    {
      action: 'load.completed',
      detail: { device, module: 'tcp', version: '1.1.0', outcome: 'replaced-interrupting', interrupted: 7, failed: 0 },
    },
  ]);

  const stopped = await service.post(`${program}/stop`, undefined);
  expect(stopped).toMatchObject({ status: 202, body: { state: 'stopping' } });
  await until('the program is stopped', async () => (await service.get(program)).body['state'] === 'stopped');
  expect((await service.get(program)).body).toMatchObject({
    statistics: { threads: 0, accessesInterrupted: 7, accessesRetried: 7, callsFailed: 0 },
  });
  expect((await service.post(`${program}/stop`, undefined)).body).toMatchObject({ state: 'stopped' });
});

test('refuses a version that is not newer, with the reason', async () => {
  await service.push('old', '1.0.0', workModule(1));
  await service.push('old', '1.1.0', workModule(2));
  await service.load('old', '1.1.0', south);
  const [load] = await service.load('old', '1.0.0', south);
  expect(load).toMatchObject({
    outcome: 'refused-not-newer',
    reason: 'old@1.0.0 is older than 1.1.0, which is in memory: load a newer version',
  });
  expect(itemsOf(await service.get(`/v1/devices/${south[0]}/modules/old/history`))).toHaveLength(1);
  expect(itemsOf(await service.get('/v1/loads?module=old&outcome=refused-not-newer'))).toHaveLength(2);
});

test('loads an older version with a reason, and a dissimilar version if similarity is not required', async () => {
  const [device = ''] = south;
  const other = '(module (func (export "another") (result i32) (i32.const 1)))';
  await service.push('policy', '1.0.0', workModule(1));
  await service.push('policy', '1.1.0', workModule(2));
  await service.push('policy', '1.2.0', other);
  await service.load('policy', '1.1.0', [device]);
  const downgrade: LoadPolicy = { versionPolicy: 'downgrade', downgradeReason: '1.1.0 drops connections' };
  expect(await service.load('policy', '1.0.0', [device], downgrade)).toMatchObject([{ outcome: 'replaced', ...downgrade }]);
  expect(await service.load('policy', '1.0.0', [device], { versionPolicy: 'different' })).toMatchObject([{ outcome: 'refused-not-newer' }]);
  expect(await service.load('policy', '1.2.0', [device])).toMatchObject([{ outcome: 'refused-dissimilar' }]);
  const [load] = await service.load('policy', '1.2.0', [device], { similarityPolicy: 'warn' });
  expect(load).toMatchObject({ outcome: 'replaced', similarityPolicy: 'warn' });
  expect((await service.get(`/v1/loads/${load?.id}`)).body).toMatchObject({
    report: {
      steps: expect.arrayContaining([
        expect.objectContaining({ step: 'compared', facts: expect.objectContaining({ similarityPolicy: 'warn' }) }),
      ]),
    },
  });
});

test('a load with a drain strategy waits for accesses to exit, and fails or interrupts them after that', async () => {
  const [device = ''] = south;
  for (const version of ['1.0.0', '1.1.0']) await service.push('drained', version, workModule(1));
  await service.load('drained', '1.0.0', [device]);
  const program = await service.post(`/v1/devices/${device}/programs`, {
    module: 'drained',
    export: 'work',
    arguments: [endless],
    threads: 3,
  });
  await until('all threads are inside', async () => (await referenceCount(device, 'drained')) === 3);
  const drain: LoadPolicy = { strategy: 'drain', drainMilliseconds: 50 };
  expect(await service.load('drained', '1.1.0', [device], drain)).toMatchObject([{ outcome: 'failed', ...drain }]);
  expect(await service.load('drained', '1.1.0', [device], { ...drain, strategy: 'drain-then-inject' })).toMatchObject([
    { outcome: 'replaced-interrupting', interrupted: 3, retried: 3 },
  ]);
  await service.post(`${program.headers.get('location')}/stop`, undefined);
});

test('a device runs its loads in order of arrival', async () => {
  const [device = ''] = south;
  const versions = ['1.0.0', '1.1.0', '1.0.5', '1.2.0'];
  for (const [index, version] of versions.entries()) await service.push('turn', version, workModule(index));
  for (const version of versions) await service.post('/v1/loads', { module: 'turn', version, devices: [device] });
  const loads = await until('all are completed', async () => {
    const items = itemsOf(await service.get('/v1/loads?module=turn&state=completed'));
    return items.length === 4 && items;
  });
  const outcomes = new Map(loads.map(({ version, outcome }) => [version, outcome]));
  expect(versions.map((version) => outcomes.get(version))).toEqual(['installed', 'replaced', 'refused-not-newer', 'replaced']);
});

test.each([
  ['no selector', {}, ''],
  ['two selectors', { devices: ['dev_00000000000000000000000000000000'], labels: { zone: 'north' } }, ''],
  ['no devices', { devices: [] }, '/devices'],
  ['an identifier of another kind', { devices: ['lod_00000000000000000000000000000000'] }, '/devices/0'],
  ['an unknown device', { devices: ['dev_00000000000000000000000000000000'] }, '/devices/0'],
  ['labels that no device has', { labels: { zone: 'west' } }, '/labels'],
  ['no labels', { labels: {} }, '/labels'],
  ['an unknown module', { module: 'none', labels: { zone: 'north' } }, '/module'],
  ['an unknown version', { version: '9.9.9', labels: { zone: 'north' } }, '/version'],
  ['a downgrade without a reason', { labels: { zone: 'north' }, versionPolicy: 'downgrade' }, '/downgradeReason'],
  ['a reason without a downgrade', { labels: { zone: 'north' }, downgradeReason: 'why not' }, '/downgradeReason'],
  ['a drain time without a drain strategy', { labels: { zone: 'north' }, drainMilliseconds: 5 }, '/drainMilliseconds'],
  ['an unknown strategy', { labels: { zone: 'north' }, strategy: 'hope' }, '/strategy'],
  ['an unknown invalidation', { labels: { zone: 'north' }, invalidation: 'burn' }, '/invalidation'],
  ['labels of the wrong type', { labels: 'zone=north' }, '/labels'],
])('rejects a load with %s, and creates no load', async (_what, change, pointer) => {
  await service.push('fine', '1.0.0', workModule(1));
  const response = await service.postRaw('/v1/loads', { module: 'fine', version: '1.0.0', ...change });
  expect(response).toMatchObject({
    status: 422,
    body: { errors: expect.arrayContaining([expect.objectContaining({ in: 'body', pointer })]) },
  });
  expect(itemsOf(await service.get('/v1/loads?module=fine'))).toEqual([]);
});

test('rejects a load for unknown devices, names each of them, and creates no load', async () => {
  const unknown = 'dev_ffffffffffffffffffffffffffffffff';
  const response = await service.post('/v1/loads', { module: 'fine', version: '1.0.0', devices: [...north, unknown] });
  expect(response.body.errors).toEqual([{ in: 'body', pointer: '/devices/3', detail: `the device ${unknown} does not exist` }]);
  expect(itemsOf(await service.get('/v1/loads?module=fine'))).toEqual([]);
});

test.each([
  ['a module that is not in memory', { module: 'none', export: 'work' }, 409, 'not-loaded', undefined],
  ['an unknown export', { export: 'rest' }, 422, 'invalid-value', '/export'],
  ['too few arguments', { arguments: [] }, 422, 'invalid-value', '/arguments'],
  ['an argument that is not an integer', { arguments: [1.5] }, 422, 'invalid-value', '/arguments/0'],
  ['an argument out of range', { arguments: ['4294967296'] }, 422, 'invalid-value', '/arguments/0'],
  ['an argument of the wrong type', { arguments: [true] }, 422, 'invalid-value', '/arguments/0'],
  ['no threads', { threads: 0 }, 422, 'invalid-value', '/threads'],
  ['too many threads', { threads: 10_001 }, 422, 'invalid-value', '/threads'],
  ['no calls', { calls: 0 }, 422, 'invalid-value', '/calls'],
])('rejects a program with %s, and creates no program', async (_what, change, status, type, pointer) => {
  const device = south[1] ?? '';
  await service.push('prog', '1.0.0', workModule(1));
  if (itemsOf(await service.get(`/v1/loads?module=prog`)).length === 0) await service.load('prog', '1.0.0', [device]);
  const response = await service.postRaw(`/v1/devices/${device}/programs`, { module: 'prog', export: 'work', arguments: [1], ...change });
  expect(response).toMatchObject({
    status,
    body: { type: `urn:patchbay:problem:${type}`, ...(pointer === undefined ? {} : { errors: [{ pointer }] }) },
  });
  expect(itemsOf(await service.get(`/v1/devices/${device}/programs`))).toEqual([]);
});

test('a program above the thread limit of the host fails with a visible reason', async () => {
  const device = south[1] ?? '';
  await service.push('cap', '1.0.0', workModule(1));
  await service.load('cap', '1.0.0', [device]);
  const start = (threads: number) =>
    service.post(`/v1/devices/${device}/programs`, { module: 'cap', export: 'work', arguments: [1], threads, pauseMilliseconds: 60_000 });
  const first = await start(9_000);
  const second = await start(2_000);
  const path = second.headers.get('location') ?? '';
  await until('the second fails', async () => (await service.get(path)).body['state'] === 'failed');
  expect((await service.get(path)).body['failure']).toMatch(/limit reached \(10000 threads per host/);
  await service.post(`${first.headers.get('location')}/stop`, undefined);
  await until('the first is stopped', async () => (await service.get(first.headers.get('location') ?? '')).body['state'] === 'stopped');
});

test('creates a device on a host, which attaches and runs loads; its name is then taken', async () => {
  const made = await service.post('/v1/devices', { name: 'extra', labels: { zone: 'west' }, ramPages: 32, host: 'south' });
  expect(made).toMatchObject({ status: 201, body: { name: 'extra', labels: { zone: 'west' }, ramPages: 32 } });
  const path = made.headers.get('location') ?? '';
  await until('it is connected', async () => (await service.get(path)).body['status'] === 'connected');
  await service.push('extra', '1.0.0', workModule(1));
  expect(await service.load('extra', '1.0.0', [String(made.body.id)])).toMatchObject([{ outcome: 'installed' }]);
  expect(await service.post('/v1/devices', { name: 'extra' })).toMatchObject({
    status: 409,
    body: { type: 'urn:patchbay:problem:name-taken' },
  });
});

test.each([
  ['a name with spaces', { name: 'my device' }, '/name'],
  ['no name', {}, '/name'],
  ['too little memory', { name: 'small', ramPages: 1 }, '/ramPages'],
  ['a label that is not a string', { name: 'labelled', labels: { a: 1 } }, '/labels/a'],
  [
    'too many labels',
    { name: 'labelled', labels: Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, 'v'])) },
    '/labels',
  ],
  ['an unknown host', { name: 'lost', host: 'nowhere' }, '/host'],
])('rejects a device with %s', async (_what, body, pointer) => {
  expect(await service.postRaw('/v1/devices', body)).toMatchObject({ status: 422, body: { errors: [{ in: 'body', pointer }] } });
});

test('an unknown object is not found', async () => {
  const device = 'dev_00000000000000000000000000000000';
  for (const path of [
    `/v1/devices/${device}`,
    `/v1/devices/${device}/programs`,
    `/v1/devices/${device}/modules/tcp/history`,
    '/v1/loads/lod_00000000000000000000000000000000',
    `/v1/devices/${north[0]}/programs/none`,
  ]) {
    expect(await service.get(path)).toMatchObject({ status: 404, body: { type: 'urn:patchbay:problem:not-found' } });
  }
  expect((await service.post(`/v1/devices/${device}/programs`, { module: 'tcp', export: 'work' })).status).toBe(404);
});

test('the fleet is healthy while every host is connected, and degraded with the reason otherwise', async () => {
  expect((await service.get('/health/live')).body).toEqual({ status: 'live' });
  expect((await service.get('/health/ready')).body).toEqual({ status: 'ready', reasons: [] });
  const stop = service.startHost('leaving', 1);
  const healthy = await until('all three hosts are connected', async () => {
    const { body } = await service.get('/v1/health');
    return JSON.stringify(body.hosts) === JSON.stringify({ connected: 3, unreachable: 0 }) && body.status === 'healthy' && body;
  });
  expect(healthy).toMatchObject({ reasons: [], devices: { attaching: 0, unreachable: 0 }, loads: { queued: 0 } });
  await stop();
  // A busy machine may miss the others for a moment, which is a reason too.
  const health = await until('the fleet is degraded by this host only', async () => {
    const { body } = await service.get('/v1/health');
    return body.status === 'degraded' && body.hosts?.connected === 2 && JSON.stringify(body.reasons).includes('the host leaving') && body;
  });
  expect(itemsOf(await service.get('/v1/devices?status=unreachable'))).toMatchObject([{ name: 'leaving-1' }]);
  expect(health).toMatchObject({
    reasons: ['the host leaving with 1 device is unreachable'],
    hosts: { connected: 2, unreachable: 1 },
    devices: { unreachable: 1 },
  });
});
