// Files with the public keys that are to be trusted.

import { KeyError, type PublicKey, readPublicKeys } from '../proof/ed25519.ts';
import { readInputFile, UsageError } from './option-values.ts';

/** @param flag By which the file is given. @throws {UsageError} where it cannot be read, or has anything but Ed25519 public keys in PEM. */
export function readTrustedKeys(file: string, flag: string): PublicKey[] {
  const text = readInputFile(file, flag).toString();
  try {
    return readPublicKeys(text);
  } catch (error) {
    if (error instanceof KeyError) throw new UsageError(`a key of ${flag} ${file} is not one to trust: ${error.message}`);
    throw error;
  }
}
