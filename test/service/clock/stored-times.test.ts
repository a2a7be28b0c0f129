// The times of resources and audit events come from the service clock, not from the clock of the machine, which is sometimes wrong.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { kind } from '../../databases.ts';
import { bearer, itemsOf, TestService, workModule } from '../test-service.ts';

/** How far the service clock is ahead of the machine: on PostgreSQL, it is the clock of the database. */
const ahead = 3_600_000;

const service = new TestService();
beforeAll(async () => {
  service.time = { wall: () => Date.now() + ahead, monotonic: () => performance.now() };
  await service.start();
  service.startHost('rack', 2);
});
afterAll(() => service.close());

const post = async (path: string, body?: unknown) => {
  const { status, body: created } = await service.postRaw(path, body);
  expect([path, status, created['detail']]).toEqual([path, expect.toBeOneOf([200, 201, 202]), undefined]);
  return created;
};
const send = async (method: string, path: string, body?: unknown) =>
  expect([path, (await service.request(method, path, body)).status]).toEqual([path, expect.toBeOneOf([200, 204])]);

test.runIf(kind === 'sqlite')('every event and every created object has a time of the service clock', async () => {
  const [device = '', other = ''] = await service.connectedDevices(2);
  const started = Date.now() + ahead - 60_000;
  await service.push('tcp', '1.0.0', workModule(1));
  await service.push('udp', '1.0.0', workModule(2));
  const builds = ['tcp', 'udp'].map((module) => ({ module, version: '1.0.0' }));
  const patchSet = await post('/v1/patch-sets', { name: 'net', version: '1.0.0', builds });
  await post('/v1/modules/tcp/builds/1.0.0/yank', { reason: 'a test' });
  const group = await post('/v1/groups', { name: 'north', selector: 'zone=north' });
  await send('PUT', '/v1/groups/north', { name: 'north', selector: 'zone in (north)' });
  const channel = await post('/v1/channels', { name: 'stable' });
  const assigned = { name: 'north', group: 'north', channel: 'stable', module: 'tcp', range: '^1', mode: 'off' };
  const assignment = await post('/v1/assignments', assigned);
  await send('PUT', '/v1/assignments/north', { ...assigned, range: '^2' });
  await send('PUT', '/v1/channels/stable', { name: 'beta' });
  await send('DELETE', '/v1/assignments/north');
  await send('DELETE', '/v1/channels/beta');
  await send('DELETE', '/v1/groups/north');
  await post('/v1/devices/labels', { devices: [device], set: { zone: 'north' } });
  await send('PATCH', `/v1/devices/${device}`, { name: 'router' });
  await send('PUT', `/v1/devices/${device}/labels`, { labels: { zone: 'south' } });
  const host = itemsOf(await service.get('/v1/hosts'))[0]?.id ?? '';
  await send('PATCH', `/v1/hosts/${host}`, { name: 'rack-2' });
  await post(`/v1/devices/${other}/decommission`, { reason: 'a test' });
  const { secret } = await post('/v1/keys', { name: 'reader', role: 'viewer' });
  expect((await service.get('/v1/keys', bearer(String(secret)))).status).toBe(403);
  const { at } = await post('/v1/audit/checkpoints');
  expect(Date.parse(String(at))).toBeGreaterThan(started);
  for (const { createdAt } of [patchSet, group, channel, assignment]) expect(Date.parse(String(createdAt))).toBeGreaterThan(started);
  const events = itemsOf(await service.get('/v1/audit?order=asc&limit=200')).filter(({ actor }) => actor !== 'service');
  expect([...new Set(events.map(({ action }) => action))]).toEqual(
    expect.arrayContaining([
      ...['host.registered', 'device.attached', 'build.created', 'patch-set.created', 'build.yanked'],
      ...['channel.created', 'channel.replaced', 'channel.removed', 'assignment.created', 'assignment.replaced', 'assignment.removed'],
      ...['group.created', 'group.replaced', 'group.removed', 'device.relabelled', 'device.renamed', 'host.renamed'],
      ...['device.decommissioned', 'key.created', 'key.denied'],
    ]),
  );
  expect(events.filter(({ at }) => Date.parse(at) < started).map(({ action }) => action)).toEqual([]);
});
