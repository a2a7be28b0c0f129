// Draining loads on real hosts: their progress, and how operators end a drain early.

import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { agentLimits, type Order } from '../../../src/protocol/agent.ts';
import { Agent, attached, drainingState, loaded, state } from '../agents/agent.ts';
import { firstOf, itemsOf, TestService, until } from '../test-service.ts';

let service: TestService;
let stopHost: () => Promise<void>;
let device: string;

/** `work(n)` waits until the access is interrupted. */
const waiting = `
  (module (import "kernel" "sleep" (func $sleep (param i32)))
    (func (export "work") (param $n i32) (result i32) (loop $next (call $sleep (i32.const 5)) (br $next)) (unreachable)))`;
/** `work(n)` returns a number at once. */
const quick = (result: number) => `(module (func (export "work") (param $n i32) (result i32) (i32.const ${result})))`;

beforeEach(async () => {
  service = await new TestService().start();
  await service.push('tcp', '1.0.0', waiting);
  await service.push('tcp', '1.1.0', quick(11));
  await service.push('tcp', '1.2.0', quick(12));
});
afterEach(() => service.close());

async function startRealHost(): Promise<void> {
  stopHost = service.startHost('real', 1);
  [device = ''] = await service.connectedDevices(1);
  await service.load('tcp', '1.0.0', [device]);
}

async function startProgram(threads = 2): Promise<string> {
  const program = { name: `p-${threads}`, module: 'tcp', export: 'work', arguments: [1], threads, calls: 1 };
  const started = await service.post(`/v1/devices/${device}/programs`, program);
  expect(started.status).toBe(202);
  await until('the threads are inside the module', async () => {
    const { body } = await service.get(`/v1/devices/${device}`);
    return (body.moduleTable ?? []).some(({ referenceCount }) => referenceCount === threads);
  });
  return String(started.body.id);
}

async function request(version: string): Promise<`/v1/loads/${string}`> {
  const response = await service.post('/v1/loads', {
    module: 'tcp',
    version,
    devices: [device],
    strategy: 'drain',
    drainMilliseconds: 600_000,
  });
  expect(response.status).toBe(202);
  return `/v1/loads/${response.body.loads?.[0]?.id}`;
}

const read = async (load: `/v1/loads/${string}`) => (await service.get(load)).body;
const draining = (load: `/v1/loads/${string}`) => until(`${load} drains`, async () => (await read(load)).progress ?? null);
const ended = (load: `/v1/loads/${string}`) =>
  until(`${load} has ended`, async () => {
    const body = await read(load);
    return body.outcome !== null && body;
  });
const eventsOf = async (load: string) =>
  itemsOf(await service.get(`/v1/audit?order=asc&object=${load.split('/').at(-1)}`)).map(({ action, outcome }) => `${action} ${outcome}`);
const history = async () =>
  itemsOf(await service.get(`/v1/devices/${device}/modules/tcp/history`)).map(({ version, removalCause }) => [version, removalCause]);
const problem = (type: string) => ({ status: 409, body: { type: `urn:patchbay:problem:${type}` } });

test('shows the progress of a drain, and injects on request', async () => {
  await startRealHost();
  const program = await startProgram();
  const load = await request('1.1.0');
  const progress = await draining(load);
  expect(progress).toMatchObject({
    operation: 250,
    previousVersion: '1.0.0',
    accesses: 2,
    programs: [{ program, threads: 2 }],
    since: expect.stringMatching(/^\d{4}-.*Z$/),
    requested: [],
  });
  const { dispatchedAt } = await read(load);
  expect(progress.since >= (dispatchedAt ?? '')).toBe(true);
  expect((await read(load)).progress?.since).toBe(progress.since);
  expect(await service.post(`${load}/inject`, undefined)).toMatchObject({ status: 202, body: { state: 'dispatched' } });
  const { report, ...detail } = await ended(load);
  expect(detail).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 2, retried: 2, failed: 0, progress: null });
  expect(report?.steps.map(({ step }) => step)).toContain('interrupted');
  await until('the program has finished', async () => {
    const { body } = await service.get(`/v1/devices/${device}/programs/${program}` as const);
    return body.state === 'finished' && body.statistics?.lastResult === '11';
  });
  await until('the host has settled the order', async () => (await eventsOf(load)).includes('load.injected succeeded'));
  expect((await eventsOf(load)).toSorted()).toEqual([
    'load.completed succeeded',
    'load.draining succeeded',
    'load.inject-requested succeeded',
    'load.injected succeeded',
  ]);
  expect(await service.post(`${load}/inject`, undefined)).toMatchObject(problem('not-draining'));
  expect(await service.post(`${load}/cancel`, undefined)).toMatchObject(problem('not-queued'));
});

test('cancels a drain: the old version serves again, and the next load starts from it', async () => {
  await startRealHost();
  const program = await startProgram();
  const load = await request('1.1.0');
  await draining(load);
  expect(await service.post(`${load}/cancel`, undefined)).toMatchObject({ status: 202, body: { state: 'dispatched', outcome: null } });
  expect(await ended(load)).toMatchObject({
    outcome: 'cancelled',
    reason: expect.stringMatching(/^cancelled by key_\w+: 2 accesses were still inside 1\.0\.0 after \d+ ms$/),
    interrupted: 0,
    report: { outcome: 'cancelled', current: { version: '1.0.0' } },
  });
  // As after a drain that has timed out, the history has the short residency of the new version.
  expect(await history()).toEqual([
    ['1.0.0', null],
    ['1.1.0', 'reverted'],
    ['1.0.0', 'replaced'],
  ]);
  expect((await service.get(`/v1/devices/${device}`)).body).toMatchObject({
    moduleTable: [{ version: '1.0.0', referenceCount: 2 }],
    drift: [],
  });
  expect(await service.post(`${load}/cancel`, undefined)).toMatchObject({ status: 200, body: { outcome: 'cancelled' } });
  expect((await service.get('/v1/health')).body.loads?.outcomes).toMatchObject({ cancelled: 1 });
  await service.post(`/v1/devices/${device}/programs/${program}/stop`, undefined);
  const [next] = await service.load('tcp', '1.2.0', [device]);
  expect(next).toMatchObject({ outcome: 'replaced' });
});

test('a retry with the same Idempotency-Key gets the same response, and the device one order', async () => {
  await startRealHost();
  await startProgram();
  const load = await request('1.1.0');
  await draining(load);
  const headers = { 'idempotency-key': randomUUID() };
  const first = await service.post(`${load}/inject`, undefined, headers);
  const again = await service.post(`${load}/inject`, undefined, headers);
  expect([first.status, again.status]).toEqual([202, 202]);
  expect(again.body).toEqual(first.body);
  await ended(load);
  expect((await eventsOf(load)).filter((event) => event.startsWith('load.inject-requested'))).toHaveLength(1);
});

test('a restart of the host ends the drain: a load that was to be cancelled is not sent again', async () => {
  await startRealHost();
  await startProgram();
  const load = await request('1.1.0');
  await draining(load);
  await stopHost();
  expect(await service.post(`${load}/cancel`, undefined)).toMatchObject({ status: 202 });
  expect((await read(load)).progress?.requested).toEqual(['cancel']);
  service.startHost('real', 1);
  expect(await ended(load)).toMatchObject({
    outcome: 'cancelled',
    reason: expect.stringMatching(/^cancelled by key_\w+: the host restarted during the drain$/),
    report: null,
  });
  await service.connectedDevices(1);
  expect((await service.get(`/v1/devices/${device}`)).body).toMatchObject({ moduleTable: [{ version: '1.0.0' }] });
});

test('a restart of the host starts a draining load again, which drains again', async () => {
  await startRealHost();
  await startProgram();
  const load = await request('1.1.0');
  await draining(load);
  await stopHost();
  expect(await service.post(`${load}/inject`, undefined)).toMatchObject({ status: 202 });
  service.startHost('real', 1);
  // The order to inject belonged to the drain that the restart has ended.
  const progress = await until('it drains again', async () => {
    const { progress: found } = await read(load);
    return found != null && found.requested.length === 0 && found;
  });
  expect(progress).toMatchObject({ accesses: 2 });
  expect((await eventsOf(load)).filter((event) => event === 'load.draining succeeded')).toHaveLength(2);
  expect(await service.post(`${load}/inject`, undefined)).toMatchObject({ status: 202 });
  expect(await ended(load)).toMatchObject({ outcome: 'replaced-interrupting', retried: 2 });
});

/** Registers a simulated host with one device, on which a load waits for its report. */
async function startAgent(
  capabilities: string[] | undefined,
): Promise<{ agent: Agent; load: `/v1/loads/${string}`; order: Order & { kind: 'load' } }> {
  const agent = new Agent(service);
  agent.capabilities = capabilities;
  await agent.register('agent', ['d1']);
  const [attach] = await agent.next(0, 10);
  if (attach === undefined) throw new Error('no order');
  await agent.report(attached(attach));
  device = firstOf(await service.get('/v1/devices')).id;
  const load = await request('1.1.0');
  const [order] = await agent.next(attach.sequence, 10);
  if (order?.kind !== 'load') throw new Error('no load');
  return { agent, load, order };
}

test('an agent without the capability keeps working, gets no such order, and the problem names its host', async () => {
  const { agent, load, order } = await startAgent(undefined);
  expect(await service.post(`${load}/inject`, undefined)).toMatchObject(problem('not-draining'));
  expect(await service.post(`${load}/cancel`, undefined)).toMatchObject(problem('not-queued'));
  await agent.report({ kind: 'device-state', device, state: drainingState(order) });
  expect((await read(load)).progress).toMatchObject({ accesses: 1 });
  for (const request of ['inject', 'cancel'] as const)
    expect(await service.post(`${load}/${request}`, undefined)).toMatchObject({
      status: 409,
      body: {
        type: 'urn:patchbay:problem:unsupported-by-host',
        detail: expect.stringMatching(/^the agent of host agent does not support .*: update it$/),
      },
    });
  expect(await agent.next(order.sequence, 0)).toEqual([]);
  await agent.report(loaded(order));
  expect(await read(load)).toMatchObject({ outcome: 'installed' });
});

test('the service ignores unknown capabilities, and sends an order once until its report', async () => {
  const { agent, load, order } = await startAgent(['inject-load', 'levitate']);
  await agent.report({ kind: 'device-state', device, state: drainingState(order) });
  for (const _ of [1, 2]) expect(await service.post(`${load}/inject`, undefined)).toMatchObject({ status: 202 });
  expect(await service.post(`${load}/cancel`, undefined)).toMatchObject(problem('unsupported-by-host'));
  const orders = await agent.next(order.sequence, 10);
  expect(orders).toMatchObject([{ kind: 'inject-load', load: order.load, device }]);
  const [inject] = orders;
  if (inject === undefined) throw new Error('no order');
  // The drain has ended by itself meanwhile: its report comes after that of the load, and harms nothing.
  await agent.report(loaded(order, '0x2000'));
  const report = { kind: 'load-injected' as const, order: inject.order, device, load: order.load, failure: 'the load is not draining' };
  for (const _ of [1, 2]) expect((await agent.report({ ...report, state: state() })).status).toBe(204);
  expect(await read(load)).toMatchObject({ outcome: 'installed', progress: null });
  expect((await eventsOf(load)).filter((event) => event.startsWith('load.injected'))).toEqual(['load.injected failed']);
  expect(await agent.next(0, 0)).toEqual([]);
});

test('ignores a drain of a load of another device, and bounds the time that a device has waited', async () => {
  const { agent, load, order } = await startAgent(['inject-load']);
  const longest = 2 ** 31 - 1;
  const foreign = { ...drainingState(order), draining: { ...drainingState(order).draining, load: `lod_${'0'.repeat(32)}` } };
  await agent.reportRaw({ kind: 'device-state', device, state: foreign });
  expect((await read(load)).progress).toBeNull();
  const tooLong = await agent.reportRaw({ kind: 'device-state', device, state: drainingState(order, longest + 1) });
  expect(tooLong.status).toBe(422);
  await agent.report({ kind: 'device-state', device, state: drainingState(order, longest) });
  const { progress, dispatchedAt } = await read(load);
  expect(progress?.since).toBe(dispatchedAt);
});

test('a restart as an older agent gets none of the orders that it does not know', async () => {
  const { agent, load, order } = await startAgent(['inject-load', 'cancel-load']);
  await agent.report({ kind: 'device-state', device, state: drainingState(order) });
  await service.post(`${load}/inject`, undefined);
  agent.bootId = randomUUID();
  agent.capabilities = undefined;
  await agent.register('agent', ['d1']);
  expect((await agent.next(0, 10)).map(({ kind }) => kind)).toEqual(['attach-device', 'load']);
  expect(await read(load)).toMatchObject({ progress: null, outcome: null });
});

test('an order to end a drain is offered although the host has too many orders in flight for others', async () => {
  const agent = new Agent(service);
  agent.capabilities = ['inject-load'];
  const names = Array.from({ length: 11 }, (_, index) => `d${index}`);
  await agent.register('agent', names);
  await agent.connect();
  await agent.report(...(await agent.order('attach-device', names.length)).map((order) => attached(order)));
  const [spare = '', ...devices] = itemsOf(await service.get('/v1/devices')).map(({ id }) => id);
  const fill = { module: 'tcp', version: '1.1.0', devices, strategy: 'drain', drainMilliseconds: 600_000 } as const;
  for (let loads = 0; loads < agentLimits.ordersInFlight; loads += devices.length)
    expect((await service.post('/v1/loads', fill)).status).toBe(202);
  const orders = await agent.order('load', agentLimits.ordersInFlight);
  const [first, last] = [orders[0], orders.at(-1)];
  if (first?.kind !== 'load' || last?.kind !== 'load') throw new Error('no loads');
  // The window is full: the next load is not offered.
  await service.push('tcp', '1.3.0', quick(13));
  await agent.report(loaded(last));
  for (let more = 0; more < 2; more += 1)
    expect((await service.post('/v1/loads', { ...fill, version: '1.3.0', devices: [spare] })).status).toBe(202);
  await until('one more load is offered', async () => agent.orders.some((order) => order.kind === 'load' && order.version === '1.3.0'));
  await agent.report({ kind: 'device-state', device: first.device, state: drainingState(first) });
  expect(await service.post(`/v1/loads/${first.load}/inject`, undefined)).toMatchObject({ status: 202 });
  const [inject] = await agent.order('inject-load');
  expect(inject).toMatchObject({ load: first.load });
  // The order has not skipped the load before it.
  await agent.report(loaded(first));
  await until('the last load is offered', async () => {
    return agent.orders.filter((order) => order.kind === 'load' && order.version === '1.3.0').length === 2;
  });
});

test('a cancelled load of a rollout counts as failed', async () => {
  await startRealHost();
  await startProgram();
  const rollout = await service.post('/v1/rollouts', {
    module: 'tcp',
    version: '1.1.0',
    devices: [device],
    waves: [{ upToPercent: 100 }],
    soakSeconds: 0,
    strategy: 'drain',
    drainMilliseconds: 600_000,
    onFailure: 'pause',
  });
  expect(rollout.status).toBe(202);
  const load = await until('the rollout has a load', async () => itemsOf(await service.get('/v1/loads?version=1.1.0')).at(0)?.id ?? null);
  await draining(`/v1/loads/${load}`);
  expect(await service.post(`/v1/loads/${load}/cancel` as const, undefined)).toMatchObject({ status: 202 });
  const settled = await until('the device has failed', async () => {
    const [member] = itemsOf(await service.get(`/v1/rollouts/${rollout.body.id}/devices` as const));
    return member?.state === 'failed' && member;
  });
  expect(settled).toMatchObject({ outcome: 'cancelled', reason: expect.stringContaining('cancelled by') });
});
