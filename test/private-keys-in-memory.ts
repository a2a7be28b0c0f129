// An in-memory store of private signing keys, for a service that leaves no files.

import type { PrivateKeys } from '../src/service/signing-keys/signing-keys.ts';

export class PrivateKeysInMemory implements PrivateKeys {
  readonly keys = new Map<string, string>();

  read(id: string): string | null {
    return this.keys.get(id) ?? null;
  }

  write(id: string, pem: string): void {
    this.keys.set(id, pem);
  }

  remove(id: string): void {
    this.keys.delete(id);
  }
}
