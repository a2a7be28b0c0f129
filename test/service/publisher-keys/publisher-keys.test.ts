// Publishers' keys, and their signatures under builds: registered, put to the statement, refused with what to do, revoked.

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

test('a key is registered by its public part, found, listed and audited', async () => {
  const publisher = new Publisher(service, 'release-team');
  const made = await add('release-team', publisher.publicKey);
  expect(made).toMatchObject({
    status: 201,
    body: { name: 'release-team', keyId: keyIdOf(publisher.publicKey), publicKey: publisher.publicKey, revokedAt: null },
  });
  expect(made.body.id).toMatch(/^pub_[0-9a-f]{32}$/);
  expect(made.headers.get('location')).toBe(`/v1/publisher-keys/${made.body.id}`);
  expect((await service.get(`/v1/publisher-keys/${made.body.id}`)).body).toEqual(made.body);
  expect(itemsOf(await service.get('/v1/publisher-keys?revoked=false'))).toContainEqual(made.body);
  const [admin] = itemsOf(await service.get('/v1/keys'));
  expect(itemsOf(await service.get(`/v1/audit?object=${made.body.id}`))).toMatchObject([
    { actor: admin?.id, action: 'publisher-key.created', detail: { name: 'release-team', keyId: made.body.keyId } },
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
])('%s is refused with what to do', async (_what, publicKey, detail) => {
  expect(await add('wrong', publicKey)).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/publicKey', detail: expect.stringContaining(detail) }] },
  });
});

test('one pair of keys is registered once, and two keys in use have two names', async () => {
  const publisher = await new Publisher(service, 'once').register();
  expect(await add('twice', publisher.publicKey)).toMatchObject(
    problem(422, 'invalid-value', `once (${publisher.id}), is registered already`),
  );
  expect(await add('once', new Publisher(service, 'once').publicKey)).toMatchObject(problem(409, 'name-taken', publisher.id));
  const revoked = await publisher.revoke();
  expect(revoked).toMatchObject({ status: 200, body: { revokedAt: expect.any(String) } });
  expect((await publisher.revoke()).body).toEqual(revoked.body);
  expect(itemsOf(await service.get('/v1/publisher-keys?revoked=true'))).toContainEqual(revoked.body);
  expect(await add('again', publisher.publicKey)).toMatchObject(problem(422, 'invalid-value', 'was revoked: make another pair of keys'));
  expect((await new Publisher(service, 'once').register()).id).toMatch(/^pub_/);
});

describe('a signature under a build', () => {
  test('is kept beside the one of the service, once, and the statement stays as it was', async () => {
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
    // The same source again is the same build, with its signatures.
    expect((await service.push('tcp', '1.0.0', workModule(1))).body.signedBy).toEqual(signed.body.signedBy);
  });

  test('that is of another build, of other bytes or by another key is refused, and nothing is kept', async () => {
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
    expect(await stranger.sign('tcp', '1.1.0')).toMatchObject(problem(422, 'invalid-value', 'an administrator registers publisher keys'));
    await publisher.revoke();
    expect(await publisher.sign('tcp', '1.1.0')).toMatchObject(problem(422, 'invalid-value', 'the publisher key mistaken was revoked'));
    expect(await signersOf('1.1.0')).toEqual(before);
    expect((await service.post('/v1/modules/tcp/builds/9.9.9/signatures', { keyId: publisher.keyId, signature: ofAnother })).status).toBe(
      404,
    );
  });

  test('of many who sign at once, none is lost; and there are a hundred at most', async () => {
    await service.push('busy', '1.0.0', workModule(3));
    const publishers = await Promise.all(Array.from({ length: 100 }, (_, index) => new Publisher(service, `busy-${index}`).register()));
    const answers = await Promise.all(publishers.map((publisher) => publisher.sign('busy', '1.0.0')));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(99);
    expect(answers.filter(({ status }) => status === 409)).toMatchObject([problem(409, 'too-many-signatures', 'has 100 signatures')]);
    expect((await provenanceOf(service, 'busy', '1.0.0')).signatures).toHaveLength(100);
  });
});

test('there are no more than a thousand keys in use', async () => {
  const own = await new TestService().start();
  try {
    for (let count = 0; count < 1_000; count += 50) {
      const made = await Promise.all(Array.from({ length: 50 }, (_, index) => new Publisher(own, `key-${count + index}`).register()));
      for (const { id } of made) expect(id).toMatch(/^pub_/);
    }
    const { name, publicKey } = new Publisher(own, 'one-more');
    expect(await own.post('/v1/publisher-keys', { name, publicKey })).toMatchObject(
      problem(409, 'too-many-keys', 'revoke those that nobody uses'),
    );
    const [newest] = itemsOf(await own.get('/v1/publisher-keys?limit=1'));
    await own.post(`/v1/publisher-keys/${newest?.id}/revoke`, undefined);
    expect((await own.post('/v1/publisher-keys', { name, publicKey })).status).toBe(201);
  } finally {
    await own.close();
  }
});
