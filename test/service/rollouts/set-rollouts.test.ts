// Rollouts of patch sets on real hosts with live programs: a broken set is rolled back as a whole, a good one reaches every device.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { Agent, attached } from '../agents/agent.ts';
import { itemsOf, TestService, until, workModule } from '../test-service.ts';
import type { RequestSchema } from '../typed-paths.ts';

const service = new TestService();
let devices: string[];

const trappingModule = '(module (func (export "work") (param i32) (result i32) (unreachable)))';
/** `work(n)` calls udp. */
const callingModule = (plus: number) => `
  (module (import "udp" "work" (func $work (param i32) (result i32)))
    (func (export "work") (param $n i32) (result i32) (i32.add (i32.const ${plus}) (call $work (local.get $n)))))`;

beforeAll(async () => {
  await service.start();
  service.startHost('east', 2, { zone: 'east' });
  await service.connectedDevices(2);
  service.startHost('west', 1, { zone: 'west' });
  devices = await service.connectedDevices(3);
  for (const [version, plus] of [
    ['1.0.0', 1],
    ['1.2.0', 3],
  ] as const) {
    await service.push('udp', version, workModule(plus));
    await service.push('tcp', version, callingModule(plus));
  }
  await service.push('udp', '1.1.0', trappingModule);
  await service.push('tcp', '1.1.0', callingModule(2));
  await service.push('dns', '1.0.0', callingModule(1));
  for (const module of ['udp', 'tcp']) await service.load(module, '1.0.0', devices);
  await createSet('1.1.0', ['dns@1.0.0', 'tcp@1.1.0', 'udp@1.1.0']);
  await createSet('1.2.0', ['dns@1.0.0', 'tcp@1.2.0', 'udp@1.2.0']);
  // One program calls a member, the other another one that calls the first.
  for (const device of devices)
    for (const module of ['udp', 'tcp']) {
      const program = { module, export: 'work', arguments: [5], threads: 1, pauseMilliseconds: 5 };
      expect((await service.post(`/v1/devices/${device}/programs`, program)).status).toBe(202);
    }
});
afterAll(() => service.close());

async function createSet(version: string, builds: readonly string[]): Promise<void> {
  const named = builds.map((build) => ({ module: build.split('@')[0], version: build.split('@')[1] }));
  expect(await service.postRaw('/v1/patch-sets', { name: 'net', version, builds: named })).toMatchObject({ status: 201 });
}

type Body = Partial<RequestSchema<'NewRollout'>>;
const request = (version: string, body: Body = {}) =>
  service.post('/v1/rollouts', { patchSet: { name: 'net', version }, labels: { zone: 'east' }, soakSeconds: 0, ...body });

async function roll(version: string, body: Body = {}): Promise<string> {
  const response = await request(version, body);
  expect(response).toMatchObject({ status: 202, body: { patchSet: { name: 'net', version }, module: 'net', version } });
  return String(response.headers.get('location')).replace('/v1/rollouts/', '');
}

const read = async (id: string) => (await service.get(`/v1/rollouts/${id}`)).body;
const ended = (id: string) =>
  until(`${id} has ended`, async () => {
    const body = await read(id);
    return body.endedAt !== null && body;
  });
const devicesOf = async (id: string) =>
  itemsOf(await service.get(`/v1/rollouts/${id}/devices?order=asc`)).map(({ state, version, previousVersion, reason }) => {
    return { state, version, previousVersion, reason };
  });

/** Returns the modules of each device. */
const modulesOn = (on = devices) =>
  Promise.all(
    on.map(async (device) => {
      const table = (await service.get(`/v1/devices/${device}`)).body.moduleTable ?? [];
      return table.map(({ module, version }) => `${module}@${version}`).toSorted();
    }),
  );
const before = ['tcp@1.0.0', 'udp@1.0.0'];
const good = ['dns@1.0.0', 'tcp@1.2.0', 'udp@1.2.0'];

test('a broken set is rolled back automatically: every member is back, and a member that was installed first is unloaded', async () => {
  const broken = await roll('1.1.0', { waves: [{ devices: 1, soakSeconds: 600 }, { upToPercent: 100 }], onFailure: 'rollback' });
  const rollout = await ended(broken);
  expect(rollout).toMatchObject({ state: 'rolled-back', deviceCounts: { loaded: 1, skipped: 1 } });
  // Both programs count: that of tcp fails because tcp calls udp.
  expect(rollout.reason).toMatch(
    /^wave 1 failed: net@1\.1\.0: \d+ of \d+ calls failed \(before: 0 of \d+\), most of them in (tcp|udp); limit/,
  );
  expect(rollout.waves?.[0]).toMatchObject({ state: 'failed', measured: { worstMember: expect.stringMatching(/^(tcp|udp)$/) } });
  const rollback = await read(String(rollout.rolledBackBy));
  expect(rollback).toMatchObject({ patchSet: { name: 'net', version: '1.1.0' }, version: null, deviceCounts: { loaded: 1 } });
  expect(await devicesOf(String(rollback.id))).toEqual([{ state: 'loaded', version: '', previousVersion: '1.1.0', reason: null }]);
  expect(await modulesOn()).toEqual([before, before, before]);
  const loads = itemsOf(await service.get('/v1/loads?module=net&order=asc'));
  expect(loads.map(({ kind, rollback: isRollback }) => [kind, isRollback])).toEqual([
    ['patch-set', false],
    ['patch-set', true],
  ]);
  const audit = itemsOf(await service.get(`/v1/audit?object=${broken}&order=asc`));
  expect(audit[0]).toMatchObject({
    action: 'rollout.requested',
    detail: { module: 'net', version: '1.1.0', patchSet: expect.any(String) },
  });
  expect(audit.map(({ action }) => action)).toContain('rollout.rolled-back');
});

test('a good set reaches every device, devices that have it are left out, and an operator rolls it back', async () => {
  const preview = await request('1.2.0', { dryRun: true });
  expect(preview).toMatchObject({
    status: 200,
    body: { devices: 2, alreadyInstalled: 0, refused: 0, items: [{ forecast: 'would-replace', currentVersion: null }, {}] },
  });
  const rollout = await roll('1.2.0', {
    waves: [{ devices: 1 }, { upToPercent: 100, approval: true }],
    thresholds: { minimumCalls: 1 },
    dynamic: true,
  });
  await until('it waits for approval', async () => (await read(rollout)).waitingFor === 'approval');
  // A rollout of a member shares modules with the set.
  const conflict = await service.post('/v1/rollouts', { module: 'udp', version: '1.2.0', labels: { zone: 'east' } });
  expect(conflict).toMatchObject({
    status: 409,
    body: { detail: expect.stringContaining(`open rollouts of udp on the same devices: ${rollout}`) },
  });
  expect((await request('1.2.0', { labels: { zone: 'west' }, dryRun: true })).body).toMatchObject({ conflicts: [] });
  await service.post(`/v1/rollouts/${rollout}/approve`, { wave: 2 });
  await until('both have it', async () => (await read(rollout)).deviceCounts?.loaded === 2);
  expect(itemsOf(await service.get('/v1/rollouts?module=net&state=running'))).toMatchObject([{ id: rollout }]);
  // A device that gets the label later joins.
  await service.request('PUT', `/v1/devices/${devices[2]}/labels`, { labels: { zone: 'east' } });
  await until('the third has it', async () => (await read(rollout)).deviceCounts?.loaded === 3);
  await service.post(`/v1/rollouts/${rollout}/close`, undefined);
  expect(await ended(rollout)).toMatchObject({ state: 'completed', deviceCounts: { loaded: 3, failed: 0 } });
  expect(await modulesOn()).toEqual([good, good, good]);
  expect(await request('1.2.0')).toMatchObject({
    status: 409,
    body: { type: 'urn:patchbay:problem:already-installed', detail: 'every selected device already runs net@1.2.0' },
  });
  // One device gets another version of a member; its set can no longer be reverted as a whole.
  await service.push('dns', '1.1.0', callingModule(7));
  await service.load('dns', '1.1.0', devices.slice(0, 1));
  const { body } = await service.post(`/v1/rollouts/${rollout}/rollback`, { reason: 'checksums differ' });
  const rollback = await ended(String(body.id));
  expect(rollback).toMatchObject({ state: 'completed', deviceCounts: { loaded: 2, failed: 1 } });
  expect((await devicesOf(String(rollback.id))).filter(({ state }) => state === 'failed')).toMatchObject([
    { previousVersion: '1.2.0', reason: expect.stringContaining('the device now has dns@1.1.0') },
  ]);
  expect(await modulesOn()).toEqual([['dns@1.1.0', ...good.slice(1)], before, before]);
  // A device with another version of one member does not have the set.
  const partial = { patchSet: { name: 'net', version: '1.2.0' }, devices: devices.slice(0, 1), dryRun: true };
  expect(await service.post('/v1/rollouts', partial)).toMatchObject({
    status: 200,
    body: { alreadyInstalled: 0, refused: 1, items: [{ forecast: 'refused-not-newer', reason: expect.stringContaining('dns@1.0.0') }] },
  });
});

test('rejects a rollout without one content, of an unknown set, or with hosts that do not support patch sets', async () => {
  const invalid = (pointer: string, detail: string) => ({
    status: 422,
    body: { errors: [{ pointer, detail: expect.stringContaining(detail) }] },
  });
  expect(await request('2.0.0')).toMatchObject(invalid('/patchSet', 'create it first'));
  expect(await request('1.1.0', { module: 'tcp', version: '1.0.0' })).toMatchObject(invalid('', 'either module and version, or patchSet'));
  expect(await service.post('/v1/rollouts', { labels: { zone: 'east' } })).toMatchObject(invalid('', 'either module and version'));
  expect(await request('1.1.0', { version: '1.0.0' })).toMatchObject(invalid('/version', 'not allowed with patchSet'));
  expect(await request('1.1.0', { runningVersion: '*' })).toMatchObject(
    invalid('/runningVersion', 'select by devices, labels, selector or group'),
  );
  expect(await request('1.1.0', { invalidation: 'none' })).toMatchObject(invalid('/invalidation', 'for a patch set'));
  const agent = new Agent(service);
  agent.capabilities = [];
  await agent.register('old', ['old-1']);
  const [attach] = await agent.next(0, 10);
  if (attach !== undefined) await agent.report(attached(attach));
  const [old] = itemsOf(await service.get('/v1/devices?name=old-1'));
  const named = { devices: [String(old?.id)] };
  const onOld = { patchSet: { name: 'net', version: '1.1.0' }, ...named };
  expect(await service.post('/v1/rollouts', { ...onOld, dryRun: true })).toMatchObject({
    status: 200,
    body: {
      refused: 1,
      items: [{ forecast: 'unsupported-by-host', reason: 'the agent of host old does not support patch sets: update it' }],
    },
  });
  expect(await service.post('/v1/rollouts', onOld)).toMatchObject({
    status: 409,
    body: { detail: 'the agent of host old does not support patch sets: update it; no rollout was created' },
  });
});
