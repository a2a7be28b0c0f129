// Stores the private signing keys of the service as files that only their owner can read.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PrivateKeys } from '../../service/signing-keys/signing-keys.ts';
import { CommandError } from '../errors.ts';
import { syncParentFolder } from './folder-sync.ts';

/** Returns the key files in a folder; none if the folder does not exist. */
export function listSigningKeyFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.pem'))
    .map((name) => join(folder, name));
}

/** Returns the private keys in a folder. Their methods throw {CommandError} if a file cannot be read or written. */
export function openPrivateKeys(folder: string): PrivateKeys {
  const fileOf = (id: string) => join(folder, `${id}.pem`);
  // Identifiers come from the database: an identifier that contains a path would make the service sign with another file.
  const isFileName = (id: string) => /^[a-z]+_[0-9a-f]+$/.test(id);
  return {
    read(id) {
      if (!isFileName(id)) return null;
      try {
        return readFileSync(fileOf(id), 'utf8');
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
        throw new CommandError(`cannot read the signing key ${fileOf(id)}: ${String(error)}`);
      }
    },
    write(id, pem) {
      try {
        mkdirSync(folder, { recursive: true, mode: 0o700 });
        writeFileSync(fileOf(id), pem, { mode: 0o600, flag: 'wx', flush: true });
        syncParentFolder(fileOf(id));
      } catch (error) {
        throw new CommandError(`cannot write the signing key ${fileOf(id)}: ${String(error)}: choose another folder with --signing-keys`);
      }
    },
    remove(id) {
      if (isFileName(id)) rmSync(fileOf(id), { force: true });
    },
  };
}
