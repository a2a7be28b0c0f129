// Nothing new uses a yanked build: requests are rejected, rollouts pause, queued loads end, and automatic choices pass over it.

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { Agent } from '../agents/agent.ts';
import { firstOf, itemsOf, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
const reason = 'it drops packets';
let devices: string[] = [];

beforeAll(async () => {
  await service.start();
  service.startHost('rack', 2);
  devices = await service.connectedDevices(2);
});
afterAll(() => service.close());

const pushVersions = async (module: string, ...versions: string[]) => {
  for (const [index, version] of versions.entries()) expect((await service.push(module, version, workModule(index))).status).toBe(201);
};
const yank = (module: string, version: string) => service.post(`/v1/modules/${module}/builds/${version}/yank`, { reason });
const unyank = (module: string, version: string) => service.postRaw(`/v1/modules/${module}/builds/${version}/unyank`, undefined);
const versionsOn = async (module: string) =>
  Promise.all(devices.map(async (device) => (await service.get(`/v1/devices/${device}`)).body.modules?.[module]));
const rolloutOf = async (id: unknown) => (await service.get(`/v1/rollouts/${String(id)}`)).body;
const statusAndType = ({ status, body }: { readonly status: number; readonly body: { readonly type?: unknown } }) => [status, body.type];
const yanked = [409, 'urn:patchbay:problem:build-yanked'];

/** Registers an agent that fetches no orders: loads of its devices remain queued. */
async function registerSilentHost(name: string, count: number): Promise<{ agent: Agent; ids: string[] }> {
  const agent = new Agent(service);
  agent.capabilities = ['load-patch-set'];
  await agent.register(
    name,
    Array.from({ length: count }, (_, index) => `${name}-${index}`),
  );
  const found = itemsOf(await service.get('/v1/devices?limit=200')).filter((device) => device.name.startsWith(`${name}-`));
  return { agent, ids: found.map(({ id }) => id) };
}

test('a yanked build is shown, listed by a filter, and rejected wherever a request names it, until it is unyanked', async () => {
  await pushVersions('shown', '1.0.0', '1.1.0', '1.2.0');
  await pushVersions('other', '1.0.0');
  const builds = [
    { module: 'shown', version: '1.1.0' },
    { module: 'other', version: '1.0.0' },
  ];
  expect((await service.post('/v1/patch-sets', { name: 'set', version: '1.0.0', builds })).status).toBe(201);
  await service.load('shown', '1.1.0', devices);
  await service.load('shown', '1.2.0', devices);

  expect((await service.postRaw('/v1/modules/shown/builds/1.1.0/yank', { reason: '' })).status).toBe(422);
  expect((await yank('shown', '9.0.0')).status).toBe(404);
  const by = expect.stringMatching(/^key_/);
  const shown = { yanked: { reason, at: expect.any(String), by } };
  expect(await yank('shown', '1.1.0')).toMatchObject({ status: 200, body: shown });
  const again = await service.post('/v1/modules/shown/builds/1.1.0/yank', { reason: 'another reason' });
  expect(again).toMatchObject({ status: 200, body: shown });
  expect((await service.get('/v1/modules/shown/builds/1.1.0')).body).toMatchObject(shown);
  const listed = async (filter: string) =>
    itemsOf(await service.get(`/v1/modules/shown/builds?order=asc${filter}`)).map(({ version }) => version);
  expect(await listed('&yanked=true')).toEqual(['1.1.0']);
  expect(await listed('&yanked=false')).toEqual(['1.0.0', '1.2.0']);
  expect(await listed('')).toEqual(['1.0.0', '1.1.0', '1.2.0']);

  const wanted = { module: 'shown', version: '1.1.0', devices };
  const rollout = { ...wanted, soakSeconds: 0, waves: [{ upToPercent: 100 }] };
  const detail = expect.stringContaining(`the build shown@1.1.0 is yanked: ${reason}. Choose another version, or unyank the build`);
  for (const [path, body] of [
    ['/v1/loads', wanted],
    ['/v1/loads', { patchSet: { name: 'set', version: '1.0.0' }, devices }],
    ['/v1/rollouts', rollout],
    ['/v1/rollouts', { ...rollout, dryRun: true }],
    ['/v1/patch-sets', { name: 'set', version: '2.0.0', builds }],
    ['/v1/rollbacks', { module: 'shown', devices, to: '1.1.0', reason: 'test' }],
    ['/v1/rollbacks', { module: 'shown', devices, to: '1.1.0', reason: 'test', dryRun: true }],
    [`/v1/devices/${devices[0]}/modules/shown/rollback`, { to: '1.1.0', reason: 'test' }],
  ] as const) {
    const refused = await service.postRaw(path, body);
    expect(statusAndType(refused), path).toEqual(yanked);
    expect(refused.body['detail']).toEqual(detail);
  }
  // The same set still exists.
  expect((await service.post('/v1/patch-sets', { name: 'set', version: '1.0.0', builds })).status).toBe(200);
  const loads = itemsOf(await service.get('/v1/loads?module=shown'));
  expect(loads).toHaveLength(4);

  expect((await unyank('shown', '1.1.0')).body).toMatchObject({ yanked: null });
  expect((await unyank('shown', '1.1.0')).status).toBe(200);
  expect((await service.post('/v1/loads', { ...wanted, versionPolicy: 'downgrade', downgradeReason: 'test' })).status).toBe(202);
  const { id } = (await service.get('/v1/modules/shown/builds/1.1.0')).body;
  const events = itemsOf(await service.get(`/v1/audit?object=${id}&order=asc`));
  expect(events.map(({ action }) => action)).toEqual(['build.created', 'build.yanked', 'build.unyanked']);
  expect(events[1]?.detail).toMatchObject({ module: 'shown', version: '1.1.0', reason });
});

test('rollbacks and the next version pass over yanked builds', async () => {
  await pushVersions('passed', '1.0.0', '1.1.0', '1.2.0');
  for (const version of ['1.0.0', '1.1.0', '1.2.0']) await service.load('passed', version, devices);
  await yank('passed', '1.1.0');
  const rollBack = () => service.post('/v1/rollbacks', { module: 'passed', devices, reason: 'test' });
  expect((await rollBack()).body.loads?.map(({ version }) => version)).toEqual(['1.0.0', '1.0.0']);
  await until('the devices have 1.0.0', async () => (await versionsOn('passed')).join() === '1.0.0,1.0.0');
  await service.load('passed', '1.2.0', devices);
  await yank('passed', '1.0.0');
  const left = await rollBack();
  expect(left).toMatchObject({ status: 409, body: { type: 'urn:patchbay:problem:nothing-to-roll-back' } });
  expect(left.body['detail']).toContain(`that is not yanked: the build passed@1.0.0 is yanked: ${reason}`);
  const preview = await service.postRaw('/v1/rollbacks', { module: 'passed', devices, reason: 'test', dryRun: true });
  expect(preview.body).toMatchObject({ items: [{ action: 'skip', reason: expect.stringContaining('is yanked') }, { action: 'skip' }] });

  await yank('passed', '1.2.0');
  await pushVersions('next', '1.0.0', '1.1.0', '2.0.0');
  await yank('next', '2.0.0');
  await yank('next', '1.1.0');
  const pushNext = async (version: string, plus: number) => (await service.push('next', version, workModule(plus))).body.version;
  expect(await pushNext('next-minor', 10)).toBe('1.2.0');
  expect(await pushNext('next-major', 11)).toBe('3.0.0');
  const unknown = await service.post('/v1/loads', { module: 'next', version: '7.0.0', devices });
  expect(unknown.body['detail']).toContain('the versions of next are 1.0.0, 1.2.0, 3.0.0');
});

test('a rollback of a patch set whose earlier build is yanked is impossible, and says why', async () => {
  await pushVersions('left', '1.0.0', '1.1.0');
  await pushVersions('right', '1.0.0', '1.1.0');
  for (const module of ['left', 'right']) await service.load(module, '1.0.0', devices);
  const builds = ['left', 'right'].map((module) => ({ module, version: '1.1.0' }));
  await service.post('/v1/patch-sets', { name: 'pair', version: '1.0.0', builds });
  const { body } = await service.post('/v1/loads', { patchSet: { name: 'pair', version: '1.0.0' }, devices });
  await until('the set is loaded', async () =>
    itemsOf(await service.get(`/v1/loads?batch=${body.batch}`)).every(({ outcome }) => outcome === 'replaced'),
  );
  await yank('right', '1.0.0');
  const refused = await service.post('/v1/rollbacks', { patchSet: 'pair', devices, reason: 'test' });
  expect(refused.status).toBe(409);
  expect(refused.body['detail']).toContain(`the build right@1.0.0 is yanked: ${reason}. Roll back right on its own, or unyank the build`);
  await unyank('right', '1.0.0');
  expect((await service.post('/v1/rollbacks', { patchSet: 'pair', devices, reason: 'test' })).status).toBe(202);
});

test('a running rollout pauses, cannot resume until the build is unyanked, and then continues', async () => {
  await pushVersions('paused', '1.0.0', '1.1.0');
  await service.load('paused', '1.0.0', devices);
  const { ids } = await registerSilentHost('silent', 1);
  const { body: rollout } = await service.post('/v1/rollouts', {
    module: 'paused',
    version: '1.1.0',
    devices: [...devices, ...ids],
    waves: [{ devices: 1, approval: true }, { upToPercent: 100 }],
    soakSeconds: 0,
  });
  await until('the rollout awaits approval', async () => (await rolloutOf(rollout.id)).state === 'awaiting-approval');
  const decide = (path: string, body?: unknown) => service.postRaw(`/v1/rollouts/${rollout.id}/${path}`, body);
  expect((await decide('approve', { wave: 1 })).status).toBe(200);
  await until('the silent device has a queued load', async () =>
    itemsOf(await service.get(`/v1/loads?device=${ids[0]}`)).some(({ state }) => state === 'queued'),
  );
  await yank('paused', '1.1.0');
  const pausedReason = `the build paused@1.1.0 is yanked: ${reason}`;
  expect(await rolloutOf(rollout.id)).toMatchObject({
    state: 'paused',
    reason: pausedReason,
    deviceCounts: { waiting: 1, failed: 0, loading: 0 },
  });
  expect(firstOf(await service.get(`/v1/loads?device=${ids[0]}`))).toMatchObject({ outcome: 'cancelled', reason: pausedReason });
  for (const path of ['resume', 'retry-failed']) expect(statusAndType(await decide(path)), path).toEqual(yanked);
  expect(itemsOf(await service.get(`/v1/audit?object=${rollout.id}&action=rollout.paused`))).toHaveLength(1);
  await unyank('paused', '1.1.0');
  expect((await rolloutOf(rollout.id)).state).toBe('paused');
  expect((await decide('resume')).status).toBe(200);
  await until('the silent device has another load', async () =>
    itemsOf(await service.get(`/v1/loads?device=${ids[0]}`)).some(({ state }) => state === 'queued'),
  );
  expect((await decide('abort', {})).status).toBe(200);
});

test('a rollout of a yanked build rolls back, to the newest earlier version that is not yanked', async () => {
  await pushVersions('back', '1.0.0', '1.1.0', '1.2.0');
  for (const version of ['1.0.0', '1.1.0']) await service.load('back', version, devices);
  const { body: rollout } = await service.post('/v1/rollouts', {
    module: 'back',
    version: '1.2.0',
    devices,
    waves: [{ devices: 1 }, { upToPercent: 100, approval: true }],
    soakSeconds: 0,
  });
  await until('the second wave awaits approval', async () => (await rolloutOf(rollout.id)).state === 'awaiting-approval');
  for (const version of ['1.2.0', '1.1.0']) await yank('back', version);
  expect((await rolloutOf(rollout.id)).state).toBe('paused');
  expect((await service.post(`/v1/rollouts/${rollout.id}/rollback`, { reason: 'yanked' })).status).toBe(202);
  await until('it is rolled back', async () => (await rolloutOf(rollout.id)).state === 'rolled-back');
  expect((await versionsOn('back')).toSorted()).toEqual(['1.0.0', '1.1.0']);
});

test('a device without an earlier version that is not yanked fails in the rollback with the reason', async () => {
  await pushVersions('stuck', '1.0.0', '1.1.0');
  await service.load('stuck', '1.0.0', devices);
  const wanted = {
    module: 'stuck',
    version: '1.1.0',
    devices,
    soakSeconds: 0,
    waves: [{ devices: 1 }, { upToPercent: 100, approval: true }],
  };
  const { body: rollout } = await service.post('/v1/rollouts', wanted);
  await until('the second wave awaits approval', async () => (await rolloutOf(rollout.id)).state === 'awaiting-approval');
  await yank('stuck', '1.0.0');
  expect((await rolloutOf(rollout.id)).state).toBe('awaiting-approval');
  const { body: rollback } = await service.post(`/v1/rollouts/${rollout.id}/rollback`, { reason: 'test' });
  await until('it is rolled back', async () => (await rolloutOf(rollout.id)).state === 'rolled-back');
  const [device] = itemsOf(await service.get(`/v1/rollouts/${rollback.id}/devices`));
  expect(device).toMatchObject({ state: 'failed', reason: expect.stringContaining(`the build stuck@1.0.0 is yanked: ${reason}`) });
  expect((await versionsOn('stuck')).toSorted()).toEqual(['1.0.0', '1.1.0']);
});

test('queued loads that would install the build end as cancelled; others remain', async () => {
  await pushVersions('queue', '1.0.0', '1.1.0');
  await pushVersions('buddy', '1.0.0');
  const builds = [
    { module: 'queue', version: '1.1.0' },
    { module: 'buddy', version: '1.0.0' },
  ];
  await service.post('/v1/patch-sets', { name: 'queued', version: '1.0.0', builds });
  const { ids } = await registerSilentHost('quiet', 3);
  const request = async (body: Schemas['NewLoads']) => String((await service.post('/v1/loads', body)).body.batch);
  const direct = await request({ module: 'queue', version: '1.1.0', devices: ids });
  const set = await request({ patchSet: { name: 'queued', version: '1.0.0' }, devices: ids.slice(0, 1) });
  const other = await request({ module: 'queue', version: '1.0.0', devices: ids });
  await yank('queue', '1.1.0');
  const outcomes = async (batch: string) => itemsOf(await service.get(`/v1/loads?batch=${batch}`)).map(({ outcome }) => outcome);
  expect(await outcomes(direct)).toEqual(['cancelled', 'cancelled', 'cancelled']);
  expect(await outcomes(set)).toEqual(['cancelled']);
  expect(await outcomes(other)).toEqual([null, null, null]);
});
