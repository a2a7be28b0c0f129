// Pruning: proofs of deleted events remain, and only images that no device has or can roll back to are deleted.

import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import { verifyExport } from '../../../src/proof/audit-export.ts';
import { readPublicKey } from '../../../src/proof/ed25519.ts';
import { parseHash, verifyConsistency, verifyInclusion } from '../../../src/proof/merkle-tree.ts';
import { Store } from '../../../src/service/database/store.ts';
import { findRetainedImages, retainEverything } from '../../../src/service/retention/retention.ts';
import { inTransaction } from '../records.ts';
import { bearer, itemsOf, type LoadPolicy, TestService, until, workModule } from '../test-service.ts';

let service = new TestService();
afterEach(async () => {
  await service.close();
  service = new TestService();
});

async function append(count: number): Promise<void> {
  const store = await Store.open(service.database);
  const event = {
    at: new Date(),
    actor: 'a',
    action: 'device.relabelled',
    object: 'b',
    outcome: 'succeeded' as const,
    requestId: '',
    detail: {},
  };
  await inTransaction(store, (records) => records.audit.append(Array.from({ length: count }, () => event)));
  await store.close();
}

const download = (query = '') => fetch(`${service.url}/v1/audit/export${query}`, { headers: bearer(service.key) });
const exported = async (query = '') => (await (await download(query)).text()).split('\n').filter((line) => line !== '');
const makeCheckpoint = async () => (await service.post('/v1/audit/checkpoints', undefined)).body;
const hashesOf = ({ hashes = [] }: { readonly hashes?: readonly string[] }) => hashes.map(parseHash);

async function* joined(...exports: readonly (readonly string[])[]): AsyncGenerator<string> {
  for (const [index, lines] of exports.entries()) yield* index === 0 ? lines : lines.slice(1);
}

test('old events are deleted in whole tiles once a checkpoint covers them, and remain provable', async () => {
  await service.start();
  const pinned = readPublicKey(String(itemsOf(await service.get('/v1/signing-keys'))[0]?.publicKey));
  // The event about the pruning is pruned too.
  await service.post('/v1/signing-keys', undefined);
  await append(700);
  const before = await makeCheckpoint();
  const archive = await exported();
  const archived: { number: number; hash: string }[] = archive.slice(1).map((line) => JSON.parse(line));
  await service.stop();
  service.retention = { ...service.retention, interval: 20, events: { age: 1, number: null } };
  await service.start();
  const start = await until('two tiles are pruned', async () => {
    // An export during pruning is aborted.
    const [line = '{}'] = await exported().catch(() => []);
    const found: { after: number } = JSON.parse(line);
    return found.after === 512 ? found : null;
  });
  const after = await makeCheckpoint();
  const rest = await exported();
  expect(JSON.parse(rest[1] ?? '')).toMatchObject({ number: 513, previous: archived[511]?.hash });
  const request = { checkpoints: [String(before.note), String(after.note)], keys: [pinned], isPartial: false };
  expect(await verifyExport(joined(rest), request)).toMatchObject({ kind: 'intact', first: 513, checkpoint: { size: after.size } });
  // With an archived export, the trail is complete from its beginning.
  const later = await exported(`?after=${archived.length}`);
  expect(await verifyExport(joined(archive, later), request)).toMatchObject({
    kind: 'intact',
    first: 1,
    checkpoint: { size: after.size },
  });
  // A missing event at the beginning that was not pruned is detected too.
  const { previous: _, ...shorter } = JSON.parse((await exported('?after=600'))[0] ?? '');
  const cut = [JSON.stringify({ ...shorter, previous: archived[599]?.hash }), ...(await exported('?after=600')).slice(1)];
  expect(await verifyExport(joined(cut), request)).toMatchObject({ kind: 'corrupt', first: 600 });

  const [size, root] = [Number(after.size), parseHash(String(after.root))];
  const inclusion = (await service.get(`/v1/audit/checkpoints/${size}/proof?event=17`)).body;
  expect(inclusion.hash).toBe(archived[16]?.hash);
  expect(verifyInclusion(parseHash(archived[16]?.hash ?? ''), 16, size, hashesOf(inclusion), root)).toBe(true);
  const from = Number(before.size);
  const consistency = (await service.get(`/v1/audit/checkpoints/${size}/proof?from=${from}`)).body;
  expect(verifyConsistency(from, size, hashesOf(consistency), parseHash(String(before.root)), root)).toBe(true);

  expect(start.after % 256).toBe(0);
  expect((await download('?after=17')).status).toBe(410);
  expect((await service.get('/v1/events?after=17')).body).toMatchObject({
    type: 'urn:patchbay:problem:pruned',
    detail: expect.stringContaining('512'),
  });
  const prunings = itemsOf(await service.get('/v1/audit?action=audit.pruned'));
  expect(prunings).toEqual([
    expect.objectContaining({ actor: 'service', detail: { after: 0, through: 512, checkpoint: expect.any(Number) } }),
  ]);
});

test('recent events and events without a checkpoint are kept', async () => {
  service.retention = { ...service.retention, interval: 5, events: { age: 3_600_000, number: null }, keepImages: 1 };
  await service.start();
  await append(600);
  await makeCheckpoint();
  // Images are pruned after events.
  for (const minor of [0, 1]) await service.push('udp', `1.${minor}.0`, sourceOf(minor));
  await until('the image of udp 1.0.0 is pruned', () => isPruned(0, 'udp'));
  expect(JSON.parse((await exported())[0] ?? '')).toMatchObject({ after: 0 });
});

const sourceOf = (minor: number) => workModule(minor);
const imageStatus = async (minor: number, module = 'tcp') => (await service.get(`/v1/modules/${module}/builds/1.${minor}.0/image`)).status;
const isPruned = async (minor: number, module = 'tcp') => {
  const { body } = await service.get(`/v1/modules/${module}/builds/1.${minor}.0`);
  return JSON.stringify(body.image).includes('"prunedAt":null') ? false : 'pruned';
};

/** Loads icmp 1.0.0, a patch set with 1.1.0, and 1.2.0, which is rolled back. Newer builds follow. */
async function loadPatchSetBetween(device: string): Promise<void> {
  for (const minor of [0, 1, 2, 3]) await service.push('icmp', `1.${minor}.0`, sourceOf(minor));
  await service.load('icmp', '1.0.0', [device]);
  const patchSet = { name: 'net', version: '1.0.0' };
  await service.push('arp', '1.1.0', sourceOf(1));
  const builds = ['arp', 'icmp'].map((module) => ({ module, version: '1.1.0' }));
  const created = await service.postRaw('/v1/patch-sets', { ...patchSet, builds });
  expect(created.status).toBe(201);
  expect((await service.postRaw('/v1/loads', { patchSet, devices: [device] })).status).toBe(202);
  await service.load('icmp', '1.2.0', [device]);
  expect((await service.post('/v1/rollbacks', { module: 'icmp', devices: [device], reason: 'to see' })).status).toBe(202);
  await until('icmp has 1.1.0 again', async () => {
    const { body } = await service.get(`/v1/devices/${device}`);
    return body.moduleTable?.some(({ module, version }) => module === 'icmp' && version === '1.1.0') ?? false;
  });
}

test('an image that no device has or can roll back to is deleted, and restored when its source is pushed again', async () => {
  await service.start();
  service.startHost('rack', 2);
  const [first = '', second = ''] = await service.connectedDevices(2);
  for (const minor of [0, 1, 2, 3, 4]) await service.push('tcp', `1.${minor}.0`, sourceOf(minor));
  for (const minor of [0, 1]) await service.push('udp', `1.${minor}.0`, sourceOf(minor));
  for (const minor of [0, 1, 2, 3]) await service.load('tcp', `1.${minor}.0`, [first]);
  for (const minor of [1, 3]) await service.load('tcp', `1.${minor}.0`, [second]);
  await loadPatchSetBetween(first);
  const program = await service.post(`/v1/devices/${first}/programs`, {
    name: 'caller',
    module: 'tcp',
    export: 'work',
    arguments: ['5'],
    threads: 1,
  });
  expect(program.status).toBe(202);
  await service.stop();
  service.retention = { ...retainEverything, interval: 20, keepImages: 1, keepVersions: 1 };
  await service.start();
  // The first device can roll back to 1.2, and the second to 1.1; 1.4 is the newest build.
  await until('the image of 1.0.0 is pruned', () => isPruned(0));
  await until('the image of udp 1.0.0 is pruned', () => isPruned(0, 'udp'));
  expect(await Promise.all([1, 2, 3, 4].map((minor) => imageStatus(minor)))).toEqual([200, 200, 200, 200]);
  expect(await imageStatus(1, 'udp')).toBe(200);
  // The device can roll the patch set back to 1.0.0, although it has had two other versions since then.
  expect(await imageStatus(0, 'icmp')).toBe(200);

  expect((await service.get('/v1/modules/tcp/builds/1.0.0/image')).body).toMatchObject({ type: 'urn:patchbay:problem:image-pruned' });
  const policy: LoadPolicy = { versionPolicy: 'downgrade', downgradeReason: 'to see' };
  const refused = await service.post('/v1/loads', { module: 'tcp', version: '1.0.0', devices: [first], ...policy });
  expect(refused).toMatchObject({
    status: 409,
    body: { type: 'urn:patchbay:problem:image-pruned', detail: expect.stringContaining('push the same source') },
  });
  expect((await service.push('tcp', '1.0.0', sourceOf(7))).status).toBe(409);
  const before = itemsOf(await service.get('/v1/audit?action=build.image-pruned'));
  expect(before.map(({ detail }) => JSON.stringify(detail)).filter((detail) => detail.includes('"tcp"'))).toHaveLength(1);

  await service.stop();
  service.retention = { ...service.retention, keepImages: 3_600_000 };
  await service.start();
  expect((await service.push('tcp', '1.0.0', sourceOf(0))).status).toBe(200);
  expect(await isPruned(0)).toBe(false);
  await service.connectedDevices(2);
  expect(await service.load('tcp', '1.0.0', [first], policy)).toMatchObject([{ outcome: expect.stringMatching(/^replaced/) }]);
  expect(itemsOf(await service.get('/v1/audit?action=build.image-restored'))).toHaveLength(1);
});

test('the images of pending loads and the drivers of running programs are kept', async () => {
  await service.start();
  const stopHost = service.startHost('rack', 1);
  const [device = ''] = await service.connectedDevices(1);
  for (const minor of [0, 1, 2]) await service.push('tcp', `1.${minor}.0`, sourceOf(minor));
  await service.load('tcp', '1.0.0', [device]);
  await service.post(`/v1/devices/${device}/programs`, { name: 'caller', module: 'tcp', export: 'work', arguments: ['5'], threads: 1 });
  await stopHost();
  const { body } = await service.post('/v1/loads', { module: 'tcp', version: '1.1.0', devices: [device] });
  await service.push('udp', '1.0.0', sourceOf(0));
  await service.push('udp', '1.1.0', sourceOf(1));
  await service.stop();
  service.retention = { ...retainEverything, interval: 20, keepImages: 1, keepVersions: 1 };
  await service.start();
  await until('the image of udp 1.0.0 is pruned', () => isPruned(0, 'udp'));
  service.startHost('rack', 1);
  await until('the load has its outcome', async () => {
    const [load] = itemsOf(await service.get(`/v1/loads?batch=${body.batch}`));
    return load?.outcome === 'replaced' || load?.outcome === 'replaced-interrupting';
  });
  await until('the program runs in the new version', async () => {
    const [running] = itemsOf(await service.get(`/v1/devices/${device}/programs`));
    return running?.state === 'running';
  });
});

test('the newest versions of each device and module are retained', () => {
  const residency = fc.record({
    deviceId: fc.constantFrom('d1', 'd2'),
    module: fc.constantFrom('tcp', 'udp'),
    imageDigest: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
  });
  fc.assert(
    fc.property(fc.array(residency, { maxLength: 40 }), fc.integer({ min: 1, max: 3 }), (history, keepVersions) => {
      const residencies = new Map(history.map((one, newest) => [JSON.stringify(one), { ...one, newest }]));
      const expected = new Set<string>();
      for (const deviceId of ['d1', 'd2'])
        for (const module of ['tcp', 'udp']) {
          const had = new Set(
            history
              .filter((one) => one.deviceId === deviceId && one.module === module)
              .map(({ imageDigest }) => imageDigest)
              .toReversed(),
          );
          for (const digest of [...had].slice(0, keepVersions + 1)) expected.add(digest);
        }
      expect(findRetainedImages([...residencies.values()], keepVersions)).toEqual(expected);
    }),
  );
});
