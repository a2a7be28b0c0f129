// Verification of builds by a host: downloads and their number, and which signatures count.

import { expect, test } from 'vitest';
import { BuildVerifier, ProvenanceError } from '../../src/host/build-verifier.ts';
import { Refreshable } from '../../src/host/refreshable.ts';
import { TrustedKeys } from '../../src/host/trusted-keys.ts';
import type { Envelope } from '../../src/proof/envelope.ts';
import { createStatement, statementPayloadType } from '../../src/proof/statement.ts';
import { Order } from '../../src/protocol/agent.ts';
import { newIdentifier } from '../../src/protocol/identifiers.ts';
import { ServiceKey } from '../../src/protocol/signed-statement.ts';
import { createEndorsement, createSignedEnvelope, signEnvelope } from '../../src/signing/envelope-signing.ts';
import { derivePublicKey, generatePrivateKey } from '../../src/signing/private-key.ts';

const build = { module: 'tcp', version: '1.0.0', imageDigest: `sha256:${'1'.repeat(64)}` };
const facts = {
  ...build,
  language: 'wat' as const,
  compiler: 'binaryen 131',
  sourceDigest: `sha256:${'2'.repeat(64)}`,
  pushedBy: null,
  origin: 'patchbay/0123456789abcdef',
  requestId: null,
  startedAt: null,
  finishedAt: new Date(0),
};
const statement = createStatement(facts);
const stated = (privateKey: string) => createSignedEnvelope(privateKey, statementPayloadType, statement);
const signedToo = (envelope: Envelope, ...privateKeys: string[]) => ({
  ...envelope,
  signatures: [...envelope.signatures, ...privateKeys.map((privateKey) => signEnvelope(envelope, privateKey))],
});

function serviceKey(privateKey: string, endorsedBy: string | null = null): ServiceKey {
  const { keyId, pem } = derivePublicKey(privateKey);
  const endorsement = endorsedBy === null ? null : createEndorsement(endorsedBy, { keyId, pem }, new Date());
  return ServiceKey.parse({ keyId, publicKey: pem, createdAt: new Date().toISOString(), endorsement });
}

/** A simulated service: its responses, and the number of requests. */
class SimulatedService {
  envelope: Envelope;
  keys: ServiceKey[] = [];
  statementRequests = 0;
  keyRequests = 0;
  readonly trusted: TrustedKeys;
  readonly verifier: BuildVerifier;

  constructor(envelope: Envelope, pinned: string | null = null) {
    this.envelope = envelope;
    this.trusted = new TrustedKeys(pinned === null ? null : [derivePublicKey(pinned)]);
    const provenance = async () => {
      this.statementRequests += 1;
      return JSON.stringify(this.envelope);
    };
    const renewKeys = async () => {
      this.keyRequests += 1;
      this.trusted.update(this.keys);
    };
    this.verifier = new BuildVerifier({ provenance, renewKeys }, this.trusted);
  }
}

/** Returns a signature requirement in the form of an order. */
function demands(threshold: number, ...publicKeys: string[]) {
  const order = Order.parse({
    kind: 'load',
    order: newIdentifier('order'),
    device: newIdentifier('device'),
    sequence: 1,
    load: newIdentifier('load'),
    module: 'tcp',
    version: '1.0.0',
    image: build.imageDigest,
    strategy: 'inject',
    invalidation: 'nx',
    demands: [{ policy: newIdentifier('signature policy'), name: 'released', publicKeys, threshold }],
  });
  return order.kind === 'load' ? order.demands : [];
}

const [service, one, two] = [generatePrivateKey(), generatePrivateKey(), generatePrivateKey()];
const pemOf = (privateKey: string) => derivePublicKey(privateKey).pem;
const keyIdOf = (privateKey: string) => derivePublicKey(privateKey).keyId;

test('downloads a statement once, and the keys only if the statement names no known key', async () => {
  const played = new SimulatedService(stated(service));
  played.trusted.update([serviceKey(service)]);
  for (let time = 0; time < 3; time += 1) expect(await played.verifier.verify(build)).toEqual([keyIdOf(service)]);
  expect(played).toMatchObject({ statementRequests: 1, keyRequests: 0 });
  const rotated = new SimulatedService(stated(one));
  rotated.trusted.update([serviceKey(service)]);
  rotated.keys = [serviceKey(service), serviceKey(one, service)];
  expect(await rotated.verifier.verify(build)).toEqual([keyIdOf(one)]);
  expect(rotated.keyRequests).toBe(1);
});

test('downloads a refused statement again when it is needed again', async () => {
  const right = stated(service);
  const played = new SimulatedService({ ...right, signatures: [{ keyid: keyIdOf(service), sig: signEnvelope(right, one).sig }] });
  played.trusted.update([serviceKey(service)]);
  await expect(played.verifier.verify(build)).rejects.toThrow(ProvenanceError);
  expect(played.keyRequests).toBe(0);
  played.envelope = right;
  expect(await played.verifier.verify(build)).toEqual([keyIdOf(service)]);
});

test('evicts the least recently used of more than 256 statements', async () => {
  const digestOf = (number: number) => `sha256:${number.toString(16).padStart(64, '0')}`;
  const asked: string[] = [];
  const trusted = new TrustedKeys([derivePublicKey(service)]);
  const provenance = async (digest: string) => {
    asked.push(digest);
    return JSON.stringify(createSignedEnvelope(service, statementPayloadType, createStatement({ ...facts, imageDigest: digest })));
  };
  const verifier = new BuildVerifier({ provenance, renewKeys: async () => {} }, trusted);
  const verify = (number: number) => verifier.verify({ ...build, imageDigest: digestOf(number) });
  for (let number = 0; number < 257; number += 1) await verify(number);
  for (let number = 1; number < 257; number += 1) await verify(number);
  expect(asked.length).toBe(257);
  await verify(0);
  expect(asked.slice(257)).toEqual([digestOf(0)]);
});

test('refuses a build of another module, version or image than the stated one', async () => {
  const played = new SimulatedService(stated(service));
  played.trusted.update([serviceKey(service)]);
  for (const another of [{ module: 'udp' }, { version: '1.0.1' }, { imageDigest: `sha256:${'3'.repeat(64)}` }])
    await expect(played.verifier.verify({ ...build, ...another })).rejects.toThrow(
      /the statement is of another image: expected .*, received tcp@1\.0\.0/,
    );
});

test('trusts the keys that pinned keys endorse, through any number of keys, and no others', async () => {
  const [next, last, forged] = [generatePrivateKey(), generatePrivateKey(), generatePrivateKey()];
  const keys = [serviceKey(last, next), serviceKey(service), serviceKey(next, service), serviceKey(forged), serviceKey(one, forged)];
  for (const [signer, isTrusted] of [
    [service, true],
    [next, true],
    [last, true],
    [forged, false],
    [one, false],
  ] as const) {
    const played = new SimulatedService(stated(signer), service);
    played.keys = keys;
    const verified = played.verifier.verify(build);
    if (isTrusted) expect(await verified).toEqual([keyIdOf(signer)]);
    else await expect(verified).rejects.toThrow('no key that this host trusts');
  }
});

test('counts each publisher once despite duplicate keys and signatures, and ignores invalid keys', async () => {
  const played = new SimulatedService(signedToo(stated(service), one, one));
  played.trusted.update([serviceKey(service)]);
  const verify = (threshold: number, ...keys: string[]) => played.verifier.verify(build, demands(threshold, ...keys));
  expect(await verify(1, pemOf(one), 'no key')).toEqual([keyIdOf(service), keyIdOf(one)]);
  await expect(verify(2, pemOf(one), pemOf(one))).rejects.toThrow('2 of 2 publisher keys for tcp@1.0.0, which has 1');
  await expect(verify(2, pemOf(one), pemOf(two))).rejects.toThrow('which has 1');
  await expect(verify(1, 'no key')).rejects.toThrow('which has 0');
  played.envelope = signedToo(played.envelope, two);
  expect(await verify(2, pemOf(one), pemOf(two))).toEqual([keyIdOf(service), keyIdOf(one), keyIdOf(two)]);
});

test('a signature of the service does not count for a publisher, nor the reverse', async () => {
  const played = new SimulatedService(signedToo(stated(one), two));
  played.trusted.update([serviceKey(service)]);
  played.keys = [serviceKey(service)];
  await expect(played.verifier.verify(build, demands(1, pemOf(one)))).rejects.toThrow('no key that this host trusts');
});

test('a refresh starts after the call, and concurrent calls share it', async () => {
  const readings: PromiseWithResolvers<number>[] = [];
  const kept = new Refreshable(() => {
    const reading = Promise.withResolvers<number>();
    readings.push(reading);
    return reading.promise;
  });
  const first = kept.get();
  await Promise.resolve();
  expect(readings).toHaveLength(1);
  // One read is in progress, and may return an outdated value for these calls.
  const later = [kept.refresh(), kept.refresh(), kept.refresh()];
  readings[0]?.resolve(1);
  expect(await first).toBe(1);
  await new Promise((resolve) => setImmediate(resolve));
  expect(readings).toHaveLength(2);
  readings[1]?.resolve(2);
  expect(await Promise.all(later)).toEqual([2, 2, 2]);
  expect(await kept.get()).toBe(2);
  expect(readings).toHaveLength(2);
});

test('a failed read is not cached', async () => {
  const away = Promise.withResolvers<number>();
  const readings = [away.promise, Promise.resolve(2)];
  const kept = new Refreshable(() => readings.shift() ?? Promise.resolve(3));
  const failing = expect(kept.get()).rejects.toThrow('away');
  await new Promise((resolve) => setImmediate(resolve));
  const after = kept.refresh();
  away.reject(new Error('away'));
  await failing;
  expect(await after).toBe(2);
  expect(await kept.get()).toBe(2);
  const failedAlone = new Refreshable(() => (readings.length === 0 ? Promise.reject(new Error('away')) : Promise.resolve(4)));
  await expect(failedAlone.get()).rejects.toThrow('away');
  readings.push(Promise.resolve(0));
  expect(await failedAlone.get()).toBe(4);
});
