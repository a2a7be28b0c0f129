// Private parts of signing keys, for a service that is to leave no files.

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
