// Of node:crypto what src/proof verifies with, for browsers. Not by their own WebCrypto: that is there for pages from this machine or over TLS only,
// and answers later, where the walk along a trail hashes one event after another.

import { hashes, verify as verifyEd25519 } from '@noble/ed25519';
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import { Buffer, type Bytes } from './buffer.ts';

hashes.sha512 = sha512;

const bytesOf = (content: string | Uint8Array) => (typeof content === 'string' ? Buffer.from(content) : content);

export function hash(_algorithm: 'sha256', content: string | Uint8Array, _as: 'buffer'): Bytes {
  return Buffer.from(sha256(bytesOf(content)));
}

class Hashing {
  readonly #hashing = sha256.create();

  update(content: string | Uint8Array): this {
    this.#hashing.update(bytesOf(content));
    return this;
  }

  digest(): Bytes;
  digest(encoding: 'hex'): string;
  digest(encoding?: 'hex'): Bytes | string {
    const digest = Buffer.from(this.#hashing.digest());
    return encoding === undefined ? digest : digest.toString(encoding);
  }
}

export const createHash = (_algorithm: 'sha256') => new Hashing();

/** Before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410). */
const spkiStart = Buffer.from('302a300506032b6570032100', 'hex');
const keyBytes = 32;
const signatureBytes = 64;

/** An Ed25519 public key. */
export class KeyObject {
  readonly asymmetricKeyType: string = 'ed25519';
  readonly raw: Bytes;

  constructor(raw: Bytes) {
    this.raw = raw;
  }

  export(as: { readonly format: 'jwk' }): { readonly x?: string };
  export(as: { readonly format: 'der'; readonly type: 'spki' }): Bytes;
  export(as: { readonly format: 'pem'; readonly type: 'spki' | 'pkcs8' }): string;
  export({ format }: { readonly format: 'jwk' | 'der' | 'pem' }): { readonly x?: string } | Bytes | string {
    if (format === 'jwk') return { x: this.raw.toString('base64url') };
    const der = Buffer.concat([spkiStart, this.raw]);
    return format === 'der' ? der : `-----BEGIN PUBLIC KEY-----\n${der.toString('base64')}\n-----END PUBLIC KEY-----\n`;
  }
}

/** @throws {Error} for what is no Ed25519 public key in PEM. */
export function createPublicKey(pem: string | KeyObject): KeyObject {
  if (typeof pem !== 'string') return pem;
  const [, base64] = /-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----/.exec(pem) ?? [];
  const der = Buffer.from(base64 ?? '', 'base64');
  if (der.length !== spkiStart.length + keyBytes || !der.subarray(0, spkiStart.length).equals(spkiStart))
    throw new Error('no Ed25519 public key');
  return new KeyObject(der.subarray(spkiStart.length));
}

export function verify(_algorithm: null, message: Uint8Array, { raw }: KeyObject, signature: Uint8Array): boolean {
  // Strictly as RFC 8032 has it, where the library by itself takes a few signatures more.
  return signature.length === signatureBytes && verifyEd25519(signature, message, raw, { zip215: false });
}

/** Nobody signs in a browser: private keys stay where they are. */
function absent(): never {
  throw new Error('a browser has no private keys');
}
export const createPrivateKey: (pem: string) => KeyObject = absent;
export const generateKeyPairSync: (type: 'ed25519') => { readonly privateKey: KeyObject } = absent;
export const sign: (algorithm: null, message: Uint8Array, key: KeyObject) => Bytes = absent;
