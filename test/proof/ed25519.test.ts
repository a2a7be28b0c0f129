// The proof libraries that also run in browsers agree with OpenSSL on digests, keys and signatures.

import * as node from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { verifySignature } from '../../src/host/openssl-signature.ts';
import { hashEvent, toHashedEvent } from '../../src/proof/audit-event.ts';
import { decodeUtf8, fromBase64 } from '../../src/proof/bytes.ts';
import { isSignedBy, rawPublicKey, readPublicKey, readPublicKeys } from '../../src/proof/ed25519.ts';
import { leafHash, nodeHash } from '../../src/proof/merkle-tree.ts';
import { hashStoredEvent } from '../../src/service/database/audit-chain.ts';

const bytes = fc.uint8Array({ maxLength: 300 });
const plain = (content: Uint8Array) => Array.from(content);

test('decodes base64 like Node.js, with and without padding, and invalid base64 to no bytes', () => {
  fc.assert(
    fc.property(bytes, (content) => {
      const written = Buffer.from(content).toString('base64');
      expect(plain(fromBase64(written))).toEqual(plain(content));
      expect(plain(fromBase64(written.replaceAll('=', '')))).toEqual(plain(content));
      expect(decodeUtf8(content)).toBe(Buffer.from(content).toString());
    }),
  );
  expect(decodeUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61))).toBe('\uFEFFa');
  expect(['A', 'AAAA=', '%%%%', 'AA-_'].map((text) => fromBase64(text).length)).toEqual([0, 0, 0, 0]);
});

test('hashes leaves and nodes of the Merkle tree as in RFC 6962', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.uint8Array({ minLength: 32, maxLength: 32 }), (entry, hash) => {
      expect(plain(leafHash(entry))).toEqual(plain(node.hash('sha256', `\0${entry}`, 'buffer')));
      const pair = Buffer.concat([Uint8Array.of(1), hash, hash]);
      const own = new Uint8Array(hash);
      expect(plain(nodeHash(own, own))).toEqual(plain(node.hash('sha256', pair, 'buffer')));
    }),
  );
});

test('the service and the verifier compute the same hash of an event', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.nat(), fc.option(fc.string({ unit: 'grapheme' })), (text, number, requestId) => {
      const previous = new Uint8Array(32).fill(7);
      const event = { number, at: new Date(1_700_000_000_000 + number), actor: text, action: 'load.completed', object: text };
      const kept = { ...event, outcome: 'succeeded', requestId, detail: { text, of: [number, null, true] }, previous };
      expect(plain(hashStoredEvent(kept))).toEqual(plain(hashEvent(toHashedEvent(kept))));
    }),
  );
});

describe('an Ed25519 key', () => {
  const { privateKey, publicKey } = node.generateKeyPairSync('ed25519');
  const pem = publicKey.export({ format: 'pem', type: 'spki' }).toString();

  test('is parsed and identified as by OpenSSL, also with surrounding text and other line endings', () => {
    const keyId = `sha256:${node.hash('sha256', publicKey.export({ format: 'der', type: 'spki' }), 'hex')}`;
    for (const given of [pem, `a comment\n${pem}\n`, pem.replaceAll('\n', '\r\n'), pem.replace(/\n(.{20})/, '\n$1\n')])
      expect(readPublicKey(given)).toEqual({ keyId, pem });
    expect(Buffer.from(rawPublicKey({ pem })).toString('base64url')).toBe(publicKey.export({ format: 'jwk' }).x);
    expect(readPublicKeys(pem + pem)).toHaveLength(2);
  });

  test.each([
    ['a text', 'no key', 'expected a public key in PEM'],
    ['a private key', privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(), 'expected a public key, received a private key'],
    [
      'a key of another kind',
      node.generateKeyPairSync('x25519').publicKey.export({ format: 'pem', type: 'spki' }).toString(),
      'expected an Ed25519 key',
    ],
    ['a key that was cut', pem.replace(/.{4}\n-----END/, '\n-----END'), 'expected an Ed25519 key'],
  ])('is not parsed from %s', (_what, given, fault) => {
    expect(() => readPublicKey(given)).toThrow(fault);
  });

  test.each([
    ['the browser', isSignedBy],
    ['a host', verifySignature],
  ])('verifies in %s its own signatures, but no signature with a changed bit, another message or another length', (_where, isSigned) => {
    fc.assert(
      fc.property(bytes, fc.nat(511), (message, bit) => {
        const signature = node.sign(null, message, privateKey);
        expect(isSigned({ pem }, message, signature)).toBe(true);
        expect(isSigned({ pem }, Buffer.concat([message, Buffer.from('!')]), signature)).toBe(false);
        expect(isSigned({ pem }, message, signature.subarray(1))).toBe(false);
        expect(isSigned({ pem }, message, new Uint8Array())).toBe(false);
        const changed = Buffer.from(signature);
        changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(isSigned({ pem }, message, changed)).toBe(node.verify(null, message, publicKey, changed));
      }),
      { numRuns: 30 },
    );
  });
});
