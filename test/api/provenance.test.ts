// Where builds came from: what the service states and signs of each, and hosts that load nothing that is not as it is stated.

import { createHash, generateKeyPairSync, verify } from 'node:crypto';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readPublicKey } from '../../src/proof/ed25519.ts';
import { endorse } from '../../src/proof/endorsement.ts';
import { sealedBy } from '../../src/proof/envelope.ts';
import { Bench, itemsOf, until, workModule } from './fixture.ts';
import { type Envelope, keyIdOf, preAuthenticationEncoding, provenanceOf } from './publishing.ts';

const bench = new Bench();
let device = '';
let other = '';

beforeAll(async () => {
  await bench.start();
  bench.startHost('host', 2);
  [device = '', other = ''] = await bench.connectedDevices(2);
});
afterAll(() => bench.close());

/** Changes the database behind the service's back. */
function byHand(change: (database: Database.Database) => void, of = bench): void {
  const database = new Database(join(of.folder, 'patchbay.db'));
  try {
    change(database);
  } finally {
    database.close();
  }
}

const signingKeys = async (of = bench) => itemsOf(await of.get('/v1/signing-keys?order=asc'));

describe('what the service states of a build', () => {
  test('is signed by its key, and says who pushed which source, how and when', async () => {
    const source = 'export function one(): i32 { return 1; }';
    const pushed = await bench.push('stated', '1.0.0', source, 'assemblyscript');
    const [admin] = itemsOf(await bench.get('/v1/keys'));
    const [key] = await signingKeys();
    const publicKey = String(key?.['publicKey']);
    const envelope = await provenanceOf(bench, 'stated', '1.0.0');
    expect(envelope.payloadType).toBe('application/vnd.in-toto+json');
    expect(envelope.signatures).toEqual([{ keyid: keyIdOf(publicKey), sig: expect.any(String) }]);
    const signature = Buffer.from(envelope.signatures[0]?.sig ?? '', 'base64');
    expect(verify(null, preAuthenticationEncoding(envelope), publicKey, signature)).toBe(true);
    const sha256 = (content: string | Buffer) => createHash('sha256').update(content).digest('hex');
    const image = await fetch(`${bench.url}/v1/modules/stated/builds/1.0.0/image`, { headers: { authorization: `Bearer ${bench.key}` } });
    const statement = JSON.parse(Buffer.from(envelope.payload, 'base64').toString());
    expect(statement).toEqual({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: 'stated@1.0.0', digest: { sha256: sha256(Buffer.from(await image.arrayBuffer())) } }],
      predicateType: 'https://slsa.dev/provenance/v1',
      predicate: {
        buildDefinition: {
          buildType: 'urn:patchbay:build:v1',
          externalParameters: { module: 'stated', version: '1.0.0', language: 'assemblyscript' },
          internalParameters: { pushedBy: admin?.['id'] },
          resolvedDependencies: [{ name: 'source', digest: { sha256: sha256(source) } }],
        },
        runDetails: {
          builder: {
            id: `urn:patchbay:${keyIdOf(publicKey).slice(7, 23)}`,
            version: { assemblyscript: String(pushed.body['compiler']).split(' ')[1] },
          },
          metadata: {
            invocationId: pushed.headers.get('x-request-id'),
            startedOn: expect.any(String),
            finishedOn: pushed.body['createdAt'],
          },
        },
      },
    });
    expect(statement.predicate.runDetails.metadata.startedOn <= String(pushed.body['createdAt'])).toBe(true);
    expect(pushed.body).toMatchObject({ pushedBy: admin?.['id'], signedBy: [keyIdOf(publicKey)] });
  });

  test('has a tag, and a build that is not there has none', async () => {
    const path = '/v1/modules/stated/builds/1.0.0/provenance';
    const read = await bench.get(path);
    expect(read.headers.get('content-type')).toBe('application/json; charset=utf-8');
    const known = await bench.get(path, { 'if-none-match': read.headers.get('etag') ?? '' });
    expect(known).toMatchObject({ status: 304, body: { text: '' } });
    expect(await bench.get('/v1/modules/stated/builds/9.9.9/provenance')).toMatchObject({
      status: 404,
      body: { detail: 'there is no build stated@9.9.9' },
    });
  });

  test('is verified by the device, which says by whose signature', async () => {
    await bench.push('proven', '1.0.0', workModule(1));
    const [load] = await bench.load('proven', '1.0.0', [device]);
    const { body } = await bench.get(`/v1/loads/${load?.['id']}`);
    const [key] = await signingKeys();
    expect(body).toMatchObject({
      outcome: 'installed',
      report: { steps: [{ step: 'received', operation: 200, facts: { signedBy: [key?.['keyId']] } }, {}, {}, {}, {}] },
    });
  });
});

type Row = { readonly imageDigest: string; readonly envelope: string };
const rowOf = (database: Database.Database, module: string, version: string): Row => {
  const row = database
    .prepare<[string, string], Row>('SELECT imageDigest, envelope FROM Build WHERE module = ? AND version = ?')
    .get(module, version);
  if (row === undefined) throw new Error('there is no such build');
  return row;
};
const setEnvelope = (database: Database.Database, module: string, envelope: string | null) =>
  database.prepare('UPDATE Build SET envelope = ? WHERE module = ? AND version = ?').run(envelope, module, '1.1.0');
const changedEnvelope = (change: (envelope: Envelope) => Envelope) => (database: Database.Database, module: string) =>
  setEnvelope(database, module, JSON.stringify(change(JSON.parse(rowOf(database, module, '1.1.0').envelope))));

const tamperings: [string, (database: Database.Database, module: string) => void, RegExp][] = [
  [
    'a byte of the image',
    (database, module) => {
      const { imageDigest } = rowOf(database, module, '1.1.0');
      const image = database.prepare<[string], { bytes: Buffer }>('SELECT bytes FROM Image WHERE digest = ?').get(imageDigest);
      const bytes = Buffer.from(image?.bytes ?? []);
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
      database.prepare('UPDATE Image SET bytes = ? WHERE digest = ?').run(bytes, imageDigest);
    },
    /the image's digest is .* as ordered/,
  ],
  [
    'a byte of the statement',
    changedEnvelope((envelope) => {
      const statement = Buffer.from(envelope.payload, 'base64').toString().replace('"pushedBy":"key_', '"pushedBy":"yek_');
      return { ...envelope, payload: Buffer.from(statement).toString('base64') };
    }),
    /no key that this host trusts has signed the statement of .* as it is/,
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
    'whose the signature is',
    changedEnvelope((envelope) => {
      const { privateKey } = generateKeyPairSync('ed25519');
      const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
      return sealedBy(pem, envelope.payloadType, Buffer.from(envelope.payload, 'base64').toString());
    }),
    /no key that this host trusts has signed/,
  ],
  [
    'whose the signature is, with that key among those of the service',
    (database, module) => {
      const { privateKey, publicKey } = generateKeyPairSync('ed25519');
      const pem = publicKey.export({ format: 'pem', type: 'spki' }).toString();
      const forger = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
      const { keyId, publicKey: active } = database
        .prepare<[], { keyId: string; publicKey: string }>('SELECT keyId, publicKey FROM SigningKey WHERE retiredAt IS NULL')
        .get() ?? { keyId: '', publicKey: '' };
      // It vouches for the key of the service, which does not vouch for it.
      const forActive = JSON.stringify(endorse(forger, { keyId, pem: active }, new Date()));
      database
        .prepare('INSERT INTO SigningKey (id, keyId, publicKey, createdAt, retiredAt, predecessor) VALUES (?, ?, ?, 1, 2, ?)')
        .run(`sgk_${'0'.repeat(31)}${database.prepare('SELECT * FROM SigningKey').all().length}`, keyIdOf(pem), pem, forActive);
      changedEnvelope(({ payloadType, payload }) => sealedBy(forger, payloadType, Buffer.from(payload, 'base64').toString()))(
        database,
        module,
      );
    },
    /no key that this host trusts has signed/,
  ],
  ['the signatures, which are gone', changedEnvelope((envelope) => ({ ...envelope, signatures: [] })), /it names nobody/],
  ['the type of the statement', changedEnvelope((envelope) => ({ ...envelope, payloadType: 'application/json' })), /cannot be read/],
  [
    'the statement for that of another build',
    (database, module) => setEnvelope(database, module, rowOf(database, module, '1.0.0').envelope),
    /states that the image is .*@1\.0\.0 .* and not .*@1\.1\.0/,
  ],
  [
    'the image for that of another build, with its statement',
    (database, module) => {
      const { imageDigest, envelope } = rowOf(database, module, '1.0.0');
      setEnvelope(database, module, envelope);
      database.prepare('UPDATE Build SET imageDigest = ? WHERE module = ? AND version = ?').run(imageDigest, module, '1.1.0');
    },
    /states that the image is .*@1\.0\.0 .* and not .*@1\.1\.0/,
  ],
  ['the statement, which is gone', (database, module) => setEnvelope(database, module, null), /there is no statement of the build/],
  ['the statement, which is none any more', (database, module) => setEnvelope(database, module, '{"payload'), /there is no statement/],
];

test.each(tamperings)('with another %s a build is refused, and the old version serves on', async (what, tamper, reason) => {
  const module = `tampered-${tamperings.findIndex(([one]) => one === what)}`;
  await bench.push(module, '1.0.0', workModule(1));
  await bench.push(module, '1.1.0', workModule(2));
  await bench.load(module, '1.0.0', [device]);
  const before = (await bench.get(`/v1/devices/${device}`)).body['moduleTable'];
  byHand((database) => tamper(database, module));
  const [load] = await bench.load(module, '1.1.0', [device]);
  expect(load).toMatchObject({ outcome: 'refused-image', reason: expect.stringMatching(reason) });
  const { body } = await bench.get(`/v1/loads/${load?.['id']}`);
  expect(body).toMatchObject({ report: { current: { version: '1.0.0' }, steps: [{ facts: { signedBy: [] } }, { step: 'refused' }, {}] } });
  expect((await bench.get(`/v1/devices/${device}`)).body['moduleTable']).toEqual(before);
  const program = await bench.post(`/v1/devices/${device}/programs`, { module, export: 'work', arguments: [1], calls: 1 });
  await until('the old version has been called', async () => {
    const { statistics } = (await bench.get(program.headers.get('location') ?? '')).body;
    return JSON.stringify(statistics)?.includes('"lastResult":"2"') ?? false;
  });
  expect((await bench.get(`/v1/modules/${module}/builds`)).status).toBe(200);
});

test('what was in memory is put back after a restart only as it is stated', async () => {
  const own = await new Bench().start();
  try {
    const stop = own.startHost('rack', 1);
    const [one = ''] = await own.connectedDevices(1);
    for (const module of ['whole', 'changed']) {
      await own.push(module, '1.0.0', workModule(1));
      await own.load(module, '1.0.0', [one]);
    }
    await stop();
    byHand((database) => {
      const changed = { ...JSON.parse(rowOf(database, 'changed', '1.0.0').envelope), signatures: [] };
      database.prepare("UPDATE Build SET envelope = ? WHERE module = 'changed'").run(JSON.stringify(changed));
    }, own);
    own.startHost('rack', 1);
    const back = await until('the device has come up without what was changed', async () => {
      const { body } = await own.get(`/v1/devices/${one}`);
      return body['attachFailure'] !== null && body;
    });
    expect(back['attachFailure']).toMatch(/^changed@1\.0\.0: no key that this host trusts has signed/);
    expect(back['moduleTable']).toMatchObject([{ module: 'whole', version: '1.0.0' }]);
  } finally {
    await own.close();
  }
});

describe('builds from before there were statements', () => {
  test('get theirs when the service starts, with who pushed them by the audit trail', async () => {
    const { id, pushedBy } = (await bench.push('old', '1.0.0', workModule(1))).body;
    const count = 1_100;
    await bench.stop();
    byHand((database) => {
      // More than are stated in one transaction.
      const copy =
        database.prepare(`INSERT INTO Build (id, module, version, language, compiler, sourceDigest, imageDigest, imageBytes, interface, createdAt)
        SELECT ?, 'many', ?, language, compiler, sourceDigest, imageDigest, imageBytes, interface, createdAt FROM Build WHERE module = 'old'`);
      for (let index = 0; index < count; index += 1) copy.run(`bld_${String(index).padStart(32, '0')}`, `1.0.${index}`);
      database.exec("UPDATE Build SET envelope = NULL, pushedBy = NULL WHERE module = 'old'");
    });
    await bench.start();
    const envelope = await provenanceOf(bench, 'old', '1.0.0');
    const key = (await signingKeys()).at(-1);
    const signature = Buffer.from(envelope.signatures[0]?.sig ?? '', 'base64');
    expect(verify(null, preAuthenticationEncoding(envelope), String(key?.['publicKey']), signature)).toBe(true);
    expect((await bench.get('/v1/modules/old/builds/1.0.0')).body).toMatchObject({ pushedBy, signedBy: [key?.['keyId']] });
    expect(itemsOf(await bench.get(`/v1/audit?action=build.stated&object=${id}`))).toMatchObject([
      { actor: 'service', detail: { module: 'old', version: '1.0.0' } },
    ]);
    await bench.connectedDevices(2);
    expect(await bench.load('old', '1.0.0', [device])).toMatchObject([{ outcome: 'installed' }]);
    // Of these the audit trail does not tell: somebody else has put them there.
    expect((await bench.get(`/v1/modules/many/builds/1.0.${count - 1}`)).body).toMatchObject({ pushedBy: null, signedBy: [] });
    await bench.stop();
    await bench.start();
    expect(await provenanceOf(bench, 'old', '1.0.0')).toEqual(envelope);
  });

  test('are not stated with an image that they were not made with', async () => {
    await bench.push('forged', '1.0.0', workModule(1));
    await bench.push('forged', '1.1.0', workModule(2));
    await bench.stop();
    byHand((database) => {
      const { imageDigest } = rowOf(database, 'forged', '1.0.0');
      database.prepare("UPDATE Build SET envelope = NULL, imageDigest = ? WHERE module = 'forged' AND version = '1.1.0'").run(imageDigest);
    });
    await bench.start();
    await bench.connectedDevices(2);
    expect((await bench.get('/v1/modules/forged/builds/1.1.0/provenance')).status).toBe(404);
    expect(await bench.load('forged', '1.1.0', [device])).toMatchObject([{ outcome: 'refused-image' }]);
  });
});

describe('when the service signs with another key', () => {
  const rotate = (of: Bench) => of.post('/v1/signing-keys', undefined);

  test('hosts that run load builds of before and after', async () => {
    await bench.push('rotated', '1.0.0', workModule(1));
    await rotate(bench);
    await bench.push('rotated', '1.1.0', workModule(2));
    const last = (await signingKeys()).at(-1);
    expect((await bench.get('/v1/modules/rotated/builds/1.1.0')).body['signedBy']).toEqual([last?.['keyId']]);
    expect(await bench.load('rotated', '1.0.0', [device, other])).toMatchObject([{ outcome: 'installed' }, { outcome: 'installed' }]);
    const [load] = await bench.load('rotated', '1.1.0', [device, other]);
    expect(load).toMatchObject({ outcome: 'replaced' });
    const { body } = await bench.get(`/v1/loads/${load?.['id']}`);
    expect(body).toMatchObject({ report: { steps: [{ facts: { signedBy: [last?.['keyId']] } }, {}, {}, {}, {}, {}, {}, {}] } });
  });

  test('a host with pinned keys trusts what these vouch for, and no key for which nobody does', async () => {
    const own = await new Bench().start();
    try {
      const [first] = await signingKeys(own);
      const stranger = generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }).toString();
      own.startHost('pinned', 1, {}, 100, [readPublicKey(String(first?.['publicKey']))]);
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
      // Two times, so that the first vouches for the last only through the one between.
      await rotate(own);
      await rotate(own);
      expect(await outcomes('1.1.0')).toEqual([['replaced', null], untrusted, ['replaced', null]]);
      await own.push('old', '1.0.0', workModule(1));
      await own.stop();
      own.privateKeys.kept.clear();
      own.isSigningKeyLost = true;
      await own.start();
      await own.connectedDevices(3);
      expect(await outcomes('1.2.0')).toEqual([untrusted, untrusted, ['replaced', null]]);
      expect(await own.load('old', '1.0.0', [pinned, trusting])).toMatchObject([{ outcome: 'installed' }, { outcome: 'installed' }]);
      const before = await own.push('udp', '1.0.0', workModule(1));
      expect((await signingKeys(own)).at(-1)).toMatchObject({ endorsement: null, keyId: Object(before.body['signedBy'])[0] });
    } finally {
      await own.close();
    }
  });
});
