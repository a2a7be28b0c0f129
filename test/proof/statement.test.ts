// Statements of builds in envelopes: they round-trip, and no signature is valid after a change of any byte.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Envelope, findSigners, readEnvelope } from '../../src/proof/envelope.ts';
import { createPatchSetStatement, readPatchSetStatement } from '../../src/proof/patch-set-statement.ts';
import { type BuildOptions, createStatement, isSameBuild, readStatement, statementPayloadType } from '../../src/proof/statement.ts';
import { createSignedEnvelope, signEnvelope } from '../../src/signing/envelope-signing.ts';
import { derivePublicKey, generatePrivateKey } from '../../src/signing/private-key.ts';

const privateKeys = [generatePrivateKey(), generatePrivateKey()];
const [key, other] = privateKeys.map(derivePublicKey);
if (key === undefined || other === undefined) throw new Error('expected two keys');

const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => `sha256:${Buffer.from(bytes).toString('hex')}`);
const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
const moment = fc.date({ noInvalidDate: true, min: new Date(0), max: new Date('2100-01-01') });
const provenance = fc.record({
  module: text,
  version: text,
  imageDigest: digest,
  sourceDigest: digest,
  options: fc.constantFrom<BuildOptions>({}, { concurrency: 'exclusive' }, { concurrency: 'shared', features: ['simd'] }),
  language: text,
  compiler: fc.constantFrom('assemblyscript 0.28.20', 'binaryen 131', 'some compiler 1.0'),
  pushedBy: fc.option(text),
  origin: fc.constant('patchbay/0123456789abcdef'),
  requestId: fc.option(text),
  startedAt: fc.option(moment),
  finishedAt: moment,
});

test('a statement round-trips, also through the JSON of its envelope', () => {
  fc.assert(
    fc.property(provenance, (facts) => {
      const envelope = createSignedEnvelope(privateKeys[0] ?? '', statementPayloadType, createStatement(facts));
      const again = readEnvelope(JSON.stringify(envelope));
      expect(again).toEqual(envelope);
      const { module, version, imageDigest, sourceDigest, options, compiler, pushedBy } = facts;
      expect(readStatement(again ?? envelope)).toEqual({ module, version, imageDigest, sourceDigest, options, compiler, pushedBy });
      expect(findSigners(envelope, [key, other])).toEqual([key]);
    }),
  );
});

test('a statement of a patch set round-trips, and is no statement of a build', () => {
  const set = fc.record({
    name: text,
    version: text,
    members: fc.array(fc.record({ module: text, version: text, imageDigest: digest }), { minLength: 1, maxLength: 16 }),
    createdBy: text,
    origin: fc.constant('patchbay/0123456789abcdef'),
    requestId: fc.option(text),
    finishedAt: moment,
  });
  fc.assert(
    fc.property(set, provenance, ({ origin, requestId, finishedAt, ...stated }, facts) => {
      const statement = createPatchSetStatement({ ...stated, origin, requestId, finishedAt });
      const envelope = createSignedEnvelope(privateKeys[0] ?? '', statementPayloadType, statement);
      expect(readEnvelope(JSON.stringify(envelope))).toEqual(envelope);
      expect(readPatchSetStatement(envelope)).toEqual(stated);
      expect(readPatchSetStatement({ ...envelope, payloadType: 'application/json' })).toBeNull();
      expect(readStatement(envelope)).toBeNull();
      const ofBuild = createSignedEnvelope(privateKeys[0] ?? '', statementPayloadType, createStatement(facts));
      expect(readPatchSetStatement(ofBuild)).toBeNull();
    }),
  );
});

test('a change of any byte invalidates the signatures, and an added signature is counted', () => {
  /** Returns the bytes with one of them changed. */
  const corrupt = (base64: string, index: number, by: number) => {
    const bytes = Buffer.from(base64, 'base64');
    const at = index % bytes.length;
    bytes[at] = (bytes[at] ?? 0) ^ by;
    return bytes.toString('base64');
  };
  const change = fc.record({
    what: fc.constantFrom('payload', 'payloadType', 'sig', 'keyid'),
    index: fc.nat(),
    by: fc.integer({ min: 1, max: 255 }),
  });
  fc.assert(
    fc.property(provenance, change, (facts, { what, index, by }) => {
      const sealed = createSignedEnvelope(privateKeys[0] ?? '', statementPayloadType, createStatement(facts));
      const envelope: Envelope = { ...sealed, signatures: [...sealed.signatures, signEnvelope(sealed, privateKeys[1] ?? '')] };
      expect(findSigners(envelope, [key, other])).toEqual([key, other]);
      const [first = { keyid: '', sig: '' }, ...rest] = envelope.signatures;
      const at = index % envelope.payloadType.length;
      const changed: Record<string, Envelope> = {
        payload: { ...envelope, payload: corrupt(envelope.payload, index, by) },
        payloadType: { ...envelope, payloadType: `${envelope.payloadType.slice(0, at)}~${envelope.payloadType.slice(at + 1)}` },
        sig: { ...envelope, signatures: [{ ...first, sig: corrupt(first.sig, index, by) }, ...rest] },
        keyid: { ...envelope, signatures: [{ ...first, keyid: other.keyId }, ...rest] },
      };
      const signers = findSigners(changed[what] ?? envelope, [key, other]);
      expect(signers).toEqual(what === 'sig' || what === 'keyid' ? [other] : []);
    }),
  );
});

const facts = {
  module: 'tcp',
  version: '1.1.0',
  imageDigest: `sha256:${'1'.repeat(64)}`,
  sourceDigest: `sha256:${'2'.repeat(64)}`,
  language: 'wat',
  compiler: 'binaryen 131',
  pushedBy: null,
  origin: 'patchbay/0123456789abcdef',
  requestId: null,
  startedAt: null,
  finishedAt: new Date(0),
};
const envelopeOf = (payload: string, payloadType = statementPayloadType): Envelope => ({
  payloadType,
  payload: Buffer.from(payload).toString('base64'),
  signatures: [],
});

test('a statement describes one build only', () => {
  const stated = readStatement(envelopeOf(createStatement(facts)));
  if (stated === null) throw new Error('expected a statement');
  expect(isSameBuild(stated, facts)).toBe(true);
  for (const another of [{ module: 'udp' }, { version: '1.1.1' }, { imageDigest: `sha256:${'3'.repeat(64)}` }])
    expect(isSameBuild(stated, { ...facts, ...another })).toBe(false);
});

test('rejects anything that is not a statement of a build', () => {
  const statement = createStatement(facts);
  for (const envelope of [
    envelopeOf(statement, 'application/json'),
    envelopeOf('not JSON'),
    envelopeOf('{}'),
    envelopeOf(statement.replace('in-toto.io/Statement/v1', 'in-toto.io/Statement/v9')),
    envelopeOf(statement.replace('slsa.dev/provenance/v1', 'slsa.dev/provenance/v9')),
    // Its subject and its parameters are of two versions.
    envelopeOf(statement.replace('tcp@1.1.0', 'tcp@1.2.0')),
  ])
    expect(readStatement(envelope)).toBeNull();
  for (const text of ['', '{', 'null', '{"payloadType":"a","payload":"?","signatures":[]}']) expect(readEnvelope(text)).toBeNull();
});
