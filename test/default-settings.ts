// The settings that most tests have no interest in: signing keys that are kept in memory, nothing that is ever removed, and one compiler.

import { afterAll } from 'vitest';
import { Compiler } from '../src/compiler/compiler.ts';
import type { RetentionSettings } from '../src/service/retention/retention.ts';
import { PrivateKeysInMemory } from './private-keys-in-memory.ts';

/** Of a service that removes nothing. */
export const retainEverything: RetentionSettings = { interval: 3_600_000, keepEvents: null, keepImages: null, keepVersions: 5 };

/** Of all services of a file of tests, for one takes a second to start. */
export const sharedCompiler = new Compiler();
afterAll(() => sharedCompiler.close());

export function defaultSettings() {
  return { signingKeys: { privateKeys: new PrivateKeysInMemory(), isLost: false }, retention: retainEverything, sharedCompiler };
}
