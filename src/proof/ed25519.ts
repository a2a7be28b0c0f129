// Ed25519 public keys (RFC 8032), as PEM and named by their digest, and verification of what is signed with them. Runs in browsers too: private keys
// are in `src/signing`.

import { hashes, verify } from '@noble/ed25519';
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, hexToBytes } from '@noble/hashes/utils.js';
import { type Bytes, fromBase64, isSameBytes } from './bytes.ts';

hashes.sha512 = sha512;

/** Before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410). */
const infoStart = hexToBytes('302a300506032b6570032100');
const keyBytes = 32;
const signatureBytes = 64;

/** A public key: SubjectPublicKeyInfo (RFC 8410) in PEM, as OpenSSL reads and writes it, and its name. */
export type PublicKey = {
  /** SHA-256 of its SubjectPublicKeyInfo, as `sha256:` and 64 hexadecimal digits. */
  readonly keyId: string;
  readonly pem: string;
};

/** Whether the signature is of this message and by this key. */
export type SignatureCheck = (key: Pick<PublicKey, 'pem'>, message: Uint8Array, signature: Uint8Array) => boolean;

/** The text is no Ed25519 key; the message says what it is. */
export class KeyError extends Error {
  override readonly name = 'KeyError';
}

/** @param pem Of a public key. @throws {KeyError} */
export function readPublicKey(pem: string): PublicKey {
  if (pem.includes('PRIVATE KEY'))
    throw new KeyError('it is a private key: give the public part alone (openssl pkey -pubout), and keep this one');
  const info = concatBytes(infoStart, rawPublicKey({ pem }));
  return {
    keyId: `sha256:${bytesToHex(sha256(info))}`,
    pem: `-----BEGIN PUBLIC KEY-----\n${info.toBase64()}\n-----END PUBLIC KEY-----\n`,
  };
}

/** The key of a PEM; null where it is none. */
export function tryReadPublicKey(pem: string): PublicKey | null {
  try {
    return readPublicKey(pem);
  } catch (error) {
    if (error instanceof KeyError) return null;
    throw error;
  }
}

/** Every public key of a text that has one PEM after another. @throws {KeyError} where one of them is none, or there is none. */
export function readPublicKeys(text: string): PublicKey[] {
  const blocks = text.match(/-----BEGIN [^-]+-----[^-]*-----END [^-]+-----/g) ?? [text];
  return blocks.map(readPublicKey);
}

/** The 32 bytes of a public key (RFC 8032). @throws {KeyError} */
export function rawPublicKey({ pem }: Pick<PublicKey, 'pem'>): Bytes {
  const [, base64 = ''] = /-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----/.exec(pem) ?? [];
  const info = fromBase64(base64);
  if (info.length === 0) throw new KeyError('it is no public key in PEM: that begins with the line -----BEGIN PUBLIC KEY-----');
  if (info.length !== infoStart.length + keyBytes || !isSameBytes(info.subarray(0, infoStart.length), infoStart))
    throw new KeyError('it is no Ed25519 key: make one (openssl genpkey -algorithm ed25519)');
  return info.subarray(infoStart.length);
}

/** Checks a signature as strictly as RFC 8032. @throws {KeyError} */
export const isSignedBy: SignatureCheck = (key, message, signature) =>
  signature.length === signatureBytes && verify(signature, message, rawPublicKey(key), { zip215: false });
