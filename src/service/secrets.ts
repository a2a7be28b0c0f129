// Secrets: generated from random bytes, stored as digests, compared in constant time, and encrypted in stored responses.

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes, scryptSync, timingSafeEqual } from 'node:crypto';

const secretBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

/** Returns a new secret of 43 characters. It has 256 random bits, so its digest needs no slow hash. */
export function newSecret(): string {
  return randomBytes(secretBytes).toString('base64url');
}

/** Returns whether two strings are equal. For strings of the same length, the duration does not depend on their content. */
export function equalsInConstantTime(left: string, right: string): boolean {
  const [first, second] = [Buffer.from(left), Buffer.from(right)];
  return first.length === second.length && timingSafeEqual(first, second);
}

/** Returns a slow hash (scrypt, about ten milliseconds) of a secret that a person may have chosen. */
export function slowDigest(secret: string, purpose: string): string {
  return scryptSync(secret, purpose, 16).toString('base64url');
}

/** Encrypts a string with a secret (AES-256-GCM; the key is derived by HKDF-SHA-256). */
export function seal(text: string, secret: string): string {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', sealingKey(secret, nonce), nonce);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url');
}

/** Decrypts a string that `seal` encrypted. @throws {Error} if the secret is wrong or the ciphertext was modified. */
export function unseal(sealed: string, secret: string): string {
  const bytes = Buffer.from(sealed, 'base64url');
  const nonce = bytes.subarray(0, nonceBytes);
  const decipher = createDecipheriv('aes-256-gcm', sealingKey(secret, nonce), nonce, { authTagLength: tagBytes });
  decipher.setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
  return decipher.update(bytes.subarray(nonceBytes + tagBytes), undefined, 'utf8') + decipher.final('utf8');
}

function sealingKey(secret: string, salt: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, salt, 'patchbay sealed answer', 32));
}
