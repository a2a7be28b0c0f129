// Metrics: known work changes each family by the expected amount, and no label value comes from a client.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { defaultLimits } from '../../../src/service/http/request-limits.ts';
import { Agent, attached, loaded } from '../agents/agent.ts';
import { bearer, firstOf, itemsOf, TestService, until, workModule } from '../test-service.ts';
import { type Family, readExposition } from './exposition.ts';

let service: TestService;
let agent: Agent;
beforeEach(async () => {
  service = await new TestService().start();
  agent = new Agent(service);
});
afterEach(async () => {
  agent.disconnect();
  await service.close();
});

type Scrape = (name: string, labels?: Readonly<Record<string, string>>) => number;

async function families(): Promise<Map<string, Family>> {
  const { status, headers, body } = await service.get('/metrics');
  expect(status).toBe(200);
  expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  return readExposition(String(body.text));
}

/** Returns the sum of the samples with this name and these labels; 0 without samples. */
async function scrape(): Promise<Scrape> {
  const samples = [...(await families()).values()].flatMap((family) => family.samples);
  return (name, labels = {}) => {
    const some = samples.filter(
      (sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels.get(key) === value),
    );
    return some.reduce((sum, { value }) => sum + value, 0);
  };
}

/** Returns the change of a sample between two scrapes. */
const since =
  (before: Scrape, after: Scrape): Scrape =>
  (name, labels) =>
    after(name, labels) - before(name, labels);

test('measures loads, steps, accesses, programs and devices', async () => {
  service.startHost('host', 2);
  const devices = await service.connectedDevices(2);
  for (const version of ['1.0.0', '1.1.0']) await service.push('tcp', version, workModule(1));
  const before = await scrape();
  expect(before('patchbay_loads_completed_total')).toBe(0);
  expect(before('patchbay_hosts', { status: 'connected' })).toBe(1);
  expect(before('patchbay_devices', { status: 'connected' })).toBe(2);
  expect(before('patchbay_order_streams')).toBe(1);

  await service.load('tcp', '1.0.0', devices);
  const [device] = devices;
  const program = { module: 'tcp', export: 'work', arguments: [2_000_000_000], threads: 7, calls: 1 };
  await service.post(`/v1/devices/${device}/programs`, program);
  await until('seven threads are inside', async () => {
    const table = (await service.get(`/v1/devices/${device}`)).body.moduleTable;
    return Array.isArray(table) && table[0]?.referenceCount === 7;
  });
  await service.load('tcp', '1.1.0', devices);
  await service.load('tcp', '1.0.0', devices);
  const after = await scrape();
  const moved = since(before, after);

  const outcomes = { installed: 2, 'replaced-interrupting': 1, replaced: 1, 'refused-not-newer': 2, failed: 0, expired: 0, cancelled: 0 };
  for (const [outcome, count] of Object.entries(outcomes)) {
    expect([outcome, moved('patchbay_loads_completed_total', { outcome })]).toEqual([outcome, count]);
    expect([outcome, moved('patchbay_load_duration_seconds_count', { outcome })]).toEqual([outcome, count]);
  }
  const accesses = ['interrupted', 'retried', 'failed'].map((what) => moved(`patchbay_accesses_${what}_total`));
  expect(accesses).toEqual([7, 7, 0]);
  const steps = { 200: 6, 220: 8, 230: 4, 240: 4, 260: 1, 270: 1, 275: 2, 280: 6, none: 2 };
  for (const [operation, count] of Object.entries(steps))
    expect([operation, moved('patchbay_load_step_duration_seconds_count', { operation })]).toEqual([operation, count]);
  expect(moved('patchbay_load_step_duration_seconds_count', { step: 'interrupted', operation: '260' })).toBe(1);
  const loads = itemsOf(await service.get('/v1/loads?limit=200'));
  const reports = await Promise.all(loads.map(async ({ id }) => (await service.get(`/v1/loads/${id}`)).body.report));
  const seconds = reports.flatMap((report) => report?.steps ?? []).reduce((sum, { microseconds }) => sum + microseconds / 1e6, 0);
  expect(moved('patchbay_load_step_duration_seconds_sum')).toBeCloseTo(seconds, 9);
  const between = ({ requestedAt, completedAt }: Schemas['Load']) => Date.parse(String(completedAt)) - Date.parse(String(requestedAt));
  expect(moved('patchbay_load_duration_seconds_sum')).toBeCloseTo(loads.reduce((sum, load) => sum + between(load), 0) / 1_000, 6);

  for (const [action, count] of Object.entries({ 'load.requested': 3, 'load.completed': 6, 'program.requested': 1, 'program.started': 1 }))
    expect([action, moved('patchbay_audit_events_total', { action })]).toEqual([action, count]);
  const events = itemsOf(await service.get('/v1/audit?limit=1'));
  // The first event is the creation of the signing key.
  expect(after('patchbay_audit_events_total')).toBe(Number(events[0]?.number) - 1);
  expect(moved('patchbay_database_transaction_duration_seconds_count', { result: 'committed' })).toBeGreaterThan(6);
  expect(after('patchbay_orders_unsettled')).toBe(0);
});

test('counts open loads, unsettled orders and unreachable hosts', async () => {
  await service.close();
  service = new TestService();
  service.unreachableAfter = 500;
  await service.start();
  agent = new Agent(service);
  await agent.register('agent', ['d1', 'd2']);
  await service.push('tcp', '1.0.0', workModule(1));
  const orders = await agent.next(0, 10);
  await agent.report(...orders.map((order) => attached(order)));
  const devices = itemsOf(await service.get('/v1/devices')).map(({ id }) => id);
  await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices });
  const waiting = await scrape();
  expect([waiting('patchbay_loads_open', { state: 'queued' }), waiting('patchbay_loads_open', { state: 'dispatched' })]).toEqual([2, 0]);
  expect(waiting('patchbay_orders_unsettled')).toBe(2);
  const startAt = new Date(Date.now() + 3_600_000).toISOString();
  await service.post('/v1/rollouts', { module: 'tcp', version: '1.0.0', devices, startAt });
  const found = await scrape();
  expect([found('patchbay_rollouts_open', { state: 'pending' }), found('patchbay_rollouts_open')]).toEqual([1, 1]);
  const [load] = await agent.next(0, 10);
  if (load === undefined) throw new Error('no order');
  const sent = await scrape();
  expect([sent('patchbay_loads_open', { state: 'queued' }), sent('patchbay_loads_open', { state: 'dispatched' })]).toEqual([0, 2]);
  await agent.report(loaded(load));
  expect((await scrape())('patchbay_loads_open')).toBe(1);
  await until('the host is unreachable', async () => (await scrape())('patchbay_hosts', { status: 'unreachable' }) === 1);
  const gone = await scrape();
  expect([gone('patchbay_hosts', { status: 'connected' }), gone('patchbay_devices', { status: 'unreachable' })]).toEqual([0, 2]);
});

test('measures a report once if it is repeated, late or in two concurrent batches', async () => {
  await agent.register('agent', ['d1']);
  const [attach] = await agent.next(0, 10);
  if (attach === undefined) throw new Error('no order');
  await agent.report(attached(attach));
  const device = firstOf(await service.get('/v1/devices'));
  await service.push('tcp', '1.0.0', workModule(1));
  const request = { module: 'tcp', version: '1.0.0', devices: [device.id] };
  await service.post('/v1/loads', request);
  const [order] = await agent.next(0, 10);
  if (order === undefined) throw new Error('no order');
  const { result, ...rest } = loaded(order);
  const at = new Date().toISOString();
  const step: Schemas['Step'] = {
    step: 'received',
    operation: 200,
    at,
    startedMicroseconds: 0,
    microseconds: 5,
    facts: { ...request, image: result.current?.image ?? '', bytes: 1 },
  };
  const report = { ...rest, result: { ...result, interrupted: 3, retried: 2, failed: 1, steps: [step] } };
  const before = await scrape();
  await Promise.all([agent.report(report, report), agent.report(report), agent.report(report)]);
  await agent.report(report);
  const once = since(before, await scrape());
  const counts = ['loads_completed_total', 'accesses_interrupted_total', 'accesses_retried_total', 'accesses_failed_total'];
  expect(counts.map((name) => once(`patchbay_${name}`))).toEqual([1, 3, 2, 1]);
  expect(once('patchbay_load_step_duration_seconds_count')).toBe(1);
  expect(once('patchbay_audit_events_total')).toBe(1);

  // A late report counts the accesses but not the load, which has ended before.
  await service.push('tcp', '1.1.0', workModule(1));
  await service.post('/v1/loads', { ...request, version: '1.1.0', deadlineSeconds: 1 });
  const [late] = await agent.next(order.sequence, 10);
  await until('the load has expired', async () => (await scrape())('patchbay_loads_completed_total', { outcome: 'expired' }) === 1);
  if (late === undefined) throw new Error('no order');
  await agent.report({ ...loaded(late, '0x2000'), result: { ...loaded(late).result, interrupted: 4, steps: [step] } });
  const twice = since(before, await scrape());
  expect(counts.map((name) => twice(`patchbay_${name}`))).toEqual([2, 7, 2, 1]);
  expect(twice('patchbay_load_step_duration_seconds_count')).toBe(2);
});

test('a transaction that is rolled back counts as a transaction only', async () => {
  const before = await scrape();
  expect((await service.post('/v1/devices', { name: 'd', host: 'nowhere' })).status).toBe(422);
  const moved = since(before, await scrape());
  expect(moved('patchbay_audit_events_total')).toBe(0);
  expect(moved('patchbay_database_transaction_duration_seconds_count', { result: 'rolled-back' })).toBe(1);
});

test('measures requests by route template, not by path', async () => {
  await service.get('/metrics');
  const before = await scrape();
  const names = Array.from({ length: 20 }, () => `dev_${randomUUID().replaceAll('-', '')}`);
  for (const name of names) {
    await service.get(`/v1/devices/${name}?x=${name}`);
    await service.get(`/${name}`);
    await service.request('DELETE', `/v1/devices/${name}`);
  }
  const moved = since(before, await scrape());
  const count = 'patchbay_http_request_duration_seconds_count';
  expect(moved(count, { method: 'GET', route: '/v1/devices/:device', status: '404' })).toBe(20);
  expect(moved(count, { method: 'GET', route: 'none', status: '404' })).toBe(20);
  expect(moved(count, { method: 'DELETE', route: 'none', status: '405' })).toBe(20);
  expect(moved(count, { route: '/metrics', status: '200' })).toBe(1);
  expect(moved('patchbay_http_request_duration_seconds_bucket', { route: '/v1/devices/:device', le: '+Inf' })).toBe(20);
});

test('no label value comes from a client', async () => {
  const chosen = `chosen-${randomUUID().slice(0, 8)}`;
  service.startHost(`host-${chosen}`, 1, { zone: chosen });
  const devices = await service.connectedDevices(1);
  await service.push(chosen, '1.0.0', workModule(1));
  await service.load(chosen, '1.0.0', devices);
  await service.get(`/v1/modules/${chosen}/builds?cursor=${chosen}`, { 'x-request-id': chosen, 'user-agent': chosen });
  await service.request('PURGE', `/${chosen}`);
  const allowed = new Set([
    'action',
    'kind',
    'le',
    'method',
    'operation',
    'outcome',
    'reason',
    'result',
    'route',
    'space',
    'state',
    'status',
    'step',
    'type',
  ]);
  const routes = new Set(Object.keys(JSON.parse(readFileSync(new URL('../../../openapi/openapi.json', import.meta.url), 'utf8')).paths));
  for (const [name, { samples }] of await families()) {
    for (const { labels } of samples) {
      for (const [label, value] of labels) {
        if (name !== 'nodejs_version_info') expect(allowed).toContain(label);
        expect(value).not.toMatch(/chosen|_[0-9a-f]{32}/);
        if (label === 'route' && value !== 'none') expect(routes).toContain(value.replaceAll(/:([a-z]+)/gi, '{$1}'));
      }
    }
  }
});

test('counts replayed responses, and rejected requests by reason', async () => {
  await service.close();
  service = new TestService();
  service.limits = { ...defaultLimits, requestsPerMinute: 20 };
  await service.start();
  const { body: viewer } = await service.post('/v1/keys', { name: 'prometheus', role: 'viewer' });
  const ask = { 'idempotency-key': 'k' };
  for (let time = 0; time < 3; time += 1) await service.post('/v1/devices', { name: 'd' }, ask);
  while ((await service.get('/v1/hosts')).status !== 429);
  service.key = String(viewer.secret);
  const now = await scrape();
  expect(now('patchbay_idempotent_responses_replayed_total')).toBe(2);
  expect(now('patchbay_requests_rejected_total', { reason: 'too-many-requests' })).toBe(1);
  expect(now('patchbay_requests_rejected_total')).toBe(1);
});

test('counts an event stream while it is connected', async () => {
  const stop = new AbortController();
  await fetch(`${service.url}/v1/events`, { headers: bearer(service.key), signal: stop.signal });
  expect((await scrape())('patchbay_event_streams')).toBe(1);
  stop.abort();
  await until('the stream has ended', async () => (await scrape())('patchbay_event_streams') === 0);
});

test('the metrics require a key of the role viewer', async () => {
  expect((await service.get('/metrics', { authorization: '' })).status).toBe(401);
  for (const [role, status] of [
    ['viewer', 200],
    ['agent', 403],
  ] as const) {
    const { body } = await service.post('/v1/keys', { name: role, role, ...(role === 'agent' ? { host: 'rack' } : {}) });
    expect((await service.get('/metrics', bearer(String(body.secret)))).status).toBe(status);
  }
});

test('an overloaded service reports it in the metrics', async () => {
  await service.close();
  service = new TestService();
  // Every event loop has a delay above zero.
  service.limits = { ...service.limits, eventLoopDelay: 0.001 };
  await service.start();
  const refused = await until('the service is overloaded', async () => {
    const response = await service.get('/v1/hosts');
    return response.status === 503 && response;
  });
  expect(refused.body).toMatchObject({ type: 'urn:patchbay:problem:overloaded' });
  expect((await scrape())('patchbay_requests_rejected_total', { reason: 'overloaded' })).toBe(1);
});

test('devices by state under assignments count once per mode, with their worst state', async () => {
  service.startHost('host', 3, { zone: 'north' });
  const [first = '', second = '', third = ''] = await service.connectedDevices(3);
  for (const module of ['tcp', 'udp']) await service.push(module, '1.0.0', workModule(1));
  await service.load('tcp', '1.0.0', [first, second]);
  await service.load('udp', '1.0.0', [first]);
  await service.post('/v1/groups', { name: 'north', selector: 'zone=north' });
  await service.post('/v1/channels', { name: 'stable' });
  for (const module of ['tcp', 'udp']) await service.post('/v1/channels/stable/promotions', { module, version: '1.0.0' });
  const state = async (mode: string, name: string) => (await scrape())('patchbay_desired_state_devices', { mode, state: name });
  await until('the fleet was examined', async () => (await families()).get('patchbay_desired_state_devices')?.samples.length === 6);
  expect((await scrape())('patchbay_desired_state_devices')).toBe(0);
  for (const module of ['tcp', 'udp'])
    await service.post('/v1/assignments', { name: module, group: 'north', channel: 'stable', module, range: '^1' });
  await until('each device counts once', async () => {
    const [satisfied, unsatisfied] = [await state('report', 'satisfied'), await state('report', 'unsatisfied')];
    return satisfied === 1 && unsatisfied === 2;
  });
  await service.load('tcp', '1.0.0', [third]);
  const enforced = { name: 'tcp', group: 'north', channel: 'stable', module: 'tcp', range: '^1', mode: 'enforce' } as const;
  const { headers } = await service.get('/v1/assignments/tcp');
  await service.put('/v1/assignments/tcp', enforced, { 'if-match': headers.get('etag') ?? '' });
  await until('the modes count apart', async () => {
    const [enforcing, reporting] = [await state('enforce', 'satisfied'), await state('report', 'unsatisfied')];
    return enforcing === 3 && reporting === 2;
  });
});

test('every metric on the monitoring page exists with the labels of the queries', async () => {
  const page = readFileSync(new URL('../../../docs/how-to/monitor.md', import.meta.url), 'utf8');
  service.startHost('host', 1);
  await service.push('tcp', '1.0.0', workModule(1));
  await service.load('tcp', '1.0.0', await service.connectedDevices(1));
  await until('the fleet was examined', async () => (await families()).get('patchbay_desired_state_devices')?.samples.length === 6);
  const samples = [...(await families())].flatMap(([family, { samples: some }]) => [
    { name: family, labels: new Map<string, string>() },
    ...some,
  ]);
  const named = new Set(page.match(/\b(?:patchbay_(?!rules)|nodejs_\w)\w+/g));
  expect(named.size).toBeGreaterThan(15);
  for (const name of named) expect([...new Set(samples.map((sample) => sample.name))]).toContain(name);
  const queries = [...page.matchAll(/(?:by \(([^)]+)\) )?\((?:\w+\()?(patchbay_\w+)(?:\{(\w+)[=!])?/g)];
  expect(queries.length).toBeGreaterThan(8);
  for (const [query, by = '', name = '', filter = ''] of queries) {
    const labels = [...by.split(', '), filter].filter((label) => label !== '');
    const known = samples.some((sample) => sample.name === name && labels.every((label) => sample.labels.has(label)));
    expect([query, known]).toEqual([query, true]);
  }
});

test('includes process metrics, and each service in the process has its own metrics', async () => {
  const other = await new TestService().start();
  try {
    await other.push('tcp', '1.0.0', workModule(1));
    expect((await scrape())('patchbay_audit_events_total', { action: 'build.created' })).toBe(0);
  } finally {
    await other.close();
  }
  const now = await scrape();
  for (const name of ['process_resident_memory_bytes', 'process_cpu_seconds_total', 'nodejs_eventloop_lag_p99_seconds'])
    expect(now(name)).toBeGreaterThan(0);
  for (const [name, { help }] of await families()) {
    expect(help).toMatch(/\S/);
    if (name.startsWith('patchbay_')) expect(name).toMatch(/^patchbay_[a-z_]+$/);
  }
});
