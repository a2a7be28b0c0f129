// Secrets of webhooks are stored encrypted. The key is beside the signing keys, so that a copy of the database does not suffice to sign.

import { newSecret, seal, unseal } from '../secrets.ts';
import type { PrivateKeys } from '../signing-keys/signing-keys.ts';

/** The name of the key in the storage of private keys. */
const keyName = 'seal_1';
const armour = { begin: '-----BEGIN PATCHBAY SEALING KEY-----', end: '-----END PATCHBAY SEALING KEY-----' } as const;

export class SecretStorage {
  readonly #keys: Pick<PrivateKeys, 'read' | 'write'>;

  constructor(keys: Pick<PrivateKeys, 'read' | 'write'>) {
    this.#keys = keys;
  }

  /** Encrypts a secret. Creates the key before the first one: call it in a transaction, which only one replica has at a time. */
  seal(secret: string): string {
    let key = this.#keys.read(keyName);
    if (key === null) {
      key = `${armour.begin}\n${newSecret()}\n${armour.end}\n`;
      this.#keys.write(keyName, key);
    }
    return seal(secret, key);
  }

  /** Decrypts a secret; null if its key is missing or another one. */
  open(sealed: string): string | null {
    const key = this.#keys.read(keyName);
    if (key === null) return null;
    try {
      return unseal(sealed, key);
    } catch {
      return null;
    }
  }
}
