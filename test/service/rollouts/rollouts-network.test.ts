// Rollouts where hosts are silent or late, and where the service stops in the middle.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { Schemas } from '../../../src/client/client.ts';
import type { Order } from '../../../src/protocol/agent.ts';
import { Agent, attached, loaded } from '../agents/agent.ts';
import { itemsOf, TestService, until, workModule } from '../test-service.ts';
import type { Sent } from '../typed-paths.ts';

const service = new TestService();
const agent = new Agent(service);
/** Two on a real host, and two that the test plays. */
let real: string[];
let played: string[];

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
  await agent.register('played', ['silent-1', 'silent-2']);
  await agent.connect();
  await agent.report(...(await agent.order('attach-device', 2)).map((order) => attached(order)));
  const devices = await service.connectedDevices(4);
  played = devices.slice(2);
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

async function roll(body: Omit<Sent<'NewRollout'>, 'module'>): Promise<Rollout> {
  const answer = await service.post('/v1/rollouts', { module: 'tcp', soakSeconds: 0, waves: [{ upToPercent: 100 }], ...body });
  if (answer.status !== 202) throw new Error(JSON.stringify(answer.body));
  return Rollout.parse(answer.body);
}

const read = async (id: string) => Rollout.parse((await service.get(`/v1/rollouts/${id}`)).body);
const when = (id: string, what: string, holds: (rollout: Rollout) => boolean) =>
  until(`the rollout ${id} ${what}`, async () => {
    const rollout = await read(id);
    return holds(rollout) && rollout;
  });
const ended = (id: string) => when(id, 'has ended', ({ endedAt }) => endedAt !== null);

/** The newest orders for loads of a version, one for each played device. */
const ordersOf = (version: string, count: number) =>
  until(`${count} loads of ${version} are ordered`, async () => {
    const orders = agent.orders.filter((order): order is Order & { kind: 'load' } => order.kind === 'load' && order.version === version);
    return orders.length >= count && orders;
  });

/** The played host follows its orders no more, and the service knows. */
async function leave(): Promise<void> {
  agent.disconnect();
  const streams = async () => String((await service.get('/metrics')).body.text).match(/^patchbay_order_streams (\d+)$/m)?.[1];
  await until('only the real host follows its orders', async () => (await streams()) === '1');
}

/** The report of a load that took the place of another version. */
function replaced(order: Order, previous: string, address: string): Schemas['LoadCompletedReport'] {
  const report = loaded(order, address);
  const before = { version: previous, image: report.result.current?.image ?? '', address: '0x1000', pages: 1 };
  return { ...report, result: { ...report.result, outcome: 'replaced', previous: before } };
}

test('a device that never answers does not hold its wave up beyond its deadline; late, it is taken back with the others', async () => {
  const [silent = ''] = played;
  const { id } = await roll({ version: '1.1.0', devices: [...real, silent], deadlineSeconds: 1, onFailure: 'rollback' });
  const [order] = await ordersOf('1.1.0', 1);
  const rollout = await ended(id);
  expect(rollout).toMatchObject({ state: 'rolled-back', deviceCounts: { loaded: 2, failed: 1 } });
  expect(itemsOf(await service.get(`/v1/rollouts/${id}/devices?state=failed`))).toMatchObject([{ device: silent, outcome: 'expired' }]);
  const back = await ended(rollout.rolledBackBy ?? '');
  expect(back.deviceCounts['loaded']).toBe(2);
  // It had begun in time, and was cut off: now it tells that it has the version.
  if (order === undefined) throw new Error('no order');
  await agent.report(replaced(order, '1.0.0', '0x2000'));
  expect(await read(id)).toMatchObject({ state: 'rolling-back', endedAt: null, deviceCounts: { loaded: 3, failed: 0 } });
  const [wayBack] = (await ordersOf('1.0.0', 3)).slice(2);
  expect(wayBack).toMatchObject({ device: silent, versionPolicy: 'downgrade' });
  if (wayBack === undefined) throw new Error('no order');
  await agent.report(replaced(wayBack, '1.1.0', '0x3000'));
  expect(await ended(id)).toMatchObject({ state: 'rolled-back' });
  expect(await ended(back.id)).toMatchObject({ deviceCounts: { loaded: 3 } });
});

test('a device that got the build by a load that had expired has it when it is tried again, and is taken back', async () => {
  const [silent = ''] = played;
  agent.orders.length = 0;
  const { id } = await roll({ version: '1.1.0', devices: [silent], deadlineSeconds: 1 });
  const [late] = await ordersOf('1.1.0', 1);
  if (late === undefined) throw new Error('no order');
  await when(id, 'is paused', ({ state }) => state === 'paused');
  agent.orders.length = 0;
  await service.post(`/v1/rollouts/${id}/retry-failed`, undefined);
  const [again] = await ordersOf('1.1.0', 1);
  if (again === undefined) throw new Error('no order');
  await agent.report(replaced(late, '1.0.0', '0x7000'));
  const report = replaced(again, '1.1.0', '0x7000');
  await agent.report({ ...report, result: { ...report.result, outcome: 'refused-not-newer', reason: 'of the same precedence' } });
  expect(await ended(id)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 1 } });
  expect(itemsOf(await service.get(`/v1/rollouts/${id}/devices`))).toMatchObject([{ attempts: 2, previousVersion: '1.0.0' }]);
  await service.post(`/v1/rollouts/${id}/rollback`, { reason: 'back' });
  const [back] = await ordersOf('1.0.0', 1);
  if (back === undefined) throw new Error('no order');
  await agent.report(replaced(back, '1.1.0', '0x8000'));
  expect(await ended(id)).toMatchObject({ state: 'rolled-back' });
  agent.orders.length = 0;
});

test('loads that wait are cancelled when a rollout is rolled back, and the rollback does not wait for them', async () => {
  await leave();
  const { id } = await roll({ version: '1.1.0', devices: [real[0] ?? '', ...played] });
  await when(id, 'has one device', ({ deviceCounts }) => deviceCounts['loaded'] === 1);
  const { body } = await service.post(`/v1/rollouts/${id}/rollback`, { reason: 'back' });
  expect(await ended(id)).toMatchObject({ state: 'rolled-back', deviceCounts: { loaded: 1, failed: 2 } });
  expect(await ended(String(body.id))).toMatchObject({ deviceCounts: { loaded: 1 } });
  const failed = itemsOf(await service.get(`/v1/rollouts/${id}/devices?state=failed`));
  expect(failed).toMatchObject([{ outcome: 'cancelled' }, { outcome: 'cancelled' }]);
  await agent.connect();
});

test('a load that its host was sent is waited for, and its device goes back too', async () => {
  const [silent = ''] = played;
  agent.orders.length = 0;
  const { id } = await roll({ version: '1.1.0', devices: [real[0] ?? '', silent] });
  const [order] = await ordersOf('1.1.0', 1);
  await when(id, 'has one device', ({ deviceCounts }) => deviceCounts['loaded'] === 1);
  const { body } = await service.post(`/v1/rollouts/${id}/rollback`, { reason: 'back' });
  const isOpen = ({ deviceCounts, waitingFor }: Rollout) => deviceCounts['loaded'] === 1 && waitingFor === 'devices';
  await when(String(body.id), 'has taken it back, and waits for the other', isOpen);
  expect(await read(id)).toMatchObject({ state: 'rolling-back', endedAt: null, deviceCounts: { loading: 1 } });
  if (order === undefined) throw new Error('no order');
  await agent.report(replaced(order, '1.0.0', '0x9000'));
  const [wayBack] = await ordersOf('1.0.0', 1);
  if (wayBack === undefined) throw new Error('no order');
  await agent.report(replaced(wayBack, '1.1.0', '0xa000'));
  expect(await ended(id)).toMatchObject({ state: 'rolled-back', deviceCounts: { loaded: 2 } });
  agent.orders.length = 0;
});

test('a load that waits for a device gives way to a rollback of the device', async () => {
  const [silent = ''] = played;
  agent.orders.length = 0;
  const { id } = await roll({ version: '1.1.0', devices: [silent] });
  const [order] = await ordersOf('1.1.0', 1);
  if (order === undefined) throw new Error('no order');
  await agent.report(replaced(order, '1.0.0', '0xb000'));
  await ended(id);
  await leave();
  const waiting = await service.post('/v1/loads', { module: 'tcp', version: '1.2.0', devices: [silent] });
  await service.post(`/v1/rollouts/${id}/rollback`, { reason: 'back' });
  await until('it has given way', async () => {
    const [load] = itemsOf(await service.get(`/v1/loads?batch=${waiting.body.batch}`));
    return load?.outcome === 'superseded';
  });
  await agent.connect();
  const [wayBack] = await ordersOf('1.0.0', 1);
  if (wayBack === undefined) throw new Error('no order');
  await agent.report(replaced(wayBack, '1.1.0', '0xc000'));
  expect(await ended(id)).toMatchObject({ state: 'rolled-back' });
  agent.orders.length = 0;
});

test('loads that no host was sent are cancelled when a rollout is aborted, and those that were go on', async () => {
  await leave();
  const [first = '', second = ''] = played;
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

test('a rollout goes on where it was when the service stops in any of its states', async () => {
  const waves = [{ devices: 1, approval: true }, { devices: 1, soakSeconds: 0.5 }, { upToPercent: 100 }];
  const { id } = await roll({ version: '1.2.0', devices: [...real, ...played], waves, deadlineSeconds: 60 });
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
  await when(id, 'waits for the played devices', ({ deviceCounts }) => deviceCounts['loading'] === 2);
  await restart();
  await agent.register('played', ['silent-1', 'silent-2']);
  await agent.connect();
  const orders = await ordersOf('1.2.0', 2);
  const loads = new Map(orders.map((order) => [order.device, order]));
  await service.post(`/v1/rollouts/${id}/pause`, {});
  await restart();
  await agent.register('played', ['silent-1', 'silent-2']);
  await agent.report(...[...loads.values()].map((order) => replaced(order, '1.1.0', '0x5000')));
  expect(await read(id)).toMatchObject({ state: 'paused', deviceCounts: { loaded: 4 } });
  await service.post(`/v1/rollouts/${id}/resume`, undefined);
  expect(await ended(id)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 4 } });
  const { body } = await service.post(`/v1/rollouts/${id}/rollback`, { reason: 'back' });
  await restart();
  const back = Rollout.parse(body);
  await when(back.id, 'has taken the real ones back', ({ deviceCounts }) => deviceCounts['loaded'] === 2 && deviceCounts['loading'] === 2);
  await restart();
  await agent.register('played', ['silent-1', 'silent-2']);
  await agent.connect();
  const wayBack = (await ordersOf('1.1.0', 2)).filter(({ versionPolicy }) => versionPolicy === 'downgrade');
  await agent.report(...wayBack.slice(-2).map((order) => replaced(order, '1.2.0', '0x6000')));
  expect(await ended(id)).toMatchObject({ state: 'rolled-back' });
});
