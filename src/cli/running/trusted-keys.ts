// The file with the public keys that a host is to trust.

import { KeyError, type PublicKey, readPublicKeys } from '../../proof/ed25519.ts';
import { readGivenFile, UsageError } from '../command-line.ts';

/** @throws {UsageError} where it cannot be read, or has anything but Ed25519 public keys in PEM. */
export function readTrustedKeys(file: string): PublicKey[] {
  const text = readGivenFile(file, '--trusted-keys').toString();
  try {
    return readPublicKeys(text);
  } catch (error) {
    if (error instanceof KeyError) throw new UsageError(`a key of --trusted-keys ${file} is not one to trust: ${error.message}`);
    throw error;
  }
}
