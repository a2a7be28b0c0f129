// Rollouts with silent and late hosts, and with restarts of the service.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { Schemas } from '../../../src/client/client.ts';
import type { Order } from '../../../src/protocol/agent.ts';
import { Agent, attached, loaded } from '../agents/agent.ts';
import { itemsOf, TestService, until, workModule } from '../test-service.ts';
import type { RequestSchema } from '../typed-paths.ts';

const service = new TestService();
const agent = new Agent(service);
/** Two devices on a real host, and two that the test simulates. */
let real: string[];
let simulated: string[];

const Rollout = z.looseObject({
  id: z.string(),
  state: z.string(),
  waitingFor: z.string().nullable(),
  deviceCounts: z.record(z.string(), z.number()),
  rolledBackBy: z.string().nullable(),
  endedAt: z.string().nullable(),
});
type Rollout = z.infer<typeof Rollout>;

beforeAll(async () => {
  await service.start();
  service.startHost('real', 2);
  real = await service.connectedDevices(2);
  await agent.register('simulated', ['silent-1', 'silent-2']);
  await agent.connect();
  await agent.report(...(await agent.order('attach-device', 2)).map((order) => attached(order)));
  const devices = await service.connectedDevices(4);
  simulated = devices.slice(2);
  for (const [version, plus] of [
    ['1.0.0', 1],
    ['1.1.0', 2],
    ['1.2.0', 3],
  ] as const)
    await service.push('tcp', version, workModule(plus));
  const installing = service.load('tcp', '1.0.0', devices);
  await agent.report(...(await agent.order('load', 2)).map((order) => loaded(order)));
  await installing;
});
afterAll(async () => {
  agent.disconnect();
  await service.close();
});

async function roll(body: Omit<RequestSchema<'NewRollout'>, 'module'>): Promise<Rollout> {
  const response = await service.post('/v1/rollouts', { module: 'tcp', soakSeconds: 0, waves: [{ upToPercent: 100 }], ...body });
  if (response.status !== 202) throw new Error(JSON.stringify(response.body));
  return Rollout.parse(response.body);
}

const read = async (id: string) => Rollout.parse((await service.get(`/v1/rollouts/${id}`)).body);
const when = (id: string, condition: string, holds: (rollout: Rollout) => boolean) =>
  until(`the rollout ${id} ${condition}`, async () => {
    const rollout = await read(id);
    return holds(rollout) && rollout;
  });
const ended = (id: string) => when(id, 'has ended', ({ endedAt }) => endedAt !== null);

/** Waits for orders to load a version. */
const ordersOf = (version: string, count: number) =>
  until(`${count} loads of ${version} are ordered`, async () => {
    const orders = agent.orders.filter((order): order is Order & { kind: 'load' } => order.kind === 'load' && order.version === version);
    return orders.length >= count && orders;
  });

/** Disconnects the simulated host and waits until the service notices. */
async function disconnect(): Promise<void> {
  agent.disconnect();
  const streams = async () => String((await service.get('/metrics')).body.text).match(/^patchbay_order_streams (\d+)$/m)?.[1];
  await until('only the real host is connected', async () => (await streams()) === '1');
}

/** Returns the report of a load that replaced another version. */
function replaced(order: Order, previous: string, address: string): Schemas['LoadCompletedReport'] {
  const report = loaded(order, address);
  const before = { version: previous, image: report.result.current?.image ?? '', address: '0x1000', pages: 1 };
  return { ...report, result: { ...report.result, outcome: 'replaced', previous: before } };
}

test('a silent device delays its wave only until the deadline; after its late report it is rolled back too', async () => {
  const [silent = ''] = simulated;
  const { id } = await roll({ version: '1.1.0', devices: [...real, silent], deadlineSeconds: 1, onFailure: 'rollback' });
  const [order] = await ordersOf('1.1.0', 1);
  const rollout = await ended(id);
  expect(rollout).toMatchObject({ state: 'rolled-back', deviceCounts: { loaded: 2, failed: 1 } });
  expect(itemsOf(await service.get(`/v1/rollouts/${id}/devices?state=failed`))).toMatchObject([{ device: silent, outcome: 'expired' }]);
  const rollback = await ended(rollout.rolledBackBy ?? '');
  expect(rollback.deviceCounts['loaded']).toBe(2);
  // The device loaded the version in time and was cut off; now its report arrives.
  if (order === undefined) throw new Error('no order');
  await agent.report(replaced(order, '1.0.0', '0x2000'));
  expect(await read(id)).toMatchObject({ state: 'rolling-back', endedAt: null, deviceCounts: { loaded: 3, failed: 0 } });
  const [rollbackOrder] = (await ordersOf('1.0.0', 3)).slice(2);
  expect(rollbackOrder).toMatchObject({ device: silent, versionPolicy: 'downgrade' });
  if (rollbackOrder === undefined) throw new Error('no order');
  await agent.report(replaced(rollbackOrder, '1.1.0', '0x3000'));
  expect(await ended(id)).toMatchObject({ state: 'rolled-back' });
  expect(await ended(rollback.id)).toMatchObject({ deviceCounts: { loaded: 3 } });
});

test('a device whose expired load succeeded counts as loaded after a retry, and is rolled back', async () => {
  const [silent = ''] = simulated;
  agent.orders.length = 0;
  const { id } = await roll({ version: '1.1.0', devices: [silent], deadlineSeconds: 1 });
  const [late] = await ordersOf('1.1.0', 1);
  if (late === undefined) throw new Error('no order');
  await when(id, 'is paused', ({ state }) => state === 'paused');
  agent.orders.length = 0;
  await service.post(`/v1/rollouts/${id}/retry-failed`, undefined);
  const [retry] = await ordersOf('1.1.0', 1);
  if (retry === undefined) throw new Error('no order');
  await agent.report(replaced(late, '1.0.0', '0x7000'));
  const report = replaced(retry, '1.1.0', '0x7000');
  await agent.report({ ...report, result: { ...report.result, outcome: 'refused-not-newer', reason: 'of the same precedence' } });
  expect(await ended(id)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 1 } });
  expect(itemsOf(await service.get(`/v1/rollouts/${id}/devices`))).toMatchObject([{ attempts: 2, previousVersion: '1.0.0' }]);
  await service.post(`/v1/rollouts/${id}/rollback`, { reason: 'back' });
  const [rollbackOrder] = await ordersOf('1.0.0', 1);
  if (rollbackOrder === undefined) throw new Error('no order');
  await agent.report(replaced(rollbackOrder, '1.1.0', '0x8000'));
  expect(await ended(id)).toMatchObject({ state: 'rolled-back' });
  agent.orders.length = 0;
});

test('a rollback cancels queued loads and does not wait for them', async () => {
  await disconnect();
  const { id } = await roll({ version: '1.1.0', devices: [real[0] ?? '', ...simulated] });
  await when(id, 'has one device', ({ deviceCounts }) => deviceCounts['loaded'] === 1);
  const { body } = await service.post(`/v1/rollouts/${id}/rollback`, { reason: 'back' });
  expect(await ended(id)).toMatchObject({ state: 'rolled-back', deviceCounts: { loaded: 1, failed: 2 } });
  expect(await ended(String(body.id))).toMatchObject({ deviceCounts: { loaded: 1 } });
  const failed = itemsOf(await service.get(`/v1/rollouts/${id}/devices?state=failed`));
  expect(failed).toMatchObject([{ outcome: 'cancelled' }, { outcome: 'cancelled' }]);
  await agent.connect();
});

test('a rollback waits for a load that was sent to its host, and rolls its device back too', async () => {
  const [silent = ''] = simulated;
  agent.orders.length = 0;
  const { id } = await roll({ version: '1.1.0', devices: [real[0] ?? '', silent] });
  const [order] = await ordersOf('1.1.0', 1);
  await when(id, 'has one device', ({ deviceCounts }) => deviceCounts['loaded'] === 1);
  const { body } = await service.post(`/v1/rollouts/${id}/rollback`, { reason: 'back' });
  const isOpen = ({ deviceCounts, waitingFor }: Rollout) => deviceCounts['loaded'] === 1 && waitingFor === 'devices';
  await when(String(body.id), 'has rolled one device back and waits for the other', isOpen);
  expect(await read(id)).toMatchObject({ state: 'rolling-back', endedAt: null, deviceCounts: { loading: 1 } });
  if (order === undefined) throw new Error('no order');
  await agent.report(replaced(order, '1.0.0', '0x9000'));
  const [rollbackOrder] = await ordersOf('1.0.0', 1);
  if (rollbackOrder === undefined) throw new Error('no order');
  await agent.report(replaced(rollbackOrder, '1.1.0', '0xa000'));
  expect(await ended(id)).toMatchObject({ state: 'rolled-back', deviceCounts: { loaded: 2 } });
  agent.orders.length = 0;
});

test('a rollback supersedes a queued load of its device', async () => {
  const [silent = ''] = simulated;
  agent.orders.length = 0;
  const { id } = await roll({ version: '1.1.0', devices: [silent] });
  const [order] = await ordersOf('1.1.0', 1);
  if (order === undefined) throw new Error('no order');
  await agent.report(replaced(order, '1.0.0', '0xb000'));
  await ended(id);
  await disconnect();
  const queued = await service.post('/v1/loads', { module: 'tcp', version: '1.2.0', devices: [silent] });
  await service.post(`/v1/rollouts/${id}/rollback`, { reason: 'back' });
  await until('the load is superseded', async () => {
    const [load] = itemsOf(await service.get(`/v1/loads?batch=${queued.body.batch}`));
    return load?.outcome === 'superseded';
  });
  await agent.connect();
  const [rollbackOrder] = await ordersOf('1.0.0', 1);
  if (rollbackOrder === undefined) throw new Error('no order');
  await agent.report(replaced(rollbackOrder, '1.1.0', '0xc000'));
  expect(await ended(id)).toMatchObject({ state: 'rolled-back' });
  agent.orders.length = 0;
});

test('aborting a rollout cancels queued loads; loads sent to their hosts continue', async () => {
  await disconnect();
  const [first = '', second = ''] = simulated;
  const { id } = await roll({ version: '1.1.0', devices: [first, second] });
  await when(id, 'has requested its loads', ({ deviceCounts }) => deviceCounts['loading'] === 2);
  const { body } = await service.post(`/v1/rollouts/${id}/abort`, {});
  expect(body).toMatchObject({ state: 'aborted' });
  await ended(id);
  expect(itemsOf(await service.get(`/v1/rollouts/${id}/devices`))).toMatchObject([{ outcome: 'cancelled' }, { outcome: 'cancelled' }]);
  await agent.connect();
  const other = await roll({ version: '1.1.0', devices: [first, second] });
  const orders = await ordersOf('1.1.0', 2);
  await when(other.id, 'is with the host', ({ deviceCounts }) => deviceCounts['loading'] === 2);
  await service.post(`/v1/rollouts/${other.id}/abort`, {});
  expect(await read(other.id)).toMatchObject({ state: 'aborted', endedAt: null, deviceCounts: { loading: 2 } });
  await agent.report(...orders.slice(-2).map((order) => replaced(order, '1.0.0', '0x4000')));
  expect(await ended(other.id)).toMatchObject({ state: 'aborted', deviceCounts: { loaded: 2 } });
});

test('a rollout resumes after a restart of the service in any state', async () => {
  const waves = [{ devices: 1, approval: true }, { devices: 1, soakSeconds: 0.5 }, { upToPercent: 100 }];
  const { id } = await roll({ version: '1.2.0', devices: [...real, ...simulated], waves, deadlineSeconds: 60 });
  const restart = async () => {
    await service.stop();
    await service.start();
  };
  await restart();
  await when(id, 'waits for approval', ({ waitingFor }) => waitingFor === 'approval');
  await restart();
  await service.post(`/v1/rollouts/${id}/approve`, { wave: 1 });
  await restart();
  await when(id, 'is in its second wave', (rollout) => rollout['wave'] === 2 && rollout.waitingFor === 'soak');
  await restart();
  await when(id, 'waits for the simulated devices', ({ deviceCounts }) => deviceCounts['loading'] === 2);
  await restart();
  await agent.register('simulated', ['silent-1', 'silent-2']);
  await agent.connect();
  const orders = await ordersOf('1.2.0', 2);
  const loads = new Map(orders.map((order) => [order.device, order]));
  await service.post(`/v1/rollouts/${id}/pause`, {});
  await restart();
  await agent.register('simulated', ['silent-1', 'silent-2']);
  await agent.report(...[...loads.values()].map((order) => replaced(order, '1.1.0', '0x5000')));
  expect(await read(id)).toMatchObject({ state: 'paused', deviceCounts: { loaded: 4 } });
  await service.post(`/v1/rollouts/${id}/resume`, undefined);
  expect(await ended(id)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 4 } });
  const { body } = await service.post(`/v1/rollouts/${id}/rollback`, { reason: 'back' });
  await restart();
  const rollback = Rollout.parse(body);
  await when(
    rollback.id,
    'has rolled the real devices back',
    ({ deviceCounts }) => deviceCounts['loaded'] === 2 && deviceCounts['loading'] === 2,
  );
  await restart();
  await agent.register('simulated', ['silent-1', 'silent-2']);
  await agent.connect();
  const rollbackOrders = (await ordersOf('1.1.0', 2)).filter(({ versionPolicy }) => versionPolicy === 'downgrade');
  await agent.report(...rollbackOrders.slice(-2).map((order) => replaced(order, '1.2.0', '0x6000')));
  expect(await ended(id)).toMatchObject({ state: 'rolled-back' });
});
