// Ed25519 public keys (RFC 8032) in PEM, identified by their digest, and signature verification. Also runs in browsers. Private keys are in
// `src/signing`.

import { hashes, verify } from '@noble/ed25519';
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, hexToBytes } from '@noble/hashes/utils.js';
import { type Bytes, fromBase64, isSameBytes } from './bytes.ts';

hashes.sha512 = sha512;

/** Prefix of the 32 key bytes in an Ed25519 SubjectPublicKeyInfo (RFC 8410). */
const infoStart = hexToBytes('302a300506032b6570032100');
const keyBytes = 32;
const signatureBytes = 64;

/** A public key: SubjectPublicKeyInfo (RFC 8410) in PEM as written by OpenSSL, and its identifier. */
export type PublicKey = {
  /** SHA-256 of the SubjectPublicKeyInfo, as `sha256:` and 64 hexadecimal digits. */
  readonly keyId: string;
  readonly pem: string;
};

/** Returns whether a signature of a message was made with a key. */
export type SignatureCheck = (key: Pick<PublicKey, 'pem'>, message: Uint8Array, signature: Uint8Array) => boolean;

/** The text is not an Ed25519 key. */
export class KeyError extends Error {
  override readonly name = 'KeyError';
}

/** Parses and normalizes a public key in PEM. @throws {KeyError} if the text is not an Ed25519 public key. */
export function readPublicKey(pem: string): PublicKey {
  if (pem.includes('PRIVATE KEY'))
    throw new KeyError(
      'expected a public key, received a private key: extract the public key (openssl pkey -pubout), and keep the private key secret',
    );
  const info = concatBytes(infoStart, rawPublicKey({ pem }));
  return {
    keyId: `sha256:${bytesToHex(sha256(info))}`,
    pem: `-----BEGIN PUBLIC KEY-----\n${info.toBase64()}\n-----END PUBLIC KEY-----\n`,
  };
}

/** Parses a public key in PEM; null if the text is not an Ed25519 public key. */
export function tryReadPublicKey(pem: string): PublicKey | null {
  try {
    return readPublicKey(pem);
  } catch (error) {
    if (error instanceof KeyError) return null;
    throw error;
  }
}

/** Parses one or more concatenated public keys in PEM. @throws {KeyError} if one of them is invalid, or there is none. */
export function readPublicKeys(text: string): PublicKey[] {
  const blocks = text.match(/-----BEGIN [^-]+-----[^-]*-----END [^-]+-----/g) ?? [text];
  return blocks.map(readPublicKey);
}

/** Returns the 32 bytes of a public key (RFC 8032). @throws {KeyError} */
export function rawPublicKey({ pem }: Pick<PublicKey, 'pem'>): Bytes {
  const [, base64 = ''] = /-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----/.exec(pem) ?? [];
  const info = fromBase64(base64);
  if (info.length === 0) throw new KeyError('expected a public key in PEM, which begins with the line -----BEGIN PUBLIC KEY-----');
  if (info.length !== infoStart.length + keyBytes || !isSameBytes(info.subarray(0, infoStart.length), infoStart))
    throw new KeyError('expected an Ed25519 key: create one (openssl genpkey -algorithm ed25519)');
  return info.subarray(infoStart.length);
}

/** Verifies a signature by the strict rules of RFC 8032. @throws {KeyError} */
export const isSignedBy: SignatureCheck = (key, message, signature) =>
  signature.length === signatureBytes && verify(signature, message, rawPublicKey(key), { zip215: false });
