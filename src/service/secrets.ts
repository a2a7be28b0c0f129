// Secrets: made from random bytes, kept as digests, compared in constant time, and sealed where an answer that holds one must be given again.

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes, scryptSync, timingSafeEqual } from 'node:crypto';

const secretBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

/** 43 characters that nobody can guess. 256 random bits need no slow hash: there is nothing to try them from. */
export function newSecret(): string {
  return randomBytes(secretBytes).toString('base64url');
}

/** Whether two texts are the same; of two of one length, how long that takes says nothing of where they differ. */
export function equalsInConstantTime(left: string, right: string): boolean {
  const [first, second] = [Buffer.from(left), Buffer.from(right)];
  return first.length === second.length && timingSafeEqual(first, second);
}

/** A hash (scrypt) of a secret that somebody may have chosen, which is slow to guess: it takes some ten milliseconds. */
export function slowDigest(secret: string, purpose: string): string {
  return scryptSync(secret, purpose, 16).toString('base64url');
}

/** The text, so that only who has the secret can read it (AES-256-GCM, by a key of HKDF-SHA-256). */
export function seal(text: string, secret: string): string {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', sealingKey(secret, nonce), nonce);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url');
}

/** What `seal` was given. @throws {Error} when the secret is another one, or the text has been changed. */
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
