// Patch sets: created once, listed and signed; sets that could never be loaded are rejected.

import { verify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readEnvelope } from '../../../src/proof/envelope.ts';
import { readPatchSetStatement } from '../../../src/proof/patch-set-statement.ts';
import { readStatement } from '../../../src/proof/statement.ts';
import { runSql } from '../../databases.ts';
import { preAuthenticationEncoding } from '../publishing.ts';
import { bearer, itemsOf, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();

type Imported = { readonly module: string; readonly name: string; readonly parameter: 'i32' | 'i64' };
const importOf = (module: string, name: string, parameter: Imported['parameter'] = 'i32'): Imported => ({ module, name, parameter });
/** A module that exports `f` of the type (i32) → i32, and calls imports, each with one parameter. */
const caller = (...imports: readonly Imported[]) => `
  (module
    ${imports.map(({ module, name, parameter }, index) => `(import "${module}" "${name}" (func $${index} (param ${parameter}) (result i32)))`).join(' ')}
    (func (export "f") (param i32) (result i32)
      ${imports.map(({ parameter }, index) => `(drop (call $${index} (${parameter}.const 0)))`).join(' ')}
      (local.get 0)))`;

async function push(module: string, version: string, source: string, dependencies: Record<string, string> = {}): Promise<void> {
  const pushed = await service.post(`/v1/modules/${module}/builds`, { version, language: 'wat', source, dependencies });
  if (pushed.status !== 201) throw new Error(JSON.stringify(pushed.body));
}

beforeAll(async () => {
  await service.start();
  await push('tcp', '1.0.0', workModule(1));
  await push('tcp', '1.2.0', caller(), { udp: '^1.1.0', outside: '^9.0.0' });
  await push('udp', '1.1.0', caller());
  await push('udp', '1.4.0', caller());
  await push('udp', '2.1.0', caller());
  await push('dns', '1.0.0', caller(importOf('udp', 'f'), importOf('outside', 'g')));
  await push('dns', '2.0.0', caller(importOf('udp', 'missing')));
  await push('dns', '3.0.0', caller(importOf('udp', 'f', 'i64')));
  await push('strict', '1.0.0', caller(), { udp: '^2.0.0' });
  await push('narrow', '1.0.0', caller(), { udp: '^3.0.0' });
  await push('ping', '1.0.0', caller(importOf('pong', 'f')), { pong: '^1.0.0' });
  await push('ping', '2.0.0', caller(), { pong: '^2.0.0' });
  await push('pong', '1.0.0', caller(importOf('ping', 'f')), { ping: '^1.0.0' });
  for (const minor of [0, 1, 2, 3]) await push('many', `1.${minor}.0-rc.1`, caller());
  for (let minor = 10; minor < 20; minor += 1) await push('many', `1.${minor}.0`, caller());
});
afterAll(() => service.close());

type NamedBuild = { readonly module: string; readonly version: string };
/** Parses builds written as `module@version`. */
const buildsOf = (...builds: readonly string[]): NamedBuild[] =>
  builds.map((build) => {
    const [module = '', version = ''] = build.split('@');
    return { module, version };
  });
const create = (name: string, version: string, ...builds: readonly string[]) =>
  service.post('/v1/patch-sets', { name, version, builds: buildsOf(...builds) });
const namesOf = async (query: string) =>
  itemsOf(await service.get(`/v1/patch-sets?${query}`)).map(({ name, version }) => `${name}@${version}`);

describe('a patch set', () => {
  test('is created with the digests and declared dependencies of its builds, and recorded in the audit trail', async () => {
    const created = await create('net', '1.0.0', 'udp@1.4.0', 'tcp@1.2.0');
    const digestOf = async (module: string, version: string) =>
      (await service.get(`/v1/modules/${module}/builds/${version}`)).body.image?.digest;
    const [tcp, udp] = [await digestOf('tcp', '1.2.0'), await digestOf('udp', '1.4.0')];
    expect(created).toMatchObject({
      status: 201,
      body: {
        id: expect.stringMatching(/^pset_[0-9a-f]{32}$/),
        name: 'net',
        version: '1.0.0',
        members: [
          { module: 'tcp', version: '1.2.0', imageDigest: tcp, dependencies: { udp: '^1.1.0', outside: '^9.0.0' } },
          { module: 'udp', version: '1.4.0', imageDigest: udp, dependencies: {} },
        ],
      },
    });
    const { id, members = [] } = created.body;
    expect(members[0]?.build).toBe((await service.get('/v1/modules/tcp/builds/1.2.0')).body.id);
    expect(created.headers.get('location')).toBe(`/v1/patch-sets/${id}`);
    const found = await service.get(`/v1/patch-sets/${id}`);
    expect(found.body).toEqual(created.body);
    const headers = { 'if-none-match': found.headers.get('etag') ?? '' };
    expect((await service.get(`/v1/patch-sets/${id}`, headers)).status).toBe(304);
    expect(itemsOf(await service.get('/v1/patch-sets?name=net'))).toEqual([created.body]);
    expect(itemsOf(await service.get(`/v1/audit?object=${id}`))).toMatchObject([
      {
        action: 'patch-set.created',
        actor: created.body.createdBy,
        detail: { name: 'net', version: '1.0.0', builds: ['tcp@1.2.0', 'udp@1.4.0'], images: { tcp, udp } },
      },
    ]);
    expect(await service.get('/v1/patch-sets/pset_none')).toMatchObject({ status: 404 });
  });

  test('has provenance that the service signed, about the images of its members', async () => {
    const { id, members = [], createdBy, signedBy } = (await create('signed', '1.0.0', 'udp@1.4.0', 'tcp@1.2.0')).body;
    const response = await service.get(`/v1/patch-sets/${id}/provenance`);
    const envelope = readEnvelope(JSON.stringify(response.body));
    if (envelope === null) throw new Error('the service returned no envelope');
    expect(readPatchSetStatement(envelope)).toEqual({
      name: 'signed',
      version: '1.0.0',
      createdBy,
      members: members.map(({ module, version, imageDigest }) => ({ module, version, imageDigest })),
    });
    expect(JSON.parse(Buffer.from(envelope.payload, 'base64').toString())).toMatchObject({
      _type: 'https://in-toto.io/Statement/v1',
      subject: members.map(({ module, version, imageDigest }) => ({
        name: `${module}@${version}`,
        digest: { sha256: imageDigest.replace('sha256:', '') },
      })),
      predicateType: 'https://slsa.dev/provenance/v1',
      predicate: { buildDefinition: { buildType: 'urn:patchbay:patch-set:v1' } },
    });
    // It is not a statement of one of the builds.
    expect(readStatement(envelope)).toBeNull();
    const [key] = itemsOf(await service.get('/v1/signing-keys'));
    expect(signedBy).toEqual([key?.keyId]);
    const [signature] = envelope.signatures;
    expect(verify(null, preAuthenticationEncoding(envelope), key?.publicKey ?? '', Buffer.from(signature?.sig ?? '', 'base64'))).toBe(true);
    const etag = response.headers.get('etag') ?? '';
    expect((await service.get(`/v1/patch-sets/${id}/provenance`, { 'if-none-match': etag })).status).toBe(304);
    expect(await service.get('/v1/patch-sets/pset_none/provenance')).toMatchObject({ status: 404 });
  });

  test('never changes: the same builds in any order are the same set, others are rejected', async () => {
    const headers = { 'idempotency-key': 'once' };
    const body = { name: 'same', version: '1.0.0', builds: buildsOf('udp@1.4.0', 'tcp@1.2.0') };
    const created = await service.post('/v1/patch-sets', body, headers);
    expect(created.status).toBe(201);
    expect(await service.post('/v1/patch-sets', body, headers)).toMatchObject({ status: 201, body: created.body });
    expect(await create('same', '1.0.0', 'tcp@1.2.0', 'udp@1.4.0')).toMatchObject({ status: 200, body: created.body });
    for (const builds of [
      ['tcp@1.2.0', 'udp@1.1.0'],
      ['tcp@1.2.0', 'udp@1.4.0', 'ping@2.0.0'],
      ['tcp@1.2.0', 'ping@2.0.0'],
    ])
      expect(await create('same', '1.0.0', ...builds)).toMatchObject({
        status: 409,
        body: {
          type: 'urn:patchbay:problem:version-exists',
          detail:
            'the patch set same@1.0.0 contains tcp@1.2.0, udp@1.4.0, and a version never changes: create this set under a higher version',
        },
      });
    expect((await create('same', '1.0.1', 'tcp@1.2.0', 'udp@1.1.0')).status).toBe(201);
  });

  test('is found by name, version and module', async () => {
    await create('found', '1.0.0', 'tcp@1.2.0', 'udp@1.1.0');
    await create('found', '2.0.0', 'many@1.10.0', 'udp@1.1.0');
    expect(await namesOf('name=found')).toEqual(['found@2.0.0', 'found@1.0.0']);
    expect(await namesOf('name=found&order=asc&limit=1')).toEqual(['found@1.0.0']);
    expect(await namesOf('name=found&version=2.0.0')).toEqual(['found@2.0.0']);
    expect(await namesOf('module=many')).toEqual(['found@2.0.0']);
    expect(await namesOf('name=none')).toEqual([]);
    expect(await service.get('/v1/patch-sets?version=1.x')).toMatchObject({ status: 422, body: { errors: [{ pointer: '/version' }] } });
  });

  test('is created by publishers only, and read by viewers', async () => {
    const keyOf = async (role: 'publisher' | 'operator') =>
      bearer((await service.post('/v1/keys', { name: role, role })).body.secret ?? '');
    const body = { name: 'roles', version: '1.0.0', builds: buildsOf('udp@1.4.0', 'tcp@1.2.0') };
    const operator = await keyOf('operator');
    expect((await service.post('/v1/patch-sets', body, operator)).status).toBe(403);
    expect((await service.post('/v1/patch-sets', body, await keyOf('publisher'))).status).toBe(201);
    expect((await service.get('/v1/patch-sets?name=roles', operator)).status).toBe(200);
  });
});

describe('a set that could never be loaded is rejected', () => {
  const hundred = Array.from({ length: 100 }, (_, index) => `m${index}@1.0.0`);
  test.each<[string, readonly string[], readonly (readonly [pointer: string, detail: string])[]]>([
    [
      'unknown modules and versions',
      ['tcp@9.9.9', 'none@1.0.0', 'many@2.0.0', 'udp@latest'],
      [
        ['/builds/0/version', 'tcp has no version 9.9.9: choose one of 1.2.0, 1.0.0, or push this version first'],
        ['/builds/1/module', 'the module none has no usable build: push one first, or correct the name'],
        [
          '/builds/2/version',
          'choose one of 1.19.0, 1.18.0, 1.17.0, 1.16.0, 1.15.0, 1.14.0, 1.13.0, 1.12.0, 1.11.0, 1.10.0, 4 lower versions',
        ],
        ['/builds/3/version', 'udp has no version latest'],
      ],
    ],
    ['no build', [], [['/builds', 'must have 2 or more builds: load a single build with POST /v1/loads']]],
    ['one build', ['tcp@1.2.0'], [['/builds', 'must have 2 or more builds: load a single build with POST /v1/loads']]],
    ['100 builds', hundred, [['/builds', 'must have up to 16 builds']]],
    [
      'two builds of one module',
      ['tcp@1.0.0', 'udp@1.1.0', 'tcp@1.2.0'],
      [['/builds/2/module', 'names tcp again, after tcp@1.0.0: a patch set has one build of each module']],
    ],
    ['a reserved module', ['kernel@1.0.0', 'udp@1.1.0'], [['/builds/0/module', 'keeps for itself']]],
    [
      'a dependency on another version of a member',
      ['udp@1.4.0', 'strict@1.0.0'],
      [
        [
          '/builds/1',
          'strict@1.0.0 requires udp ^2.0.0, but the set contains udp@1.4.0: change one of the two builds (in that range: 2.1.0)',
        ],
      ],
    ],
    [
      'a dependency that no version meets',
      ['narrow@1.0.0', 'udp@2.1.0'],
      [
        [
          '/builds/0',
          'narrow@1.0.0 requires udp ^3.0.0, but the set contains udp@2.1.0: change one of the two builds (no version in that range exists)',
        ],
      ],
    ],
    [
      'cyclic dependencies that exclude each other',
      ['ping@2.0.0', 'pong@1.0.0'],
      [
        ['/builds/0', 'ping@2.0.0 requires pong ^2.0.0, but the set contains pong@1.0.0'],
        ['/builds/1', 'pong@1.0.0 requires ping ^1.0.0, but the set contains ping@2.0.0'],
      ],
    ],
    [
      'an import that a member does not export',
      ['dns@2.0.0', 'udp@1.4.0'],
      [['/builds/0', 'dns@2.0.0 imports udp.missing (i32) → i32, but udp@1.4.0 in the set does not export it']],
    ],
    [
      'an import that a member exports with another type',
      ['udp@1.4.0', 'dns@3.0.0'],
      [['/builds/1', 'dns@3.0.0 imports udp.f (i64) → i32, but udp@1.4.0 in the set exports it as (i32) → i32']],
    ],
  ])('%s', async (_what, builds, problems) => {
    const rejected = await create('rejected', '1.0.0', ...builds);
    expect(rejected).toMatchObject({
      status: 422,
      body: { errors: problems.map(([pointer, detail]) => ({ in: 'body', pointer, detail: expect.stringContaining(detail) })) },
    });
    expect(await namesOf('name=rejected')).toEqual([]);
  });

  test.each([
    ['version', { version: '1.x' }, 'must be a semantic version'],
    ['version', { version: 'next-minor' }, 'must be a semantic version'],
    ['name', { name: 'Net 2026' }, 'must be 1 to 63 of a-z'],
    ['builds', { builds: 'tcp' }, ''],
    ['description', { description: 'x' }, 'is unknown'],
  ])('an invalid %s (%j)', async (field, given, detail) => {
    const valid = { name: 'rejected', version: '1.0.0', builds: buildsOf('tcp@1.2.0', 'udp@1.4.0') };
    expect(await service.postRaw('/v1/patch-sets', { ...valid, ...given })).toMatchObject({
      status: 422,
      body: { errors: [{ pointer: `/${field}`, detail: expect.stringContaining(detail) }] },
    });
  });

  test('a build whose image was pruned', async () => {
    await push('gone', '1.0.0', caller());
    await service.stop();
    await runSql(service.database, `UPDATE "Build" SET "imagePrunedAt" = "createdAt" WHERE "module" = 'gone'`);
    await service.start();
    expect(await create('rejected', '1.0.0', 'udp@1.4.0', 'gone@1.0.0')).toMatchObject({
      status: 409,
      body: {
        type: 'urn:patchbay:problem:image-pruned',
        errors: [{ pointer: '/builds/1', detail: expect.stringContaining('push the same source under the same version to restore it') }],
      },
    });
  });

  test('links that resolve within the set, and links to other modules, are accepted', async () => {
    expect((await create('cycle', '1.0.0', 'ping@1.0.0', 'pong@1.0.0')).status).toBe(201);
    expect((await create('outside', '1.0.0', 'dns@1.0.0', 'udp@1.4.0')).status).toBe(201);
    expect((await create('outside', '2.0.0', 'dns@2.0.0', 'tcp@1.0.0')).status).toBe(201);
  });
});

test('the image of a member is kept, however old it is', async () => {
  const own = new TestService();
  try {
    await own.start();
    for (const module of ['tcp', 'udp'])
      for (const minor of [0, 1, 2]) await own.push(module, `1.${minor}.0`, workModule(10 * minor + module.charCodeAt(0)));
    const builds = buildsOf('tcp@1.0.0', 'udp@1.1.0');
    expect((await own.post('/v1/patch-sets', { name: 'net', version: '1.0.0', builds })).status).toBe(201);
    await own.stop();
    own.retention = { ...own.retention, interval: 10, keepImages: 1 };
    await own.start();
    const prunedBuilds = async () => {
      const events = itemsOf(await own.get('/v1/audit?action=build.image-pruned&limit=200'));
      return events.map(({ detail }) => `${Object(detail).module}@${Object(detail).version}`).toSorted();
    };
    // All unused images are deleted in one transaction.
    await until('images are pruned', async () => (await prunedBuilds()).length >= 2);
    expect(await prunedBuilds()).toEqual(['tcp@1.1.0', 'udp@1.0.0']);
  } finally {
    await own.close();
  }
});
