// Where tests keep the private parts of a service's signing keys: in memory, for as long as the test has them.

import type { PrivateKeys } from '../src/control/signing-keys.ts';

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
