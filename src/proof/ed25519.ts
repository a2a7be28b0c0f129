// Ed25519 keys (RFC 8032) and what is signed with them: keys as PEM, named by the digest of the public part.

import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';

/** A public key: SubjectPublicKeyInfo (RFC 8410) in PEM, as OpenSSL reads and writes it, and its name. */
export type PublicKey = {
  /** SHA-256 of its SubjectPublicKeyInfo, as `sha256:` and 64 hexadecimal digits. */
  readonly keyId: string;
  readonly pem: string;
};

/** The text is no Ed25519 key; the message says what it is. */
export class KeyError extends Error {
  override readonly name = 'KeyError';
}

/** A new private key, PKCS #8 in PEM. */
export function newPrivateKey(): string {
  return pemOf(generateKeyPairSync('ed25519').privateKey, 'pkcs8');
}

/** @param pem Of a public key. @throws {KeyError} */
export function readPublicKey(pem: string): PublicKey {
  // Node would take the public part of a private key, which nobody is to send about.
  if (pem.includes('PRIVATE KEY'))
    throw new KeyError('it is a private key: give the public part alone (openssl pkey -pubout), and keep this one');
  return publicKeyOf(ed25519(() => createPublicKey(pem)));
}

/** The key of a PEM; null where it is none. */
export function readIfKey(pem: string): PublicKey | null {
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

/** The public part of a private key in PEM. @throws {KeyError} */
export function publicPartOf(privateKey: string): PublicKey {
  return publicKeyOf(createPublicKey(ed25519(() => createPrivateKey(privateKey), 'PRIVATE')));
}

/** The 32 bytes of a public key (RFC 8032). @throws {KeyError} */
export function rawPublicKey({ pem }: Pick<PublicKey, 'pem'>): Buffer {
  const { x } = ed25519(() => createPublicKey(pem)).export({ format: 'jwk' });
  return Buffer.from(x ?? '', 'base64url');
}

/** The 64 bytes of the message's signature. @throws {KeyError} */
export function signWith(privateKey: string, message: Uint8Array): Buffer {
  return sign(
    null,
    message,
    ed25519(() => createPrivateKey(privateKey), 'PRIVATE'),
  );
}

/** Whether the signature is of this message and by this key. */
export function isSignedBy({ pem }: Pick<PublicKey, 'pem'>, message: Uint8Array, signature: Uint8Array): boolean {
  return verify(
    null,
    message,
    ed25519(() => createPublicKey(pem)),
    signature,
  );
}

function publicKeyOf(key: KeyObject): PublicKey {
  const keyId = `sha256:${createHash('sha256')
    .update(key.export({ format: 'der', type: 'spki' }))
    .digest('hex')}`;
  return { keyId, pem: pemOf(key, 'spki') };
}

function pemOf(key: KeyObject, type: 'spki' | 'pkcs8'): string {
  return key.export({ format: 'pem', type }).toString();
}

function ed25519(read: () => KeyObject, part: 'PUBLIC' | 'PRIVATE' = 'PUBLIC'): KeyObject {
  let key: KeyObject;
  try {
    key = read();
  } catch {
    throw new KeyError(`it is no ${part.toLowerCase()} key in PEM: that begins with the line -----BEGIN ${part} KEY-----`);
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw new KeyError(`it is a key of ${key.asymmetricKeyType}: make one of Ed25519 (openssl genpkey -algorithm ed25519)`);
  return key;
}
