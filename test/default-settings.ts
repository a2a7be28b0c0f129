// Default settings of tests: signing keys in memory, unlimited retention, and a shared compiler.

import { afterAll } from 'vitest';
import { Compiler } from '../src/compiler/compiler.ts';
import { retainEverything } from '../src/service/retention/retention.ts';
import { PrivateKeysInMemory } from './private-keys-in-memory.ts';

/** Shared by all services of a test file, because a compiler takes a second to start. */
export const sharedCompiler = new Compiler();
afterAll(() => sharedCompiler.close());

export function defaultSettings() {
  return { signingKeys: { privateKeys: new PrivateKeysInMemory(), isLost: false }, retention: retainEverything, sharedCompiler };
}
