// Reads files of trusted public keys.

import { KeyError, type PublicKey, readPublicKeys } from '../proof/ed25519.ts';
import { UsageError } from './errors.ts';
import { readInputFile } from './option-values.ts';

/**
 * Returns the public keys of a file.
 * @param flag The flag that named the file.
 * @throws {UsageError} if the file cannot be read, or contains anything but Ed25519 public keys in PEM.
 */
export function readTrustedKeys(file: string, flag: string): PublicKey[] {
  const text = readInputFile(file, flag).toString();
  try {
    return readPublicKeys(text);
  } catch (error) {
    if (error instanceof KeyError) throw new UsageError(`invalid public key in ${flag} ${file}: ${error.message}`);
    throw error;
  }
}
