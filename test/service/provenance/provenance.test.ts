// Provenance of builds: the service signs it, and hosts load only images that match a statement signed by a trusted key.

import { createHash, generateKeyPairSync, verify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { readPublicKey } from '../../../src/proof/ed25519.ts';
import { createEndorsement, createSignedEnvelope } from '../../../src/signing/envelope-signing.ts';
import { runSql, timeInSql } from '../../databases.ts';
import { type Envelope, keyIdOf, preAuthenticationEncoding, provenanceOf } from '../publishing.ts';
import { itemsOf, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
let device = '';
let other = '';

beforeAll(async () => {
  await service.start();
  service.startHost('host', 2);
  [device = '', other = ''] = await service.connectedDevices(2);
});
afterAll(() => service.close());

/** Runs an SQL statement directly on the database. */
const runDirectly = (text: string, ...parameters: readonly (string | Uint8Array)[]) => runSql(service.database, text, ...parameters);

const signingKeys = async (of = service) => itemsOf(await of.get('/v1/signing-keys?order=asc'));

describe('the provenance of a build', () => {
  test('is signed by the service and states who pushed which source, how and when', async () => {
    const source = 'export function one(): i32 { return 1; }';
    const pushed = await service.push('stated', '1.0.0', source, 'assemblyscript');
    const [admin] = itemsOf(await service.get('/v1/keys'));
    const [key] = await signingKeys();
    const publicKey = String(key?.publicKey);
    const envelope = await provenanceOf(service, 'stated', '1.0.0');
    expect(envelope.payloadType).toBe('application/vnd.in-toto+json');
    expect(envelope.signatures).toEqual([{ keyid: keyIdOf(publicKey), sig: expect.any(String) }]);
    const signature = Buffer.from(envelope.signatures[0]?.sig ?? '', 'base64');
    expect(verify(null, preAuthenticationEncoding(envelope), publicKey, signature)).toBe(true);
    const sha256 = (content: string | Buffer) => createHash('sha256').update(content).digest('hex');
    const image = await fetch(`${service.url}/v1/modules/stated/builds/1.0.0/image`, {
      headers: { authorization: `Bearer ${service.key}` },
    });
    const statement = JSON.parse(Buffer.from(envelope.payload, 'base64').toString());
    expect(statement).toEqual({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: 'stated@1.0.0', digest: { sha256: sha256(Buffer.from(await image.arrayBuffer())) } }],
      predicateType: 'https://slsa.dev/provenance/v1',
      predicate: {
        buildDefinition: {
          buildType: 'urn:patchbay:build:v1',
          externalParameters: { module: 'stated', version: '1.0.0', language: 'assemblyscript' },
          internalParameters: { pushedBy: admin?.id },
          resolvedDependencies: [{ name: 'source', digest: { sha256: sha256(source) } }],
        },
        runDetails: {
          builder: {
            id: `urn:patchbay:${keyIdOf(publicKey).slice(7, 23)}`,
            version: { assemblyscript: String(pushed.body.compiler).split(' ')[1] },
          },
          metadata: {
            invocationId: pushed.headers.get('x-request-id'),
            startedOn: expect.any(String),
            finishedOn: pushed.body.createdAt,
          },
        },
      },
    });
    expect(statement.predicate.runDetails.metadata.startedOn <= String(pushed.body.createdAt)).toBe(true);
    expect(pushed.body).toMatchObject({ pushedBy: admin?.id, signedBy: [keyIdOf(publicKey)] });
  });

  test('has an ETag, and is 404 for an unknown build', async () => {
    const path = '/v1/modules/stated/builds/1.0.0/provenance';
    const read = await service.get(path);
    expect(read.headers.get('content-type')).toBe('application/json; charset=utf-8');
    const known = await service.get(path, { 'if-none-match': read.headers.get('etag') ?? '' });
    expect(known).toMatchObject({ status: 304, body: { text: '' } });
    expect(await service.get('/v1/modules/stated/builds/9.9.9/provenance')).toMatchObject({
      status: 404,
      body: { detail: 'build stated@9.9.9 does not exist' },
    });
  });

  test('is verified by the device, which reports the verified signatures', async () => {
    await service.push('proven', '1.0.0', workModule(1));
    const [load] = await service.load('proven', '1.0.0', [device]);
    const { body } = await service.get(`/v1/loads/${load?.id}`);
    const [key] = await signingKeys();
    expect(body).toMatchObject({
      outcome: 'installed',
      report: { steps: [{ step: 'received', operation: 200, facts: { signedBy: [key?.keyId] } }, {}, { step: 'linked' }, {}, {}, {}] },
    });
  });
});

const Row = z.object({ imageDigest: z.string(), envelope: z.string() });
async function rowOf(module: string, version: string, database = service.database): Promise<z.infer<typeof Row>> {
  const [row] = await runSql(
    database,
    'SELECT "imageDigest", "envelope" FROM "Build" WHERE "module" = ? AND "version" = ?',
    module,
    version,
  );
  return Row.parse(row);
}
const setEnvelope = (module: string, envelope: string | null) =>
  runSql(service.database, `UPDATE "Build" SET "envelope" = ? WHERE "module" = ? AND "version" = '1.1.0'`, envelope, module);
const changedEnvelope = (change: (envelope: Envelope) => Envelope) => async (module: string) =>
  setEnvelope(module, JSON.stringify(change(JSON.parse((await rowOf(module, '1.1.0')).envelope))));

const tamperings: [string, (module: string) => Promise<unknown>, RegExp][] = [
  [
    'a byte of the image',
    async (module) => {
      const { imageDigest } = await rowOf(module, '1.1.0');
      const [image] = await runDirectly('SELECT "bytes" FROM "Image" WHERE "digest" = ?', imageDigest);
      const bytes = z.instanceof(Uint8Array).parse(image?.['bytes']);
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
      await runDirectly('UPDATE "Image" SET "bytes" = ? WHERE "digest" = ?', bytes, imageDigest);
    },
    /digest mismatch: expected .*, received /,
  ],
  [
    'a byte of the statement',
    changedEnvelope((envelope) => {
      const statement = Buffer.from(envelope.payload, 'base64').toString().replace('"pushedBy":"key_', '"pushedBy":"yek_');
      return { ...envelope, payload: Buffer.from(statement).toString('base64') };
    }),
    /no key that this host trusts has signed the statement of /,
  ],
  [
    'a byte of the signature',
    changedEnvelope((envelope) => ({
      ...envelope,
      signatures: envelope.signatures.map(({ keyid, sig }) => {
        const bytes = Buffer.from(sig, 'base64');
        bytes[0] = (bytes[0] ?? 0) ^ 1;
        return { keyid, sig: bytes.toString('base64') };
      }),
    })),
    /no key that this host trusts has signed/,
  ],
  [
    'the signer',
    changedEnvelope((envelope) => {
      const { privateKey } = generateKeyPairSync('ed25519');
      const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
      return createSignedEnvelope(pem, envelope.payloadType, Buffer.from(envelope.payload, 'base64').toString());
    }),
    /no key that this host trusts has signed/,
  ],
  [
    'the signer, with its key inserted among those of the service',
    async (module) => {
      const { privateKey, publicKey } = generateKeyPairSync('ed25519');
      const pem = publicKey.export({ format: 'pem', type: 'spki' }).toString();
      const forger = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
      const [active] = await runDirectly('SELECT "keyId", "publicKey" FROM "SigningKey" WHERE "retiredAt" IS NULL');
      // The inserted key endorses the key of the service, which does not endorse it.
      const activeKey = { keyId: String(active?.['keyId']), pem: String(active?.['publicKey']) };
      const forActive = JSON.stringify(createEndorsement(forger, activeKey, new Date()));
      await runDirectly(
        `INSERT INTO "SigningKey" ("id", "keyId", "publicKey", "createdAt", "retiredAt", "predecessorEndorsement") VALUES (?, ?, ?, ${timeInSql(1)}, ${timeInSql(2)}, ?)`,
        `sgk_${'0'.repeat(31)}${(await runDirectly('SELECT * FROM "SigningKey"')).length}`,
        keyIdOf(pem),
        pem,
        forActive,
      );
      await changedEnvelope(({ payloadType, payload }) =>
        createSignedEnvelope(forger, payloadType, Buffer.from(payload, 'base64').toString()),
      )(module);
    },
    /no key that this host trusts has signed/,
  ],
  ['the signatures (removed)', changedEnvelope((envelope) => ({ ...envelope, signatures: [] })), /it names no key/],
  ['the type of the statement', changedEnvelope((envelope) => ({ ...envelope, payloadType: 'application/json' })), /cannot be read/],
  [
    'the statement (of another build)',
    async (module) => setEnvelope(module, (await rowOf(module, '1.0.0')).envelope),
    /the statement is of another image: expected .*@1\.1\.0 .* received .*@1\.0\.0/,
  ],
  [
    'the image and the statement (of another build)',
    async (module) => {
      const { imageDigest, envelope } = await rowOf(module, '1.0.0');
      await setEnvelope(module, envelope);
      await runDirectly(`UPDATE "Build" SET "imageDigest" = ? WHERE "module" = ? AND "version" = '1.1.0'`, imageDigest, module);
    },
    /the statement is of another image: expected .*@1\.1\.0 .* received .*@1\.0\.0/,
  ],
  ['the statement (removed)', (module) => setEnvelope(module, null), /has no readable provenance/],
  ['the statement (truncated)', (module) => setEnvelope(module, '{"payload'), /has no readable provenance/],
];

test.each(tamperings)('refuses a build after a change of %s; the old version continues to serve', async (title, tamper, reason) => {
  const module = `tampered-${tamperings.findIndex(([other]) => other === title)}`;
  await service.push(module, '1.0.0', workModule(1));
  await service.push(module, '1.1.0', workModule(2));
  await service.load(module, '1.0.0', [device]);
  const before = (await service.get(`/v1/devices/${device}`)).body.moduleTable;
  await tamper(module);
  const [load] = await service.load(module, '1.1.0', [device]);
  expect(load).toMatchObject({ outcome: 'refused-image', reason: expect.stringMatching(reason) });
  const { body } = await service.get(`/v1/loads/${load?.id}`);
  expect(body).toMatchObject({ report: { current: { version: '1.0.0' }, steps: [{ facts: { signedBy: [] } }, { step: 'refused' }, {}] } });
  expect((await service.get(`/v1/devices/${device}`)).body.moduleTable).toEqual(before);
  const program = await service.post(`/v1/devices/${device}/programs`, { module, export: 'work', arguments: [1], calls: 1 });
  await until('the old version has been called', async () => {
    const { statistics } = (await service.get(program.headers.get('location') ?? '')).body;
    return JSON.stringify(statistics)?.includes('"lastResult":"2"') ?? false;
  });
  expect((await service.get(`/v1/modules/${module}/builds`)).status).toBe(200);
});

test('a build is restored after a restart only if a trusted key has signed its statement', async () => {
  const own = await new TestService().start();
  try {
    const stop = own.startHost('rack', 1);
    const [one = ''] = await own.connectedDevices(1);
    for (const module of ['whole', 'changed']) {
      await own.push(module, '1.0.0', workModule(1));
      await own.load(module, '1.0.0', [one]);
    }
    await stop();
    const changed = { ...JSON.parse((await rowOf('changed', '1.0.0', own.database)).envelope), signatures: [] };
    await runSql(own.database, `UPDATE "Build" SET "envelope" = ? WHERE "module" = 'changed'`, JSON.stringify(changed));
    own.startHost('rack', 1);
    const attached = await until('the device is attached without the changed build', async () => {
      const { body } = await own.get(`/v1/devices/${one}`);
      return body.attachFailure !== null && body;
    });
    expect(attached.attachFailure).toMatch(/^changed@1\.0\.0: no key that this host trusts has signed/);
    expect(attached.moduleTable).toMatchObject([{ module: 'whole', version: '1.0.0' }]);
  } finally {
    await own.close();
  }
});

describe('builds without provenance', () => {
  test('are signed at the start of the service, with the publisher from the audit trail', async () => {
    const { id, pushedBy } = (await service.push('old', '1.0.0', workModule(1))).body;
    const count = 1_100;
    await service.stop();
    // More builds than are signed in one transaction.
    const same = '"language", "compiler", "sourceDigest", "imageBytes", "interface", "createdAt"';
    await runDirectly(`INSERT INTO "Build" ("id", "module", "version", "imageDigest", ${same})
      WITH RECURSIVE copies (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM copies WHERE number < ${count - 1})
      SELECT 'bld_${'0'.repeat(28)}' || (1000 + number), 'many', '1.0.' || number, 'sha256:' || number, ${same} FROM copies, "Build" WHERE "module" = 'old'`);
    await runDirectly(`UPDATE "Build" SET "envelope" = NULL, "pushedBy" = NULL WHERE "module" = 'old'`);
    await service.start();
    const envelope = await provenanceOf(service, 'old', '1.0.0');
    const key = (await signingKeys()).at(-1);
    const signature = Buffer.from(envelope.signatures[0]?.sig ?? '', 'base64');
    expect(verify(null, preAuthenticationEncoding(envelope), String(key?.publicKey), signature)).toBe(true);
    expect((await service.get('/v1/modules/old/builds/1.0.0')).body).toMatchObject({ pushedBy, signedBy: [key?.keyId] });
    expect(itemsOf(await service.get(`/v1/audit?action=build.stated&object=${id}`))).toMatchObject([
      { actor: 'service', detail: { module: 'old', version: '1.0.0' } },
    ]);
    await service.connectedDevices(2);
    expect(await service.load('old', '1.0.0', [device])).toMatchObject([{ outcome: 'installed' }]);
    // These builds are not in the audit trail and are not signed.
    expect((await service.get(`/v1/modules/many/builds/1.0.${count - 1}`)).body).toMatchObject({ pushedBy: null, signedBy: [] });
    await service.stop();
    await service.start();
    expect(await provenanceOf(service, 'old', '1.0.0')).toEqual(envelope);
  });

  test('are not signed with an image other than the one in the audit trail', async () => {
    await service.push('forged', '1.0.0', workModule(1));
    await service.push('forged', '1.1.0', workModule(2));
    await service.stop();
    const { imageDigest } = await rowOf('forged', '1.0.0');
    await runDirectly(
      `UPDATE "Build" SET "envelope" = NULL, "imageDigest" = ? WHERE "module" = 'forged' AND "version" = '1.1.0'`,
      imageDigest,
    );
    await service.start();
    await service.connectedDevices(2);
    expect((await service.get('/v1/modules/forged/builds/1.1.0/provenance')).status).toBe(404);
    expect(await service.load('forged', '1.1.0', [device])).toMatchObject([{ outcome: 'refused-image' }]);
  });
});

describe('after a rotation of the signing key', () => {
  const rotate = (of: TestService) => of.post('/v1/signing-keys', undefined);

  test('running hosts load builds from before and after', async () => {
    await service.push('rotated', '1.0.0', workModule(1));
    await rotate(service);
    await service.push('rotated', '1.1.0', workModule(2));
    const last = (await signingKeys()).at(-1);
    expect((await service.get('/v1/modules/rotated/builds/1.1.0')).body.signedBy).toEqual([last?.keyId]);
    expect(await service.load('rotated', '1.0.0', [device, other])).toMatchObject([{ outcome: 'installed' }, { outcome: 'installed' }]);
    const [load] = await service.load('rotated', '1.1.0', [device, other]);
    expect(load).toMatchObject({ outcome: 'replaced' });
    const { body } = await service.get(`/v1/loads/${load?.id}`);
    expect(body).toMatchObject({
      report: { steps: [{ facts: { signedBy: [last?.keyId] } }, {}, {}, { step: 'linked' }, {}, {}, {}, {}, {}] },
    });
  });

  test('a host with pinned keys trusts the keys that they endorse, and no other', async () => {
    const own = await new TestService().start();
    try {
      const [first] = await signingKeys(own);
      const stranger = generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }).toString();
      own.startHost('pinned', 1, {}, 100, [readPublicKey(String(first?.publicKey))]);
      own.startHost('strange', 1, {}, 100, [readPublicKey(stranger)]);
      own.startHost('trusting', 1);
      const [pinned = '', strange = '', trusting = ''] = await own.connectedDevices(3);
      const outcomes = async (version: string) => {
        await own.push('tcp', version, workModule(1));
        const loads = await own.load('tcp', version, [pinned, strange, trusting]);
        return loads.map(({ outcome, reason }) => [outcome, reason]);
      };
      const untrusted = ['refused-image', expect.stringContaining('no key that this host trusts has signed')];
      expect(await outcomes('1.0.0')).toEqual([['installed', null], untrusted, ['installed', null]]);
      // Twice, so that the first key endorses the last one only through the key between them.
      await rotate(own);
      await rotate(own);
      expect(await outcomes('1.1.0')).toEqual([['replaced', null], untrusted, ['replaced', null]]);
      await own.push('old', '1.0.0', workModule(1));
      await own.stop();
      own.privateKeys.keys.clear();
      own.isSigningKeyLost = true;
      await own.start();
      await own.connectedDevices(3);
      expect(await outcomes('1.2.0')).toEqual([untrusted, untrusted, ['replaced', null]]);
      expect(await own.load('old', '1.0.0', [pinned, trusting])).toMatchObject([{ outcome: 'installed' }, { outcome: 'installed' }]);
      const before = await own.push('udp', '1.0.0', workModule(1));
      expect((await signingKeys(own)).at(-1)).toMatchObject({ endorsement: null, keyId: Object(before.body.signedBy)[0] });
    } finally {
      await own.close();
    }
  });
});
