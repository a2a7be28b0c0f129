// Verification of drivers by a host: which signatures count, and that the statement is about the ordered driver.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BuildVerifier, ProvenanceError } from '../../src/host/build-verifier.ts';
import { TrustedKeys } from '../../src/host/trusted-keys.ts';
import { createDriverStatement, readDriverStatement } from '../../src/proof/driver-statement.ts';
import type { Envelope } from '../../src/proof/envelope.ts';
import { createStatement, readStatement, statementPayloadType } from '../../src/proof/statement.ts';
import { ServiceKey } from '../../src/protocol/signed-statement.ts';
import { createEndorsement, createSignedEnvelope, signEnvelope } from '../../src/signing/envelope-signing.ts';
import { derivePublicKey, generatePrivateKey } from '../../src/signing/private-key.ts';

const digestOf = (digit: string) => `sha256:${digit.repeat(64)}`;
const driver = { module: 'tcp', export: 'work', addressing: 'via-table', imageDigest: digestOf('1') } as const;
const type = { parameters: ['i32', 'f64'], results: ['i64'] };
const provenance = {
  ...driver,
  type,
  abi: 5,
  sourceDigest: digestOf('2'),
  origin: 'patchbay/0123456789abcdef',
  finishedAt: new Date(0),
};
const sealed = (privateKey: string, statement: string) => createSignedEnvelope(privateKey, statementPayloadType, statement);
const [service, stranger] = [generatePrivateKey(), generatePrivateKey()];
const right = sealed(service, createDriverStatement(provenance));

function serviceKey(privateKey: string, endorsedBy: string | null = null): ServiceKey {
  const { keyId, pem } = derivePublicKey(privateKey);
  const endorsement = endorsedBy === null ? null : createEndorsement(endorsedBy, { keyId, pem }, new Date());
  return ServiceKey.parse({ keyId, publicKey: pem, createdAt: new Date().toISOString(), endorsement });
}

/** Simulates a service that returns this envelope, and a host that trusts the given keys. */
class PlayedService {
  envelope: Envelope;
  keys: ServiceKey[] = [serviceKey(service)];
  readonly asked: string[] = [];
  readonly trusted: TrustedKeys;
  readonly verifier: BuildVerifier;

  constructor(envelope: Envelope, pinned: string | null = null) {
    this.envelope = envelope;
    this.trusted = new TrustedKeys(pinned === null ? null : [derivePublicKey(pinned)]);
    this.trusted.update(this.keys);
    this.verifier = new BuildVerifier(
      {
        provenance: async (digest) => {
          this.asked.push(digest);
          return JSON.stringify(this.envelope);
        },
        renewKeys: async () => this.trusted.update(this.keys),
      },
      this.trusted,
    );
  }
}

test('accepts a driver with a statement by a trusted key, and downloads the statement once', async () => {
  const played = new PlayedService(right);
  for (let time = 0; time < 3; time += 1) expect(await played.verifier.verifyDriver(driver)).toMatchObject({ ...driver, type, abi: 5 });
  expect(played.asked).toEqual([driver.imageDigest]);
});

test('downloads a refused statement again when the driver is needed again', async () => {
  const played = new PlayedService(sealed(stranger, createDriverStatement(provenance)));
  await expect(played.verifier.verifyDriver(driver)).rejects.toThrow(
    'no key that this host trusts has signed the statement of the driver of tcp.work',
  );
  played.envelope = right;
  expect(await played.verifier.verifyDriver(driver)).toMatchObject(driver);
});

const ofBuild = createStatement({
  module: 'tcp',
  version: '1.0.0',
  imageDigest: driver.imageDigest,
  language: 'wat',
  compiler: 'binaryen 131',
  sourceDigest: digestOf('2'),
  pushedBy: null,
  origin: 'patchbay/0123456789abcdef',
  requestId: null,
  startedAt: null,
  finishedAt: new Date(0),
});
const renamed = JSON.stringify({
  ...JSON.parse(createDriverStatement(provenance)),
  subject: [{ name: 'driver of udp', digest: { sha256: '1'.repeat(64) } }],
});

test.each<[string, Envelope, RegExp]>([
  ['no signature', { ...right, signatures: [] }, /it names no key/],
  ['the signature of a stranger', sealed(stranger, createDriverStatement(provenance)), /no key that this host trusts/],
  [
    'a signature of a stranger under the name of the service',
    { ...right, signatures: [{ keyid: derivePublicKey(service).keyId, sig: signEnvelope(right, stranger).sig }] },
    /no key that this host trusts/,
  ],
  [
    'another image',
    sealed(service, createDriverStatement({ ...provenance, imageDigest: digestOf('3') })),
    /expected sha256:1+, received sha256:3+ \(driver of tcp\.work\)/,
  ],
  [
    'another module',
    sealed(service, createDriverStatement({ ...provenance, module: 'udp' })),
    /calls another export: expected tcp\.work, received udp\.work/,
  ],
  [
    'another export',
    sealed(service, createDriverStatement({ ...provenance, export: 'other' })),
    /calls another export: expected tcp\.work, received tcp\.other/,
  ],
  [
    'another addressing',
    sealed(service, createDriverStatement({ ...provenance, addressing: 'hard-coded' })),
    /has another addressing: expected via-table, received hard-coded/,
  ],
  ['a statement of a build', sealed(service, ofBuild), /no readable statement of the driver/],
  ['a statement whose subject is another', sealed(service, renamed), /no readable statement of the driver/],
  [
    'another type of payload',
    createSignedEnvelope(service, 'application/json', createDriverStatement(provenance)),
    /no readable statement of the driver/,
  ],
])('refuses a driver with %s', async (_, envelope, reason) => {
  const { verifier } = new PlayedService(envelope);
  await expect(verifier.verifyDriver(driver)).rejects.toThrow(ProvenanceError);
  await expect(verifier.verifyDriver(driver)).rejects.toThrow(reason);
});

test('refuses the statement of a driver as the statement of a build', async () => {
  const { verifier } = new PlayedService(right);
  const build = { module: 'tcp', version: '1.0.0', imageDigest: driver.imageDigest };
  await expect(verifier.verify(build)).rejects.toThrow('cannot be read');
  expect(readStatement(right)).toBeNull();
});

test('downloads a new key of the service; pinned keys accept it only with their endorsement', async () => {
  const next = generatePrivateKey();
  const envelope = sealed(next, createDriverStatement(provenance));
  for (const [pinned, endorsedBy, isAccepted] of [
    [null, service, true],
    [service, service, true],
    [service, null, false],
    [service, stranger, false],
  ] as const) {
    const played = new PlayedService(envelope, pinned);
    played.keys = [serviceKey(service), serviceKey(next, endorsedBy)];
    const verifying = played.verifier.verifyDriver(driver);
    if (isAccepted) expect(await verifying).toMatchObject(driver);
    else await expect(verifying).rejects.toThrow('no key that this host trusts');
  }
});

test('reads a driver statement as it was written, with any export name', () => {
  const anyType = fc.array(fc.constantFrom('i32', 'i64', 'f32', 'f64', 'v128'), { maxLength: 5 });
  const any = fc.record({
    module: fc.stringMatching(/^[a-z][a-z0-9_-]{0,62}$/),
    export: fc.string({ unit: 'grapheme', maxLength: 200 }),
    addressing: fc.constantFrom('via-table' as const, 'hard-coded' as const),
    type: fc.record({ parameters: anyType, results: anyType }),
    abi: fc.nat(100),
    imageDigest: fc.stringMatching(/^sha256:[0-9a-f]{64}$/),
  });
  fc.assert(
    fc.property(any, (stated) => {
      expect(readDriverStatement(sealed(service, createDriverStatement({ ...provenance, ...stated })))).toEqual(stated);
    }),
    { numRuns: 50 },
  );
});
