// Ed25519 private keys, PKCS #8 in PEM. Uses OpenSSL, whose operations on private keys take constant time.

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { KeyError, type PublicKey, readPublicKey } from '../proof/ed25519.ts';

/** Generates a private key. */
export function generatePrivateKey(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

/** Returns the public key of a private key. @throws {KeyError} if the text is not an Ed25519 private key. */
export function derivePublicKey(privateKey: string): PublicKey {
  return readPublicKey(createPublicKey(readPrivateKey(privateKey)).export({ format: 'pem', type: 'spki' }).toString());
}

/** Signs a message. Returns the signature of 64 bytes. @throws {KeyError} if the text is not an Ed25519 private key. */
export function signMessage(privateKey: string, message: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, message, readPrivateKey(privateKey)));
}

function readPrivateKey(pem: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    throw new KeyError('expected a private key in PEM, which begins with the line -----BEGIN PRIVATE KEY-----');
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw new KeyError(
      `expected an Ed25519 key, received a key of type ${key.asymmetricKeyType}: create one (openssl genpkey -algorithm ed25519)`,
    );
  return key;
}
