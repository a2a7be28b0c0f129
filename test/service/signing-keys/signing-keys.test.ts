// The service's signing key: creation at the first start, rotation with an endorsement, and loss.

import { createPublicKey, verify } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { type Verification, verifyExport } from '../../../src/proof/audit-export.ts';
import { readCheckpoint, writeCheckpoint } from '../../../src/proof/checkpoint.ts';
import { readPublicKey } from '../../../src/proof/ed25519.ts';
import { SigningKeyError } from '../../../src/service/signing-keys/signing-keys.ts';
import { derivePublicKey, signMessage } from '../../../src/signing/private-key.ts';
import { bearer, itemsOf, TestService } from '../test-service.ts';

let service: TestService;
beforeEach(async () => {
  service = await new TestService().start();
});
afterEach(() => service.close());

const SigningKey = z.object({
  id: z.string(),
  keyId: z.string(),
  publicKey: z.string(),
  verifierKey: z.string(),
  retiredAt: z.string().nullable(),
  endorsement: z
    .object({ payloadType: z.string(), payload: z.string(), signatures: z.tuple([z.object({ keyid: z.string(), sig: z.string() })]) })
    .nullable(),
});
const keys = async () => itemsOf(await service.get('/v1/signing-keys?order=asc')).map((item) => SigningKey.parse(item));

async function rotate() {
  const { status, headers, body } = await service.post('/v1/signing-keys', undefined);
  expect(status).toBe(201);
  const key = SigningKey.parse(body);
  expect(headers.get('location')).toBe(`/v1/signing-keys/${key.id}`);
  expect((await service.get(`/v1/signing-keys/${key.id}`)).body).toEqual(body);
  return key;
}

const checkpoint = async () => String((await service.post('/v1/audit/checkpoints', undefined)).body.note);

async function verifyTrail(checkpoints: readonly string[], pinned: readonly string[]): Promise<Verification> {
  const response = await fetch(`${service.url}/v1/audit/export`, { headers: bearer(service.key) });
  async function* lines() {
    yield* (await response.text()).split('\n');
  }
  return verifyExport(lines(), { checkpoints, keys: pinned.map(readPublicKey), isPartial: false });
}

test('creates a key at the first start, stores only its public part in the database, and uses it after a restart', async () => {
  const [first, ...others] = await keys();
  expect(others).toEqual([]);
  expect(first).toMatchObject({ retiredAt: null, endorsement: null });
  expect([...service.privateKeys.keys.keys()]).toEqual([first?.id]);
  expect(derivePublicKey([...service.privateKeys.keys.values()][0] ?? '')).toEqual({ keyId: first?.keyId, pem: first?.publicKey });
  await service.stop();
  await service.start();
  expect(await keys()).toEqual([first]);
  expect(await verifyTrail([await checkpoint()], [first?.publicKey ?? ''])).toMatchObject({
    kind: 'intact',
    checkpoint: { keyId: first?.keyId },
  });
});

test('a key endorses its successor, and its private key is removed', async () => {
  const [first] = await keys();
  const second = await rotate();
  expect([...service.privateKeys.keys.keys()]).toEqual([second.id]);
  expect((await keys()).map(({ id, retiredAt }) => [id, retiredAt === null])).toEqual([
    [first?.id, false],
    [second.id, true],
  ]);
  // Verified by the DSSE specification, without code of the service.
  const { payloadType, payload, signatures } = second.endorsement ?? { payloadType: '', payload: '', signatures: [{ keyid: '', sig: '' }] };
  const bytes = Buffer.from(payload, 'base64');
  const signed = Buffer.concat([Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${bytes.length} `), bytes]);
  expect(signatures[0].keyid).toBe(first?.keyId);
  expect(verify(null, signed, createPublicKey(first?.publicKey ?? ''), Buffer.from(signatures[0].sig, 'base64'))).toBe(true);
  expect(JSON.parse(bytes.toString())).toMatchObject({ keyId: second.keyId, publicKey: second.publicKey });
  const [event] = itemsOf(await service.get(`/v1/audit?object=${second.id}`));
  expect(event).toMatchObject({ action: 'signing-key.created', detail: { keyId: second.keyId, endorsement: { keyid: first?.keyId } } });
});

test('a verifier that trusts the first key trusts every checkpoint after any number of rotations', async () => {
  const [first] = await keys();
  const notes = [await checkpoint()];
  for (const _ of [1, 2, 3]) {
    await rotate();
    notes.push(await checkpoint());
  }
  expect(new Set((await keys()).map(({ verifierKey }) => verifierKey.split('+')[0])).size).toBe(1);
  const newest = (await keys()).at(-1);
  expect(await verifyTrail(notes, [first?.publicKey ?? ''])).toMatchObject({ kind: 'intact', checkpoint: { keyId: newest?.keyId } });
  // A key does not extend trust to its predecessors.
  expect(await verifyTrail(notes, [newest?.publicKey ?? ''])).toMatchObject({ kind: 'unverifiable' });
  expect(await verifyTrail(notes.slice(-1), [newest?.publicKey ?? ''])).toMatchObject({ kind: 'intact' });
});

test('a request repeated with its idempotency key rotates the key once', async () => {
  const headers = { 'idempotency-key': 'once' };
  const [one, two] = [
    await service.post('/v1/signing-keys', undefined, headers),
    await service.post('/v1/signing-keys', undefined, headers),
  ];
  expect(two.body).toEqual(one.body);
  expect(await keys()).toHaveLength(2);
});

test('a signature by a replaced key proves nothing', async () => {
  const [first] = await keys();
  const stolen = service.privateKeys.keys.get(first?.id ?? '') ?? '';
  await rotate();
  const honest = readCheckpoint(await checkpoint());
  if (honest === null) throw new Error('no checkpoint');
  const forged = writeCheckpoint(honest, derivePublicKey(stolen), (message) => signMessage(stolen, message));
  expect(await verifyTrail([forged], [first?.publicKey ?? ''])).toMatchObject({
    kind: 'unverifiable',
    reason: expect.stringContaining('had been replaced'),
  });
});

test('rejects the start without the private key, unless it is declared lost', async () => {
  const [first] = await keys();
  const before = await checkpoint();
  await service.stop();
  service.privateKeys.keys.clear();
  await expect(service.start()).rejects.toThrow(SigningKeyError);
  service.isSigningKeyLost = true;
  await service.start();
  const [, second] = await keys();
  expect(second).toMatchObject({ endorsement: null, retiredAt: null });
  const after = await checkpoint();
  expect(await verifyTrail([before], [first?.publicKey ?? ''])).toMatchObject({ kind: 'intact' });
  expect(await verifyTrail([before, after], [first?.publicKey ?? ''])).toMatchObject({ kind: 'unverifiable' });
  expect(await verifyTrail([before, after], [first?.publicKey ?? '', second?.publicKey ?? ''])).toMatchObject({ kind: 'intact' });
  // Declaring an existing key lost changes nothing.
  await service.stop();
  await service.start();
  expect(await keys()).toHaveLength(2);
});

test('rejects a private key that belongs to another key', async () => {
  const [first] = await keys();
  await rotate();
  const [, second] = await keys();
  await service.stop();
  const other = await new TestService().start();
  service.privateKeys.keys.set(second?.id ?? '', [...other.privateKeys.keys.values()][0] ?? '');
  await other.close();
  await expect(service.start()).rejects.toThrow(/belongs to another key/);
  expect(first?.id).not.toBe(second?.id);
});
