// The settings that most tests have no interest in: signing keys that are kept in memory, nothing that is ever removed, and one compiler.

import { afterAll } from 'vitest';
import { Compiler } from '../src/compiler/compiler.ts';
import type { RetentionSettings } from '../src/service/retention/retention.ts';
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

/** Of a service that removes nothing. */
export const keepAll: RetentionSettings = { interval: 3_600_000, keepEvents: null, keepImages: null, keepVersions: 5 };

/** Of all services of a file of tests, for one takes a second to start. */
export const sharedCompiler = new Compiler();
afterAll(() => sharedCompiler.close());

export function usualSettings() {
  return { signingKeys: { privateKeys: new PrivateKeysInMemory(), isLost: false }, retention: keepAll, sharedCompiler };
}
