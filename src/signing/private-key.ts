// Ed25519 private keys, PKCS #8 in PEM. By OpenSSL, which works on them in constant time.

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { KeyError, type PublicKey, readPublicKey } from '../proof/ed25519.ts';

/** A new private key. */
export function generatePrivateKey(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

/** The public part of a private key. @throws {KeyError} */
export function derivePublicKey(privateKey: string): PublicKey {
  return readPublicKey(createPublicKey(readPrivateKey(privateKey)).export({ format: 'pem', type: 'spki' }).toString());
}

/** The 64 bytes of the message's signature. @throws {KeyError} */
export function signMessage(privateKey: string, message: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, message, readPrivateKey(privateKey)));
}

function readPrivateKey(pem: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    throw new KeyError('it is no private key in PEM: that begins with the line -----BEGIN PRIVATE KEY-----');
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw new KeyError(`it is a key of ${key.asymmetricKeyType}: make one of Ed25519 (openssl genpkey -algorithm ed25519)`);
  return key;
}
