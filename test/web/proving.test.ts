// What proves in a browser against what Node has: the same bytes, texts, digests and keys, and the same verdict on signatures.

import * as node from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Buffer as StandIn } from '../../web/proving/buffer.ts';
import * as standIn from '../../web/proving/node-crypto.ts';

const bytes = fc.uint8Array({ maxLength: 300 });
const text = fc.string({ unit: 'binary', maxLength: 200 });
const plain = (content: Uint8Array) => Array.from(content);

describe('bytes', () => {
  test('are written as Node writes them, and read again', () => {
    fc.assert(
      fc.property(bytes, (content) => {
        for (const encoding of ['hex', 'base64', 'base64url', 'utf8'] as const) {
          const written = Buffer.from(content).toString(encoding);
          expect(StandIn.from(content).toString(encoding)).toBe(written);
          expect(plain(StandIn.from(written, encoding))).toEqual(plain(Buffer.from(written, encoding)));
        }
      }),
    );
  });

  test('are read from what is no such text as Node reads them', () => {
    fc.assert(
      fc.property(text, fc.string({ unit: 'binary-ascii' }), (any, ascii) => {
        for (const encoding of ['hex', 'base64', 'base64url'] as const)
          expect(plain(StandIn.from(ascii, encoding))).toEqual(plain(Buffer.from(ascii, encoding)));
        expect(plain(StandIn.from(any))).toEqual(plain(Buffer.from(any)));
        expect(StandIn.byteLength(any)).toBe(Buffer.byteLength(any));
      }),
    );
  });

  test('are joined, cut and compared as Node does it', () => {
    fc.assert(
      fc.property(bytes, bytes, fc.nat(300), fc.nat(300), (left, right, begin, end) => {
        const [joined, expected] = [StandIn.concat([left, right]), Buffer.concat([left, right])];
        expect(plain(joined)).toEqual(plain(expected));
        expect(joined.subarray(begin, end).toString('hex')).toBe(expected.subarray(begin, end).toString('hex'));
        expect(StandIn.from(left).equals(right)).toBe(Buffer.from(left).equals(right));
        const view = joined.subarray(begin);
        expect(plain(StandIn.from(view.buffer, view.byteOffset, view.length))).toEqual(plain(view));
      }),
    );
  });
});

test('digests are those of Node', () => {
  fc.assert(
    fc.property(fc.oneof(bytes, text), bytes, (first, second) => {
      expect(standIn.hash('sha256', first, 'buffer').toString('hex')).toBe(node.hash('sha256', first, 'hex'));
      const expected = node.createHash('sha256').update(first).update(second).digest('hex');
      expect(standIn.createHash('sha256').update(first).update(second).digest('hex')).toBe(expected);
      expect(standIn.createHash('sha256').update(first).update(second).digest().toString('hex')).toBe(expected);
    }),
  );
});

describe('a key of Ed25519', () => {
  const { privateKey, publicKey } = node.generateKeyPairSync('ed25519');
  const pem = publicKey.export({ format: 'pem', type: 'spki' }).toString();
  const key = standIn.createPublicKey(pem);

  test('is read and written as Node does it', () => {
    expect(key.asymmetricKeyType).toBe(publicKey.asymmetricKeyType);
    expect(key.export({ format: 'pem', type: 'spki' })).toBe(pem);
    expect(plain(key.export({ format: 'der', type: 'spki' }))).toEqual(plain(publicKey.export({ format: 'der', type: 'spki' })));
    expect(key.export({ format: 'jwk' }).x).toBe(publicKey.export({ format: 'jwk' }).x);
  });

  test.each([
    ['a text', 'no key'],
    ['a key of another kind', node.generateKeyPairSync('x25519').publicKey.export({ format: 'pem', type: 'spki' }).toString()],
    ['a key that was cut', pem.replace(/.{4}\n-----END/, '\n-----END')],
  ])('is not read from %s', (_what, given) => {
    expect(() => standIn.createPublicKey(given)).toThrow('no Ed25519 public key');
  });

  test('takes its own signatures, and none that were changed by a bit, of another message, or of another length', () => {
    fc.assert(
      fc.property(bytes, fc.nat(511), (message, bit) => {
        const signature = node.sign(null, message, privateKey);
        expect(standIn.verify(null, message, key, signature)).toBe(true);
        expect(standIn.verify(null, Buffer.concat([message, Buffer.from('!')]), key, signature)).toBe(false);
        expect(standIn.verify(null, message, key, signature.subarray(1))).toBe(false);
        const changed = Buffer.from(signature);
        changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(standIn.verify(null, message, key, changed)).toBe(node.verify(null, message, publicKey, changed));
      }),
      { numRuns: 30 },
    );
  });
});
