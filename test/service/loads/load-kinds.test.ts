// Unloads and loads of patch sets on real hosts, and loads of patch sets with a simulated agent.

import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { Agent, attached, completed, state } from '../agents/agent.ts';
import { firstOf, itemsOf, TestService, until } from '../test-service.ts';

let service: TestService;
let device: string;

/** `work(n)` waits until the access is interrupted. */
const waiting = `
  (module (import "kernel" "sleep" (func $sleep (param i32)))
    (func (export "work") (param $n i32) (result i32) (loop $next (call $sleep (i32.const 5)) (br $next)) (unreachable)))`;
const quick = (result: number) => `(module (func (export "work") (param $n i32) (result i32) (i32.const ${result})))`;
/** Calls tcp. */
const importing = (plus: number) => `
  (module (import "tcp" "work" (func $work (param i32) (result i32)))
    (func (export "run") (param $n i32) (result i32) (i32.add (i32.const ${plus}) (call $work (local.get $n)))))`;

beforeEach(async () => {
  service = await new TestService().start();
  onTestFinished(() => service.close());
});

async function startHost(): Promise<() => Promise<void>> {
  const stop = service.startHost('real', 1);
  [device = ''] = await service.connectedDevices(1);
  return stop;
}

const readDevice = async () => (await service.get(`/v1/devices/${device}`)).body;

/** Restarts a host, and waits until its device has reported the given number of modules in memory: it restores one after another. */
async function restartHost(stop: () => Promise<void>, count: number): Promise<void> {
  await stop();
  const { reportedAt: stoppedAt } = await readDevice();
  service.startHost('real', 1);
  await until('the device has restored its modules', async () => {
    const { reportedAt, moduleTable } = await readDevice();
    return reportedAt !== stoppedAt && moduleTable?.length === count;
  });
}

const read = async (load: string) => (await service.get(`/v1/loads/${load}`)).body;
const ended = (load: string) =>
  until(`${load} has ended`, async () => {
    const body = await read(load);
    return body.outcome !== null && body;
  });
const history = async () =>
  itemsOf(await service.get(`/v1/devices/${device}/history?order=asc`)).map(({ module, version, load, removalCause }) => {
    return { build: `${module}@${version}`, load, removalCause };
  });
const modules = async () => (await readDevice()).moduleTable?.map(({ module, version }) => `${module}@${version}`);

/** Starts a program with two threads, and waits until they are inside tcp. */
async function startProgram(): Promise<void> {
  const program = { name: 'p', module: 'tcp', export: 'work', arguments: [1], threads: 2, calls: 1 };
  expect((await service.post(`/v1/devices/${device}/programs`, program)).status).toBe(202);
  await until('the threads are inside the module', async () => {
    const { body } = await service.get(`/v1/devices/${device}`);
    return (body.moduleTable ?? []).some(({ module, referenceCount }) => module === 'tcp' && referenceCount === 2);
  });
}

async function unload(body: object): Promise<string> {
  const accepted = await service.postRaw('/v1/unloads', { devices: [device], ...body });
  expect(accepted.status).toBe(202);
  return String(accepted.headers.get('location')).replace('/v1/loads/', '');
}

test('a device unloads a module: refused while another module imports it, forced with a reason, and gone after a restart', async () => {
  const stop = await startHost();
  await service.push('tcp', '1.0.0', waiting);
  await service.push('udp', '1.0.0', importing(1));
  await service.load('tcp', '1.0.0', [device]);
  await service.load('udp', '1.0.0', [device]);
  const refused = await ended(await unload({ module: 'tcp' }));
  expect(refused).toMatchObject({ outcome: 'refused-imported', reason: expect.stringContaining('imports tcp.work') });
  expect(refused.report?.steps.map(({ step }) => step)).toEqual(['looked-up', 'linked', 'refused', 'completed']);
  await startProgram();
  const draining = await unload({ module: 'tcp', strategy: 'drain', drainMilliseconds: 600_000, forceReason: 'udp is next' });
  await until('it drains', async () => (await read(draining)).progress ?? null);
  expect(await service.post(`/v1/loads/${draining}/cancel`, undefined)).toMatchObject({ status: 202 });
  expect(await ended(draining)).toMatchObject({ outcome: 'cancelled', report: { current: { version: '1.0.0' } } });
  const forced = await ended(await unload({ module: 'tcp', forceReason: 'udp is next', invalidation: 'delete' }));
  expect(forced).toMatchObject({ kind: 'unload', outcome: 'unloaded-interrupting', interrupted: 2, retried: 0, failed: 2 });
  expect(forced.report).toMatchObject({ previous: { version: '1.0.0' }, current: null });
  const linked = forced.report?.steps.find(({ step }) => step === 'linked');
  expect(linked?.facts).toMatchObject({ unresolvedLinks: 1, forceReason: 'udp is next' });
  await restartHost(stop, 1);
  expect([await modules(), (await readDevice()).drift]).toEqual([['udp@1.0.0'], []]);
  expect(await service.load('tcp', '1.0.0', [device])).toMatchObject([{ outcome: 'installed' }]);
});

async function createSet(version: string, builds: Record<string, string>): Promise<{ name: string; version: string }> {
  const named = Object.entries(builds).map(([module, buildVersion]) => ({ module, version: buildVersion }));
  const created = await service.postRaw('/v1/patch-sets', { name: 'net', version, builds: named });
  expect(created.status).toBe(201);
  return { name: 'net', version };
}

async function loadSet(patchSet: { name: string; version: string }, terms: object = {}): Promise<string> {
  const accepted = await service.postRaw('/v1/loads', { patchSet, devices: [device], ...terms });
  expect(accepted).toMatchObject({ status: 202, body: { loads: [{ device, version: patchSet.version }] } });
  return String(accepted.headers.get('location')).replace('/v1/loads/', '');
}

test('a device takes a patch set in one load: each member has its history, and a refused member changes nothing', async () => {
  const stop = await startHost();
  await service.push('tcp', '1.0.0', waiting);
  await service.push('tcp', '1.1.0', quick(2));
  for (const version of ['1.0.0', '1.1.0']) await service.push('udp', version, importing(1));
  await service.push('tcp', '0.9.0', quick(3));
  const first = await loadSet(await createSet('1.0.0', { tcp: '1.0.0', udp: '1.0.0' }));
  expect(await ended(first)).toMatchObject({
    kind: 'patch-set',
    build: null,
    patchSet: { id: expect.stringMatching(/^pset_/), name: 'net', version: '1.0.0' },
    module: 'net',
    outcome: 'installed',
    report: {
      previous: null,
      current: null,
      members: [
        { module: 'tcp', previous: null },
        { module: 'udp', current: { version: '1.0.0' } },
      ],
    },
  });
  await startProgram();
  const second = await loadSet(await createSet('1.1.0', { tcp: '1.1.0', udp: '1.1.0' }), { strategy: 'drain', drainMilliseconds: 600_000 });
  const progress = await until('it drains', async () => (await read(second)).progress ?? null);
  expect(progress).toMatchObject({ module: 'tcp', previousVersion: '1.0.0', accesses: 2 });
  expect(await service.post(`/v1/loads/${second}/inject`, undefined)).toMatchObject({ status: 202 });
  const replaced = await ended(second);
  expect(replaced).toMatchObject({ outcome: 'replaced-interrupting', interrupted: 2, retried: 2 });
  const swaps = replaced.report?.steps.flatMap(({ step, module }) => (step === 'table-updated' ? [module] : []));
  expect(swaps).toEqual(['tcp', 'udp']);
  const expected = [
    { build: 'tcp@1.0.0', load: first, removalCause: 'replaced-interrupting' },
    { build: 'udp@1.0.0', load: first, removalCause: 'replaced-interrupting' },
    { build: 'tcp@1.1.0', load: second, removalCause: null },
    { build: 'udp@1.1.0', load: second, removalCause: null },
  ];
  expect((await history()).toSorted((left, right) => (left.build.slice(4) < right.build.slice(4) ? -1 : 1))).toEqual(expected);
  const older = await ended(await loadSet(await createSet('0.9.0', { tcp: '0.9.0', udp: '1.1.0' })));
  expect(older).toMatchObject({ outcome: 'refused-not-newer', reason: expect.stringContaining('tcp') });
  expect(await history()).toHaveLength(4);
  // A member that is in memory already is kept.
  await service.load('tcp', '0.9.0', [device], { versionPolicy: 'different' });
  expect(await ended(await loadSet({ name: 'net', version: '1.1.0' }))).toMatchObject({ outcome: 'replaced' });
  expect((await history()).filter(({ build }) => build === 'udp@1.1.0')).toEqual([
    { build: 'udp@1.1.0', load: second, removalCause: null },
  ]);
  await restartHost(stop, 2);
  expect((await modules())?.toSorted()).toEqual(['tcp@1.1.0', 'udp@1.1.0']);
});

/** Registers a simulated host of one device. */
async function startAgent(capabilities: string[]): Promise<{ agent: Agent; last: number }> {
  const agent = new Agent(service);
  agent.capabilities = capabilities;
  await agent.register('rack', ['rack-1']);
  const [attach] = await agent.next(0, 10);
  if (attach === undefined) throw new Error('no order');
  await agent.report(attached(attach));
  device = firstOf(await service.get('/v1/devices')).id;
  return { agent, last: attach.sequence };
}

test('the order of a patch set has the demands of each member, and a reverted set is in the history of each', async () => {
  const { agent, last } = await startAgent(['load-patch-set']);
  for (const module of ['tcp', 'udp']) await service.push(module, '1.0.0', quick(1));
  const publicKey = '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n';
  const key = await service.post('/v1/publisher-keys', { name: 'release', publicKey });
  await service.post('/v1/signature-policies', { name: 'udp', module: 'udp', device, publisherKeys: [String(key.body.id)], threshold: 1 });
  const load = await loadSet(await createSet('1.0.0', { tcp: '1.0.0', udp: '1.0.0' }), { strategy: 'drain' });
  const [order] = await agent.next(last, 10);
  expect(order).toMatchObject({
    kind: 'load-patch-set',
    load,
    patchSet: { name: 'net', version: '1.0.0' },
    members: [
      { action: 'load', module: 'tcp', version: '1.0.0', demands: [] },
      { action: 'load', module: 'udp', demands: [{ name: 'udp', threshold: 1 }] },
    ],
  });
  if (order?.kind !== 'load-patch-set') throw new Error('no order');
  // While the set drains, the device reports the new versions.
  const images = Object.fromEntries(
    order.members.flatMap((member, index) =>
      member.action === 'load' ? [[member.module, { version: member.version, image: member.image, address: `0x${index + 1}000` }]] : [],
    ),
  );
  await agent.report({ kind: 'device-state', device, state: state(images) });
  const times = { at: new Date().toISOString(), startedMicroseconds: 0, microseconds: 1 };
  const placed = { pages: 1, selfCheck: 'none' as const, stateWords: null };
  const steps = [
    ...['tcp', 'udp'].flatMap((module, index) => [
      { step: 'loaded' as const, operation: 230 as const, ...times, facts: { address: `0x${index + 1}000`, ...placed }, module },
      { step: 'table-updated' as const, operation: 240 as const, ...times, facts: { from: null, to: `0x${index + 1}000` }, module },
    ]),
    { step: 'failed' as const, operation: null, ...times, facts: { during: 'references-reset', reason: 'timeout' } },
  ];
  const members = ['tcp', 'udp'].map((module) => ({ module, previous: null, current: null }));
  expect((await agent.report(completed(order, { outcome: 'failed', reason: 'timeout', members, steps }))).status).toBe(204);
  expect(await read(load)).toMatchObject({ outcome: 'failed', report: { steps: steps.map(({ step }) => ({ step })) } });
  expect((await history()).toSorted((left, right) => (left.build < right.build ? -1 : 1))).toEqual([
    { build: 'tcp@1.0.0', load, removalCause: 'reverted' },
    { build: 'udp@1.0.0', load, removalCause: 'reverted' },
  ]);
  expect((await service.get(`/v1/devices/${device}`)).body.drift).toEqual([]);
  expect(itemsOf(await service.get(`/v1/devices/${device}/modules`))).toEqual([]);
  expect(firstOf(await service.get(`/v1/audit?object=${load}`)).detail).toMatchObject({
    kind: 'patch-set',
    module: 'net',
    version: '1.0.0',
  });
});

test('rejects a load of a patch set that does not exist, is no set, or that a host does not support', async () => {
  await startAgent([]);
  for (const module of ['tcp', 'udp']) await service.push(module, '1.0.0', quick(1));
  const patchSet = await createSet('1.0.0', { tcp: '1.0.0', udp: '1.0.0' });
  const post = (body: object) => service.postRaw('/v1/loads', { devices: [device], ...body });
  const invalid = (pointer: string) => ({ status: 422, body: { errors: [{ pointer }] } });
  expect(await post({ patchSet: { name: 'net', version: '2.0.0' } })).toMatchObject(invalid('/patchSet'));
  expect(await post({ patchSet, invalidation: 'none' })).toMatchObject(invalid('/invalidation'));
  expect(await post({ patchSet, version: '1.0.0' })).toMatchObject(invalid('/version'));
  expect(await post({ patchSet, module: 'tcp', version: '1.0.0' })).toMatchObject(invalid(''));
  expect(await post({})).toMatchObject(invalid(''));
  expect(await post({ patchSet })).toMatchObject({
    status: 409,
    body: { detail: 'the agent of host rack does not support patch sets: update it; no load was created' },
  });
});
