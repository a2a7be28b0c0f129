// An in-memory store of private signing keys, for a service that leaves no files.

import type { PrivateKeys } from '../src/service/signing-keys/signing-keys.ts';

export class PrivateKeysInMemory implements PrivateKeys {
  readonly kept = new Map<string, string>();

  read(id: string): string | null {
    return this.kept.get(id) ?? null;
  }

  write(id: string, pem: string): void {
    this.kept.set(id, pem);
  }

  remove(id: string): void {
    this.kept.delete(id);
  }
}
