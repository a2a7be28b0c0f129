// Maintenance windows of groups: loads are held while the windows of their devices are closed, with real device hosts.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { openSql, timeInSql } from '../../databases.ts';
import { firstOf, itemsOf, type TestResponse, TestService, until, workModule } from '../test-service.ts';

type Window = Schemas['ScheduleWindow'];

const service = new TestService();
const names = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const;
/** A window that opens in two or three days: a test never runs so long. */
const closed = (): Window => {
  const day = names[(new Date().getUTCDay() + 3) % 7];
  if (day === undefined) throw new Error('no such day');
  return { days: [day], from: '00:00', until: '12:00', timeZone: 'UTC' };
};
const always: Window = { days: [...names], from: '00:00', until: '00:00', timeZone: 'UTC' };
const week = 7 * 24 * 3_600;

/** Devices with the label `zone`: a group of each. */
let edge: string[] = [];
let core: string[] = [];

beforeAll(async () => {
  service.unreachableAfter = 3_600_000;
  await service.start();
  service.startHost('edge', 4, { zone: 'edge' });
  service.startHost('core', 2, { zone: 'core', tier: 'gold' });
  const devices = await service.connectedDevices(6);
  [core, edge] = [devices.slice(0, 2), devices.slice(2)];
  for (const module of ['tcp', 'udp'])
    for (const version of ['1.0.0', '1.1.0', '1.2.0', '1.3.0'])
      expect((await service.push(module, version, workModule(1))).status).toBe(201);
});
afterAll(() => service.close());

/** Creates or replaces a group. */
async function setWindows(name: string, selector: string, maintenanceWindows: readonly Window[]): Promise<void> {
  const body = { name, selector, maintenanceWindows: [...maintenanceWindows] };
  const replaced = await service.request('PUT', `/v1/groups/${name}`, body);
  if (replaced.status === 404) expect(await service.postRaw('/v1/groups', body)).toMatchObject({ status: 201, body });
  else expect(replaced).toMatchObject({ status: 200, body });
}

const request = (more: object, path = '/v1/loads') =>
  service.postRaw(path, { module: 'tcp', version: '1.0.0', deadlineSeconds: week, ...more });
const loadOf = async (accepted: TestResponse) => {
  expect(accepted).toMatchObject({ status: 202 });
  return firstOf(await service.get(`/v1/loads?batch=${String(accepted.body['batch'])}`));
};
const read = async (id: string) => (await service.get(`/v1/loads/${id}`)).body;
const ended = (id: string, outcome: string) => until(`${id} is ${outcome}`, async () => (await read(id)).outcome === outcome);
const detailOf = async (action: string, object: unknown) =>
  itemsOf(await service.get('/v1/audit?limit=200')).find((event) => event.action === action && event.object === object)?.detail;

test('a load is held until the windows open; later loads of the device follow it, and an override does not wait', async () => {
  await setWindows('edge', 'zone=edge', [closed()]);
  const first = await loadOf(await request({ devices: [edge[0]] }));
  expect(first).toMatchObject({ state: 'queued', heldSince: expect.any(String), overrideMaintenanceWindow: null, dispatchedAt: null });
  const opens = Date.parse(first.heldUntil ?? '');
  expect(opens).toBeGreaterThan(Date.now());
  expect(new Date(opens).toISOString()).toMatch(/T00:00:00.000Z$/);
  const second = await loadOf(await request({ devices: [edge[0]], version: '1.1.0' }));
  const other = await loadOf(await request({ devices: [core[0]], deadlineSeconds: 60 }));
  await ended(other.id, 'installed');
  expect(await detailOf('load.requested', first.batch)).toMatchObject({ held: 1, devices: 1 });
  // Requests override with a reason, which the load and the audit trail contain.
  expect(await request({ devices: [edge[0]], overrideMaintenanceWindow: {} })).toMatchObject({ status: 422 });
  const override = { reason: 'security fix' };
  const urgent = await loadOf(
    await request({ devices: [edge[0]], module: 'udp', deadlineSeconds: 600, overrideMaintenanceWindow: override }),
  );
  await ended(urgent.id, 'installed');
  expect(await read(urgent.id)).toMatchObject({ overrideMaintenanceWindow: override, heldSince: null, heldUntil: null });
  expect(await detailOf('load.requested', urgent.batch)).toMatchObject({ overrideMaintenanceWindow: 'security fix' });
  for (const { id } of [first, second]) expect(await read(id)).toMatchObject({ state: 'queued', dispatchedAt: null });

  await setWindows('edge', 'zone=edge', [closed(), always]);
  await ended(second.id, 'replaced');
  expect(await read(first.id)).toMatchObject({ outcome: 'installed', heldSince: null, heldUntil: null, deadlineAt: first.deadlineAt });
  for (const { id } of [first, second]) expect(await detailOf('load.released', id)).toEqual({ device: edge[0] });
});

test('all groups of a device must be open', async () => {
  await setWindows('edge', 'zone=edge', [always]);
  await setWindows('gold', 'tier=gold', [closed()]);
  const load = await loadOf(await request({ devices: [core[1]] }));
  expect(load).toMatchObject({ heldUntil: expect.any(String) });
  await setWindows('core', 'zone=core', [closed()]);
  await setWindows('gold', 'tier=gold', [always]);
  // The other group is closed still: its opening is the next one.
  const other = await loadOf(await request({ devices: [core[1]], version: '1.1.0' }));
  expect(other.heldUntil).toBe(load.heldUntil);
  const labels = `/v1/devices/${core[1]}/labels`;
  // Labels decide at any time which groups have the device.
  expect((await service.request('PUT', labels, { labels: { zone: 'edge' } })).status).toBeLessThan(300);
  await ended(other.id, 'replaced');
  expect((await service.request('PUT', labels, { labels: { zone: 'core' } })).status).toBeLessThan(300);
  for (const name of ['gold', 'core']) expect((await service.request('DELETE', `/v1/groups/${name}`)).status).toBe(204);
});

test('a request is rejected if the windows do not open before its deadline, with the next opening and what to change', async () => {
  await setWindows('edge', 'zone=edge', [closed()]);
  const before = itemsOf(await service.get('/v1/loads?limit=200')).length;
  const windowsClosed = { status: 409, body: { type: 'urn:patchbay:problem:windows-closed' } };
  for (const dryRun of [false, true]) {
    const one = await request({ devices: [edge[0], core[0]], version: '1.3.0', deadlineSeconds: 3_600, dryRun });
    expect(one).toMatchObject(windowsClosed);
    expect(one.body['detail']).toMatch(
      /^the maintenance windows of the device edge-1 are closed \(groups: edge\), and they open at .*T00:00:00.000Z, not before the deadline of the loads at .*Z: use a deadline of \d+ seconds or more \("deadlineSeconds"\), or override the windows with a reason \("overrideMaintenanceWindow"\); no load was created$/,
    );
  }
  const several = await request({ labels: { zone: 'edge' }, deadlineSeconds: 60 });
  expect(several.body['detail']).toContain('the maintenance windows of the 4 devices edge-1, edge-2, edge-3, edge-4 are closed');
  const seconds = Number(/deadline of (\d+) seconds/.exec(String(several.body['detail']))?.[1]);
  expect(await request({ devices: [edge[0]], deadlineSeconds: seconds - 120, version: '1.3.0' })).toMatchObject(windowsClosed);
  const unload = { module: 'tcp', deadlineSeconds: 60, version: undefined, devices: [edge[0]] };
  for (const dryRun of [false, true]) expect(await request({ ...unload, dryRun }, '/v1/unloads')).toMatchObject(windowsClosed);
  for (const dryRun of [false, true])
    expect(await request({ ...unload, reason: 'test', dryRun }, '/v1/rollbacks')).toMatchObject(windowsClosed);
  expect(
    await request(
      { reason: 'test', deadlineSeconds: 60, module: undefined, version: undefined },
      `/v1/devices/${edge[0]}/modules/tcp/rollback`,
    ),
  ).toMatchObject(windowsClosed);
  expect(itemsOf(await service.get('/v1/loads?limit=200')).length).toBe(before);

  // The deadline that the problem names is long enough.
  const held = await loadOf(await request({ devices: [edge[0]], deadlineSeconds: seconds + 60, version: '1.3.0' }));
  expect(held).toMatchObject({ heldUntil: expect.any(String) });
  await service.post(`/v1/loads/${held.id}/cancel`, undefined);
  // Windows that never meet do not open at all.
  const other = names[(new Date().getUTCDay() + 5) % 7];
  await setWindows('gold', 'zone=edge', [{ ...closed(), days: [other ?? 'monday'] }]);
  expect((await request({ devices: [edge[0]] })).body['detail']).toContain(
    '(groups: edge, gold), and they do not all open within 30 days: change the windows of the groups, or override',
  );
  expect((await service.request('DELETE', '/v1/groups/gold')).status).toBe(204);
});

test('previews say which loads would be held, and until when', async () => {
  await setWindows('edge', 'zone=edge', [closed()]);
  const devices = [edge[0], core[0]];
  const preview = await request({ devices, version: '1.3.0', dryRun: true });
  expect(preview).toMatchObject({ status: 200, body: { devices: 2, held: 1 } });
  const byDevice = (response: TestResponse, device: unknown) => itemsOf(response).find((item) => item['device'] === device);
  expect(byDevice(preview, edge[0])).toMatchObject({ held: true, heldUntil: expect.stringMatching(/T00:00:00.000Z$/) });
  expect(byDevice(preview, core[0])).toMatchObject({ held: false, heldUntil: null });
  const override = { overrideMaintenanceWindow: { reason: 'test' } };
  expect(await request({ devices, version: '1.3.0', dryRun: true, deadlineSeconds: 60, ...override })).toMatchObject({ body: { held: 0 } });
  const rollback = await request({ devices: [edge[0]], version: undefined, reason: 'test', dryRun: true }, '/v1/rollbacks');
  expect(itemsOf(rollback)).toMatchObject([{ held: true, heldUntil: expect.any(String) }]);
  const unload = { devices, version: undefined, dryRun: true };
  const unloads = await request(unload, '/v1/unloads');
  expect(unloads).toMatchObject({ status: 200, body: { devices: 2, held: 1 } });
  expect(byDevice(unloads, edge[0])).toMatchObject({ held: true, heldUntil: expect.stringMatching(/T00:00:00.000Z$/) });
  expect(byDevice(unloads, core[0])).toMatchObject({ held: false, heldUntil: null });
  expect(await request({ ...unload, deadlineSeconds: 60, ...override }, '/v1/unloads')).toMatchObject({ body: { held: 0 } });
  const rollout = await request({ devices, version: '1.3.0', deadlineSeconds: 60, dryRun: true }, '/v1/rollouts');
  expect(rollout).toMatchObject({ status: 200, body: { held: 1 } });
  expect(byDevice(rollout, edge[0])).toMatchObject({ held: true });
});

test('held loads can be cancelled, superseded and yanked, expire, and end with their device', async () => {
  await setWindows('edge', 'zone=edge', [closed()]);
  const device = edge[1];
  const hold = async (more: object = {}) => loadOf(await request({ devices: [device], version: '1.3.0', ...more }));
  const cancelled = await hold();
  expect((await service.post(`/v1/loads/${cancelled.id}/cancel`, undefined)).body).toMatchObject({ outcome: 'cancelled', heldSince: null });
  const superseded = await hold();
  const next = await hold({ supersede: true });
  expect(await read(superseded.id)).toMatchObject({ outcome: 'superseded' });
  expect((await service.postRaw('/v1/modules/tcp/builds/1.3.0/yank', { reason: 'broken' })).status).toBeLessThan(300);
  await ended(next.id, 'cancelled');
  expect((await service.postRaw('/v1/modules/tcp/builds/1.3.0/unyank', undefined)).status).toBeLessThan(300);
  const batch = await request({ devices: [device, edge[2]], version: '1.2.0' });
  const path = `/v1/load-batches/${String(batch.body['batch'])}` as const;
  const sql = await openSql(service.database);
  await sql.run(`UPDATE "Load" SET "deadlineAt" = "requestedAt" WHERE "batchId" = '${String(batch.body['batch'])}'`);
  await until('both loads have expired', async () => (await service.get(path)).body.outcomes?.['expired'] === 2);
  // A retry does not have the time: its deadline was moved.
  expect(await service.postRaw(`${path}/retry`, undefined)).toMatchObject({
    status: 409,
    body: { type: expect.stringContaining('windows-closed') },
  });
  await sql.run(`UPDATE "Load" SET "requestedAt" = ${timeInSql(1)} WHERE "batchId" = '${String(batch.body['batch'])}'`);
  await sql.run(`UPDATE "Load" SET "deadlineAt" = ${timeInSql(week * 1_000)} WHERE "batchId" = '${String(batch.body['batch'])}'`);
  const retried = await service.postRaw(`${path}/retry`, undefined);
  const again = itemsOf(await service.get(`/v1/loads?batch=${String(retried.body['batch'])}`));
  expect(again).toMatchObject([{ heldUntil: expect.any(String) }, { heldUntil: expect.any(String) }]);
  const [late = again[0], kept] = again;
  if (late === undefined || kept === undefined) throw new Error('two loads expected');
  await sql.run(`UPDATE "Load" SET "deadlineAt" = "requestedAt" WHERE "id" = '${late.id}'`);
  await ended(late.id, 'expired');
  await service.postRaw(`/v1/devices/${kept.device}/decommission`, { reason: 'test' });
  await ended(kept.id, 'cancelled');
  expect(await sql.run('SELECT "id" FROM "HeldOrder"')).toEqual([]);
  await sql.close();
});

describe('loads that no request chooses the time of', () => {
  const waves = [{ upToPercent: 100 }];

  test('a rollout waits for held loads beyond their deadline, which begins when the windows open', async () => {
    await setWindows('edge', 'zone=edge', [closed()]);
    const devices = [edge[0], core[0]];
    const body = { module: 'udp', version: '1.3.0', devices, soakSeconds: 0, waves, deadlineSeconds: 300 };
    const created = await service.postRaw('/v1/rollouts', body);
    expect(created).toMatchObject({ status: 202, body: { overrideMaintenanceWindow: null } });
    const path = `/v1/rollouts/${String(created.body['id'])}` as const;
    await until('the device without windows has the build', async () => (await service.get(path)).body.deviceCounts?.loaded === 1);
    const [held] = itemsOf(await service.get(`/v1/loads?device=${edge[0]}&state=queued`));
    if (held === undefined) throw new Error('no held load');
    expect(held).toMatchObject({ rollout: created.body['id'], heldUntil: expect.any(String) });
    // It may be held for up to 30 days.
    expect(Date.parse(held.deadlineAt ?? '') - Date.parse(held.requestedAt)).toBe(30 * 24 * 3_600_000);
    await setWindows('edge', 'zone=edge', [always]);
    await until('the rollout has completed', async () => (await service.get(path)).body.state === 'completed');
    expect((await service.get(path)).body).toMatchObject({ deviceCounts: { loaded: 2, failed: 0 } });
    const { deadlineAt, dispatchedAt } = await read(held.id);
    const left = Date.parse(deadlineAt ?? '') - Date.parse(dispatchedAt ?? '');
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThanOrEqual(300_000);
  });

  test('a rollout that overrides windows does not wait, and its reason is in the audit trail', async () => {
    await setWindows('edge', 'zone=edge', [closed()]);
    const override = { overrideMaintenanceWindow: { reason: 'worm' } };
    const body = { module: 'tcp', version: '1.3.0', devices: [edge[0]], soakSeconds: 0, waves, ...override };
    const created = await service.postRaw('/v1/rollouts', body);
    expect(created).toMatchObject({ status: 202, body: override });
    const path = `/v1/rollouts/${String(created.body['id'])}` as const;
    await until('the rollout has completed', async () => (await service.get(path)).body.state === 'completed');
    expect((await service.get(path)).body).toMatchObject({ deviceCounts: { loaded: 1 } });
    expect(await detailOf('rollout.requested', created.body['id'])).toMatchObject({ overrideMaintenanceWindow: 'worm' });
  });

  test('a load of an assignment is held until the windows open', async () => {
    await setWindows('edge', 'zone=edge', [closed()]);
    expect((await service.push('ip', '1.0.0', workModule(1))).status).toBe(201);
    expect((await service.postRaw('/v1/channels', { name: 'stable' })).status).toBe(201);
    const assignment = { name: 'ip', group: 'edge', channel: 'stable', module: 'ip', range: '^1', mode: 'enforce' };
    expect((await service.postRaw('/v1/assignments', assignment)).status).toBe(201);
    expect((await service.postRaw('/v1/channels/stable/promotions', { module: 'ip', version: '1.0.0' })).status).toBeLessThan(300);
    const held = await until('a load of the assignment', async () => {
      const loads = itemsOf(await service.get('/v1/loads?module=ip&limit=200'));
      return loads.find(({ heldUntil, state }) => state === 'queued' && heldUntil !== null) ?? null;
    });
    expect(Date.parse(held.deadlineAt ?? '')).toBeGreaterThan(Date.parse(held.heldUntil ?? ''));
    await setWindows('edge', 'zone=edge', []);
    await ended(held.id, 'installed');
  });
});
