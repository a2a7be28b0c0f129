// How a host verifies builds: what it asks the service for and how often, and which signatures count.

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

function told(privateKey: string, endorsedBy: string | null = null): ServiceKey {
  const { keyId, pem } = derivePublicKey(privateKey);
  const endorsement = endorsedBy === null ? null : createEndorsement(endorsedBy, { keyId, pem }, new Date());
  return ServiceKey.parse({ keyId, publicKey: pem, createdAt: new Date().toISOString(), endorsement });
}

/** A service that the test plays: what it answers, and how often it was asked for what. */
class PlayedService {
  envelope: Envelope;
  keys: ServiceKey[] = [];
  statementsAsked = 0;
  keysAsked = 0;
  readonly trusted: TrustedKeys;
  readonly verifier: BuildVerifier;

  constructor(envelope: Envelope, pinned: string | null = null) {
    this.envelope = envelope;
    this.trusted = new TrustedKeys(pinned === null ? null : [derivePublicKey(pinned)]);
    const provenance = async () => {
      this.statementsAsked += 1;
      return JSON.stringify(this.envelope);
    };
    const renewKeys = async () => {
      this.keysAsked += 1;
      this.trusted.update(this.keys);
    };
    this.verifier = new BuildVerifier({ provenance, renewKeys }, this.trusted);
  }
}

/** What a policy demands, as an order has it. */
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

test('a statement is asked for once, and the keys only where it names none that is known', async () => {
  const played = new PlayedService(stated(service));
  played.trusted.update([told(service)]);
  for (let time = 0; time < 3; time += 1) expect(await played.verifier.verify(build)).toEqual([keyIdOf(service)]);
  expect(played).toMatchObject({ statementsAsked: 1, keysAsked: 0 });
  const rotated = new PlayedService(stated(one));
  rotated.trusted.update([told(service)]);
  rotated.keys = [told(service), told(one, service)];
  expect(await rotated.verifier.verify(build)).toEqual([keyIdOf(one)]);
  expect(rotated.keysAsked).toBe(1);
});

test('a statement that is refused is asked for anew when it is wanted again', async () => {
  const right = stated(service);
  const played = new PlayedService({ ...right, signatures: [{ keyid: keyIdOf(service), sig: signEnvelope(right, one).sig }] });
  played.trusted.update([told(service)]);
  await expect(played.verifier.verify(build)).rejects.toThrow(ProvenanceError);
  expect(played.keysAsked).toBe(0);
  played.envelope = right;
  expect(await played.verifier.verify(build)).toEqual([keyIdOf(service)]);
});

test('of the statements of more than 256 images, the least recently used is given up', async () => {
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

test('a build of another module, version or image is not the one that is stated', async () => {
  const played = new PlayedService(stated(service));
  played.trusted.update([told(service)]);
  for (const another of [{ module: 'udp' }, { version: '1.0.1' }, { imageDigest: `sha256:${'3'.repeat(64)}` }])
    await expect(played.verifier.verify({ ...build, ...another })).rejects.toThrow(/states that the image is tcp@1\.0\.0 .* as ordered/);
});

test('what pinned keys vouch for is trusted, through any number of keys, and nothing else', async () => {
  const [next, last, forged] = [generatePrivateKey(), generatePrivateKey(), generatePrivateKey()];
  const keys = [told(last, next), told(service), told(next, service), told(forged), told(one, forged)];
  for (const [signer, isTrusted] of [
    [service, true],
    [next, true],
    [last, true],
    [forged, false],
    [one, false],
  ] as const) {
    const played = new PlayedService(stated(signer), service);
    played.keys = keys;
    const verified = played.verifier.verify(build);
    if (isTrusted) expect(await verified).toEqual([keyIdOf(signer)]);
    else await expect(verified).rejects.toThrow('no key that this host trusts');
  }
});

test('each publisher counts once, however often their key or signature is there, and what is no key counts for nothing', async () => {
  const played = new PlayedService(signedToo(stated(service), one, one));
  played.trusted.update([told(service)]);
  const verify = (threshold: number, ...keys: string[]) => played.verifier.verify(build, demands(threshold, ...keys));
  expect(await verify(1, pemOf(one), 'no key')).toEqual([keyIdOf(service), keyIdOf(one)]);
  await expect(verify(2, pemOf(one), pemOf(one))).rejects.toThrow('2 of 2 publisher keys have signed tcp@1.0.0, and 1 have');
  await expect(verify(2, pemOf(one), pemOf(two))).rejects.toThrow('and 1 have');
  await expect(verify(1, 'no key')).rejects.toThrow('and 0 have');
  played.envelope = signedToo(played.envelope, two);
  expect(await verify(2, pemOf(one), pemOf(two))).toEqual([keyIdOf(service), keyIdOf(one), keyIdOf(two)]);
});

test("the service's signature is none of a publisher's, and a publisher's is none of the service's", async () => {
  const played = new PlayedService(signedToo(stated(one), two));
  played.trusted.update([told(service)]);
  played.keys = [told(service)];
  await expect(played.verifier.verify(build, demands(1, pemOf(one)))).rejects.toThrow('no key that this host trusts');
});

test('what is read anew is read after it was asked for, once for all who wait', async () => {
  const readings: PromiseWithResolvers<number>[] = [];
  const kept = new Refreshable(() => {
    const reading = Promise.withResolvers<number>();
    readings.push(reading);
    return reading.promise;
  });
  const first = kept.get();
  await Promise.resolve();
  expect(readings).toHaveLength(1);
  // One reading is under way, and may know nothing of what these ask for.
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

test('a reading that fails is none for those who ask after it', async () => {
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
