// Rollbacks of patch sets over HTTP, on a device of a real host.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { Agent, attached, completed } from '../agents/agent.ts';
import { itemsOf, TestService, until } from '../test-service.ts';

const service = new TestService();
let device = '';
const quick = (result: number) => `(module (func (export "work") (param $n i32) (result i32) (i32.const ${result})))`;
/** `work(n)` waits until the access is interrupted. */
const waiting = `
  (module (import "kernel" "sleep" (func $sleep (param i32)))
    (func (export "work") (param $n i32) (result i32) (loop $next (call $sleep (i32.const 5)) (br $next)) (unreachable)))`;
/** Calls tcp. */
const importing = `
  (module (import "tcp" "work" (func $work (param i32) (result i32)))
    (func (export "run") (param $n i32) (result i32) (call $work (local.get $n))))`;

beforeAll(async () => {
  await service.start();
  service.startHost('real', 1);
  [device = ''] = await service.connectedDevices(1);
  for (const [version, source] of Object.entries({ '1.0.0': quick(1), '1.1.0': waiting, '1.2.0': quick(2), '1.3.0': quick(3) }))
    await service.push('tcp', version, source);
  await service.push('udp', '1.0.0', importing);
  await createSet('1.0.0', { tcp: '1.1.0', udp: '1.0.0' });
  await createSet('1.1.0', { tcp: '1.2.0', udp: '1.0.0' });
});
afterAll(() => service.close());

async function createSet(version: string, builds: Record<string, string>): Promise<void> {
  const named = Object.entries(builds).map(([module, buildVersion]) => ({ module, version: buildVersion }));
  expect((await service.postRaw('/v1/patch-sets', { name: 'net', version, builds: named })).status).toBe(201);
}

/** Registers a simulated host of one device. */
async function startAgent(capabilities: string[]) {
  const agent = new Agent(service);
  agent.capabilities = capabilities;
  expect((await agent.register('old', ['old-1'])).status).toBe(201);
  const attach = (await agent.next(0, 10)).findLast(({ kind }) => kind === 'attach-device');
  if (attach === undefined) throw new Error('no order');
  await agent.report(attached(attach));
  return { host: { agent, device: attach.device }, last: attach.sequence };
}

const reason = 'net drops packets';
const rollBack = (body: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
  service.postRaw('/v1/rollbacks', { patchSet: 'net', devices: [device], reason, ...body }, headers);
const ended = async (location: string | null) =>
  until(`${location} has ended`, async () => {
    const { body } = await service.get(`/v1/loads/${String(location).replace('/v1/loads/', '')}`);
    return body.outcome !== null && body;
  });
async function loadSet(version: string): Promise<string> {
  const accepted = await service.postRaw('/v1/loads', { patchSet: { name: 'net', version }, devices: [device] });
  const load = await ended(accepted.headers.get('location'));
  expect(load.outcome).toMatch(/^(installed|replaced)/);
  return String(load.id);
}
const modules = async () =>
  (await service.get(`/v1/devices/${device}`)).body.moduleTable?.map(({ module, version }) => `${module}@${version}`).toSorted();
const historyOf = async (module: string) =>
  itemsOf(await service.get(`/v1/devices/${device}/modules/${module}/history?order=asc`)).map(
    ({ version, load, removalCause, replacedByLoad }) => {
      return { version, load, removalCause, replacedByLoad };
    },
  );

test('a rollback reverts a patch set in one load, and the next one the set before', async () => {
  const [single] = await service.load('tcp', '1.0.0', [device]);
  const first = await loadSet('1.0.0');
  const program = { name: 'p', module: 'tcp', export: 'work', arguments: [1], threads: 2, calls: 1 };
  expect((await service.post(`/v1/devices/${device}/programs`, program)).status).toBe(202);
  await until('the threads are inside tcp@1.1.0', async () => {
    const { body } = await service.get(`/v1/devices/${device}`);
    return (body.moduleTable ?? []).some(({ module, referenceCount }) => module === 'tcp' && referenceCount === 2);
  });
  // udp is kept.
  const second = await loadSet('1.1.0');
  const third = (await service.load('tcp', '1.3.0', [device]))[0]?.id;

  const detail =
    'real-1: net@1.1.0 installed tcp@1.2.0, but the device now has tcp@1.3.0: roll back tcp first, until the device has the tcp@1.2.0 of net@1.1.0 again; no load was created';
  const refused = { status: 409, body: { type: 'urn:patchbay:problem:nothing-to-roll-back', detail } };
  expect([await rollBack(), await rollBack({ onMissingVersion: 'skip' })]).toMatchObject([refused, refused]);
  const skipped = {
    device,
    deviceName: 'real-1',
    action: 'skip',
    version: null,
    modules: [],
    reason: expect.stringContaining('tcp@1.3.0'),
  };
  expect(await rollBack({ dryRun: true })).toMatchObject({ status: 200, body: { items: [skipped] } });
  await ended((await service.post('/v1/rollbacks', { module: 'tcp', devices: [device], reason })).headers.get('location'));

  const preview = { device, deviceName: 'real-1', held: false, heldUntil: null, action: 'roll-back', version: '1.1.0', reason: null };
  const changes = [{ module: 'tcp', currentVersion: '1.2.0', version: '1.1.0' }];
  expect((await rollBack({ dryRun: true })).body).toEqual({ items: [{ ...preview, modules: changes }] });
  const key = { 'idempotency-key': 'rollback-of-net' };
  const accepted = await rollBack({}, key);
  expect(accepted).toMatchObject({ status: 202, body: { loads: [{ device, version: '1.1.0' }], unchanged: [], skipped: [] } });
  expect((await rollBack({}, key)).body).toEqual(accepted.body);
  const reverted = await ended(accepted.headers.get('location'));
  expect(reverted).toMatchObject({
    kind: 'patch-set',
    patchSet: { name: 'net', version: '1.1.0' },
    rollback: true,
    outcome: 'replaced',
    versionPolicy: 'downgrade',
    downgradeReason: reason,
    report: { members: [{ module: 'tcp', previous: { version: '1.2.0' }, current: { version: '1.1.0' } }] },
  });
  const [event] = itemsOf(await service.get(`/v1/audit?object=${reverted.batch}`));
  expect(event).toMatchObject({
    action: 'load.requested',
    detail: { kind: 'patch-set', module: 'net', isRollback: true, versions: ['1.1.0'], downgradeReason: reason, devices: 1 },
  });
  expect(event?.detail).not.toHaveProperty('builds');
  expect(await modules()).toEqual(['tcp@1.1.0', 'udp@1.0.0']);

  const last = await ended((await rollBack()).headers.get('location'));
  expect(last).toMatchObject({ patchSet: { version: '1.0.0' }, outcome: 'replaced' });
  expect(last.report?.members).toMatchObject([
    { module: 'tcp', previous: { version: '1.1.0' }, current: { version: '1.0.0' } },
    { module: 'udp', previous: { version: '1.0.0' }, current: null },
  ]);
  expect(await modules()).toEqual(['tcp@1.0.0']);
  expect(await historyOf('udp')).toEqual([{ version: '1.0.0', load: first, removalCause: 'unloaded', replacedByLoad: last.id }]);
  expect((await historyOf('tcp')).map(({ version, load }) => [version, load])).toEqual([
    ['1.0.0', single?.id],
    ['1.1.0', first],
    ['1.2.0', second],
    ['1.3.0', third],
    ['1.2.0', expect.stringMatching(/^lod_/)],
    ['1.1.0', reverted.id],
    ['1.0.0', last.id],
  ]);
  const sets = itemsOf(await service.get(`/v1/devices/${device}/history?order=asc`)).map(({ module, patchSet }) => [
    module,
    patchSet?.version,
  ]);
  expect(sets.filter(([module]) => module === 'udp')).toEqual([['udp', '1.0.0']]);
  const namedSets = [undefined, '1.0.0', '1.1.0', undefined, undefined, '1.1.0', '1.0.0'];
  expect(sets.filter(([module]) => module === 'tcp')).toEqual(namedSets.map((version) => ['tcp', version]));
  const nothing = 'real-1: no load of the patch set net to roll back among the last 50 loads of its modules; no load was created';
  expect(await rollBack()).toMatchObject({ status: 409, body: { detail: expect.stringContaining(nothing) } });
  // The rollback unloaded udp: a rollback of udp does not bring it back.
  const alone = await service.post('/v1/rollbacks', { module: 'udp', devices: [device], reason });
  expect(alone).toMatchObject({ status: 409, body: { type: 'urn:patchbay:problem:nothing-to-roll-back' } });
});

test('a module that was rolled back separately is named, with the modules to roll back too', async () => {
  await service.push('icmp', '1.0.0', quick(1));
  await createSet('2.0.0', { tcp: '1.2.0', icmp: '1.0.0' });
  await createSet('2.1.0', { tcp: '1.3.0', icmp: '1.0.0' });
  await loadSet('2.0.0');
  await ended((await service.post('/v1/rollbacks', { module: 'tcp', devices: [device], reason })).headers.get('location'));
  const popped =
    'the tcp@1.2.0 of net@2.0.0 was rolled back separately, and the device now has tcp@1.0.0: revert the rest of net@2.0.0 separately too (unload icmp)';
  expect(await rollBack()).toMatchObject({ status: 409, body: { detail: expect.stringContaining(popped) } });
  await ended((await service.post('/v1/unloads', { module: 'icmp', devices: [device] })).headers.get('location'));
  // The set is reverted.
  expect(await rollBack()).toMatchObject({ status: 409, body: { detail: expect.stringContaining('no load of the patch set net') } });
  await loadSet('2.1.0');
  await service.push('edge', '1.0.0', quick(1));
  const builds = ['tcp', 'edge'].map((module) => ({ module, version: module === 'tcp' ? '1.4.0' : '1.0.0' }));
  await service.push('tcp', '1.4.0', quick(4));
  await service.postRaw('/v1/patch-sets', { name: 'other', version: '1.0.0', builds });
  const other = await service.postRaw('/v1/loads', { patchSet: { name: 'other', version: '1.0.0' }, devices: [device] });
  await ended(other.headers.get('location'));
  await ended((await service.post('/v1/unloads', { module: 'icmp', devices: [device] })).headers.get('location'));
  const unloaded = 'net@2.1.0 installed icmp@1.0.0, but icmp is no longer loaded: roll back icmp first';
  expect(await rollBack()).toMatchObject({ status: 409, body: { detail: expect.stringContaining(unloaded) } });
  await ended((await service.post('/v1/rollbacks', { module: 'icmp', devices: [device], reason })).headers.get('location'));
  const above = 'but the device now has tcp@1.4.0 (of the patch set other@1.0.0): roll back that patch set first';
  expect(await rollBack()).toMatchObject({ status: 409, body: { detail: expect.stringContaining(above) } });
});

test('rejects a rollback of a patch set that does not exist, with settings for modules, or that a host does not support', async () => {
  const invalid = (pointer: string) => ({ status: 422, body: { errors: [{ pointer }] } });
  expect(await rollBack({ patchSet: 'never-created' })).toMatchObject(invalid('/patchSet'));
  expect(await rollBack({ patchSet: 'never-created', dryRun: true })).toMatchObject(invalid('/patchSet'));
  expect(await rollBack({ to: '1.0.0' })).toMatchObject(invalid('/to'));
  expect(await rollBack({ invalidation: 'none' })).toMatchObject(invalid('/invalidation'));
  expect(await rollBack({ module: 'tcp' })).toMatchObject(invalid(''));
  expect(await rollBack({ patchSet: undefined })).toMatchObject(invalid(''));
  const { host, last } = await startAgent(['load-patch-set']);
  await service.postRaw('/v1/loads', { patchSet: { name: 'net', version: '1.0.0' }, devices: [host.device] });
  const [order] = await host.agent.next(last, 10);
  if (order?.kind !== 'load-patch-set') throw new Error('no order');
  const members = order.members.flatMap((member, index) =>
    member.action === 'unload'
      ? []
      : [
          {
            module: member.module,
            previous: null,
            current: { version: member.version, image: member.image, address: `0x${index + 1}000`, pages: 1 },
          },
        ],
  );
  const table = Object.fromEntries(members.map(({ module, current }) => [module, current]));
  expect((await host.agent.report(completed(order, { outcome: 'installed', members }, table))).status).toBe(204);
  // An older agent takes over the host.
  await startAgent([]);
  const unsupported = 'the agent of host old does not support patch sets: update it; no load was created';
  expect(await rollBack({ devices: [host.device] })).toMatchObject({ status: 409, body: { detail: unsupported } });
});
