// A build is deleted only if nothing refers to it, also while requests that would use it arrive.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { kind, runSql } from '../../databases.ts';
import { itemsOf, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
const replica = new TestService();
let device = '';

beforeAll(async () => {
  await service.start();
  service.startHost('rack', 1);
  [device = ''] = await service.connectedDevices(1);
});
afterAll(async () => {
  await replica.close();
  await service.close();
});

const remove = (module: string, version: string, from = service) => from.request('DELETE', `/v1/modules/${module}/builds/${version}`);
const imagesOf = (digest: unknown) => runSql(service.database, 'SELECT "digest" FROM "Image" WHERE "digest" = ?', String(digest));

test('an unused build is deleted with its image, and its version is free again', async () => {
  const { body: build } = await service.push('unused', '1.0.0', workModule(1));
  const digest = build.image?.digest;
  expect(await imagesOf(digest)).toHaveLength(1);
  expect((await remove('unused', '1.0.0')).status).toBe(204);
  expect((await service.get('/v1/modules/unused/builds/1.0.0')).status).toBe(404);
  expect((await remove('unused', '1.0.0')).status).toBe(404);
  expect(await imagesOf(digest)).toEqual([]);
  expect(itemsOf(await service.get(`/v1/audit?object=${build.id}&action=build.deleted`))).toMatchObject([
    { detail: { module: 'unused', version: '1.0.0', image: digest } },
  ]);
  expect((await service.push('unused', '1.0.0', workModule(2))).status).toBe(201);
});

test('an image that another build has remains', async () => {
  const { body: first } = await service.push('twin', '1.0.0', workModule(3));
  const { body: second } = await service.push('twin', '1.1.0', workModule(3));
  const isShared = first.image?.digest === second.image?.digest;
  expect((await remove('twin', '1.0.0')).status).toBe(204);
  expect(await imagesOf(first.image?.digest)).toHaveLength(isShared ? 1 : 0);
  expect((await service.load('twin', '1.1.0', [device]))[0]?.outcome).toBe('installed');
});

test('a build that a device, a load, a rollout or a patch set uses is not deleted; the problem names them', async () => {
  for (const [version, plus] of [
    ['1.0.0', 1],
    ['1.1.0', 2],
    ['1.2.0', 3],
    ['1.3.0', 4],
  ] as const)
    await service.push('used', version, workModule(plus));
  await service.load('used', '1.1.0', [device]);
  // Refused, so that the device never has it.
  await service.load('used', '1.0.0', [device]);
  const startAt = new Date(Date.now() + 3_600_000).toISOString();
  const { body: rollout } = await service.post('/v1/rollouts', {
    module: 'used',
    version: '1.2.0',
    devices: [device],
    waves: [{ upToPercent: 100 }],
    startAt,
  });
  expect(rollout.state).toBe('pending');
  const builds = [
    { module: 'used', version: '1.3.0' },
    { module: 'twin', version: '1.1.0' },
  ];
  await service.post('/v1/patch-sets', { name: 'net', version: '1.0.0', builds });
  const refusals: Record<string, string> = {
    '1.0.0': '1 load was requested for it',
    '1.1.0': '1 device has it; the history of devices has 1 residency of it; 1 load was requested for it; 1 rollout uses it',
    '1.2.0': '1 rollout uses it',
    '1.3.0': 'it is in the patch set net@1.0.0',
  };
  for (const [version, uses] of Object.entries(refusals)) {
    const refused = await remove('used', version);
    expect(refused, version).toMatchObject({ status: 409, body: { type: 'urn:patchbay:problem:build-in-use' } });
    expect(refused.body['detail']).toBe(`used@${version} cannot be deleted: ${uses}. Yank the build instead, so that nothing new uses it`);
  }
});

test('an earlier build takes the place of a deleted one among the dependents of a module', async () => {
  const importing = (plus: number) =>
    `(module (import "twin" "work" (func $work (param i32) (result i32))) (func (export "go") (result i32) (i32.add (call $work (i32.const 1)) (i32.const ${plus}))))`;
  for (const [version, plus] of [
    ['1.0.0', 1],
    ['1.1.0', 2],
  ] as const)
    await service.push('importer', version, importing(plus));
  const dependents = async () => (await service.get('/v1/modules/twin/builds/1.1.0')).body.dependents?.map(({ version }) => version);
  expect(await dependents()).toEqual(['1.1.0']);
  expect((await remove('importer', '1.1.0')).status).toBe(204);
  expect(await dependents()).toEqual(['1.0.0']);
  expect((await remove('importer', '1.0.0')).status).toBe(204);
  expect(await dependents()).toEqual([]);
});

test('of a deletion and a load, a rollout or a patch set at the same moment, one wins, also on two replicas', async () => {
  const hasReplicas = kind === 'postgresql';
  if (hasReplicas) {
    replica.database = service.database;
    replica.key = service.key;
    replica.privateKeys = service.privateKeys;
    await replica.start();
  }
  const other = hasReplicas ? replica : service;
  const winners = new Set<string>();
  for (let round = 0; round < 24; round += 1) {
    const module = `race${round}`;
    await service.push(module, '1.0.0', workModule(round));
    const builds = [
      { module, version: '1.0.0' },
      { module: 'twin', version: '1.1.0' },
    ];
    const use = () =>
      [
        () => other.postRaw('/v1/loads', { module, version: '1.0.0', devices: [device] }),
        () => other.postRaw('/v1/rollouts', { module, version: '1.0.0', devices: [device], waves: [{ upToPercent: 100 }] }),
        () => other.postRaw('/v1/patch-sets', { name: module, version: '1.0.0', builds }),
      ][round % 3]?.();
    const isFirst = round % 2 === 0;
    const deletion = isFirst ? remove(module, '1.0.0') : null;
    const used = use();
    const [deleted, accepted] = await Promise.all([deletion ?? remove(module, '1.0.0'), used]);
    const isUsed = accepted !== undefined && accepted.status < 300;
    expect([deleted.status, isUsed], module).toEqual(isUsed ? [409, true] : [204, false]);
    winners.add(isUsed ? 'use' : 'deletion');
    expect((await service.get(`/v1/modules/${module}/builds/1.0.0`)).status).toBe(isUsed ? 200 : 404);
  }
  const dangling = await runSql(
    service.database,
    `SELECT "Load"."id" FROM "Load" LEFT JOIN "Build" ON "Build"."id" = "Load"."buildId" WHERE "Load"."kind" = 'build' AND "Build"."id" IS NULL`,
  );
  expect(dangling).toEqual([]);
  expect(winners.size).toBeGreaterThan(0);
  await until('all loads have ended', async () => itemsOf(await service.get('/v1/loads?state=queued')).length === 0);
});
