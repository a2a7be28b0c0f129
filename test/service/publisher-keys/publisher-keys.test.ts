// Publisher keys and their signatures of builds.

import { generateKeyPairSync, verify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { keyIdOf, Publisher, preAuthenticationEncoding, provenanceOf } from '../publishing.ts';
import { itemsOf, TestService, workModule } from '../test-service.ts';

const service = new TestService();
beforeAll(async () => {
  await service.start();
  await service.push('tcp', '1.0.0', workModule(1));
  await service.push('tcp', '1.1.0', workModule(2));
});
afterAll(() => service.close());

const problem = (status: number, type: string, detail: string) => ({
  status,
  body: { type: `urn:patchbay:problem:${type}`, detail: expect.stringContaining(detail) },
});
const add = (name: string, publicKey: string) => service.post('/v1/publisher-keys', { name, publicKey });
const signersOf = async (version: string) => (await service.get(`/v1/modules/tcp/builds/${version}`)).body.signedBy;

test('registers a public key, and finds, lists and audits it', async () => {
  const publisher = new Publisher(service, 'release-team');
  const created = await add('release-team', publisher.publicKey);
  expect(created).toMatchObject({
    status: 201,
    body: { name: 'release-team', keyId: keyIdOf(publisher.publicKey), publicKey: publisher.publicKey, revokedAt: null },
  });
  expect(created.body.id).toMatch(/^pub_[0-9a-f]{32}$/);
  expect(created.headers.get('location')).toBe(`/v1/publisher-keys/${created.body.id}`);
  expect((await service.get(`/v1/publisher-keys/${created.body.id}`)).body).toEqual(created.body);
  expect(itemsOf(await service.get('/v1/publisher-keys?revoked=false'))).toContainEqual(created.body);
  const [admin] = itemsOf(await service.get('/v1/keys'));
  expect(itemsOf(await service.get(`/v1/audit?object=${created.body.id}`))).toMatchObject([
    { actor: admin?.id, action: 'publisher-key.created', detail: { name: 'release-team', keyId: created.body.keyId } },
  ]);
  expect(await service.get('/v1/publisher-keys/pub_none')).toMatchObject(
    problem(404, 'not-found', 'publisher key pub_none does not exist'),
  );
});

const pairOf = (type: 'ed25519' | 'x25519') => {
  const pair = type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('x25519');
  return {
    publicKey: pair.publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    privateKey: pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
  };
};

test.each([
  ['a private key', pairOf('ed25519').privateKey, 'expected a public key, received a private key'],
  ['a key of another kind', pairOf('x25519').publicKey, 'expected an Ed25519 key: create one'],
  ['no key', 'MCowBQYDK2VwAyEA', 'expected a public key in PEM'],
])('rejects %s', async (_title, publicKey, detail) => {
  expect(await add('wrong', publicKey)).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/publicKey', detail: expect.stringContaining(detail) }] },
  });
});

test('rejects a key that is already registered, and a name that is in use', async () => {
  const publisher = await new Publisher(service, 'once').register();
  expect(await add('twice', publisher.publicKey)).toMatchObject(
    problem(422, 'invalid-value', `once (${publisher.id}), is already registered`),
  );
  expect(await add('once', new Publisher(service, 'once').publicKey)).toMatchObject(problem(409, 'name-taken', publisher.id));
  const revoked = await publisher.revoke();
  expect(revoked).toMatchObject({ status: 200, body: { revokedAt: expect.any(String) } });
  expect((await publisher.revoke()).body).toEqual(revoked.body);
  expect(itemsOf(await service.get('/v1/publisher-keys?revoked=true'))).toContainEqual(revoked.body);
  expect(await add('again', publisher.publicKey)).toMatchObject(problem(422, 'invalid-value', 'was revoked: create a new key pair'));
  expect((await new Publisher(service, 'once').register()).id).toMatch(/^pub_/);
});

describe('a signature of a build', () => {
  test('is stored once in addition to that of the service; the statement is unchanged', async () => {
    const publisher = await new Publisher(service, 'signer').register();
    const before = await provenanceOf(service, 'tcp', '1.0.0');
    const signed = await publisher.sign('tcp', '1.0.0');
    expect(signed).toMatchObject({ status: 200, body: { signedBy: [before.signatures[0]?.keyid, publisher.keyId] } });
    const after = await provenanceOf(service, 'tcp', '1.0.0');
    expect(after).toEqual({
      ...before,
      signatures: [...before.signatures, { keyid: publisher.keyId, sig: publisher.signatureOf(before) }],
    });
    const [, own] = after.signatures;
    expect(verify(null, preAuthenticationEncoding(after), publisher.publicKey, Buffer.from(own?.sig ?? '', 'base64'))).toBe(true);
    expect(await publisher.sign('tcp', '1.0.0')).toMatchObject({ status: 200, body: signed.body });
    const events = itemsOf(await service.get(`/v1/audit?action=build.signed&object=${signed.body.id}`));
    expect(events).toMatchObject([{ detail: { module: 'tcp', version: '1.0.0', publisherKey: publisher.id, keyId: publisher.keyId } }]);
    // Pushing the same source again returns the same build with its signatures.
    expect((await service.push('tcp', '1.0.0', workModule(1))).body.signedBy).toEqual(signed.body.signedBy);
  });

  test('is rejected if it is of another build, of other bytes or by another key', async () => {
    const publisher = await new Publisher(service, 'mistaken').register();
    const stranger = new Publisher(service, 'stranger');
    const before = await signersOf('1.1.0');
    const envelope = await provenanceOf(service, 'tcp', '1.1.0');
    const ofAnother = publisher.signatureOf(await provenanceOf(service, 'tcp', '1.0.0'));
    const ofOtherType = publisher.signatureOf({ ...envelope, payloadType: 'application/json' });
    for (const signature of [ofAnother, ofOtherType, stranger.signatureOf(envelope)])
      expect(await publisher.sign('tcp', '1.1.0', signature)).toMatchObject({
        status: 422,
        body: { errors: [{ pointer: '/signature', detail: expect.stringContaining('as "patchbay build sign" does') }] },
      });
    expect(await publisher.sign('tcp', '1.1.0', 'bm90IDY0IGJ5dGVz')).toMatchObject({
      status: 422,
      body: { errors: [{ pointer: '/signature' }] },
    });
    expect(await stranger.sign('tcp', '1.1.0')).toMatchObject(problem(422, 'invalid-value', 'ask an administrator to register it'));
    await publisher.revoke();
    expect(await publisher.sign('tcp', '1.1.0')).toMatchObject(problem(422, 'invalid-value', 'the publisher key mistaken was revoked'));
    expect(await signersOf('1.1.0')).toEqual(before);
    expect((await service.post('/v1/modules/tcp/builds/9.9.9/signatures', { keyId: publisher.keyId, signature: ofAnother })).status).toBe(
      404,
    );
  });

  test('is not lost among concurrent signatures, up to 100', async () => {
    await service.push('busy', '1.0.0', workModule(3));
    const publishers = await Promise.all(Array.from({ length: 100 }, (_, index) => new Publisher(service, `busy-${index}`).register()));
    const responses = await Promise.all(publishers.map((publisher) => publisher.sign('busy', '1.0.0')));
    expect(responses.filter(({ status }) => status === 200)).toHaveLength(99);
    expect(responses.filter(({ status }) => status === 409)).toMatchObject([problem(409, 'too-many-signatures', 'has 100 signatures')]);
    expect((await provenanceOf(service, 'busy', '1.0.0')).signatures).toHaveLength(100);
  });
});

test('rejects more than 1,000 keys in use', async () => {
  const own = await new TestService().start();
  try {
    for (let count = 0; count < 1_000; count += 50) {
      const created = await Promise.all(Array.from({ length: 50 }, (_, index) => new Publisher(own, `key-${count + index}`).register()));
      for (const { id } of created) expect(id).toMatch(/^pub_/);
    }
    const { name, publicKey } = new Publisher(own, 'one-more');
    expect(await own.post('/v1/publisher-keys', { name, publicKey })).toMatchObject(problem(409, 'too-many-keys', 'Revoke unused keys'));
    const [newest] = itemsOf(await own.get('/v1/publisher-keys?limit=1'));
    await own.post(`/v1/publisher-keys/${newest?.id}/revoke`, undefined);
    expect((await own.post('/v1/publisher-keys', { name, publicKey })).status).toBe(201);
  } finally {
    await own.close();
  }
});
