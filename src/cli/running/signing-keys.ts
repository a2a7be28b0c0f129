// The private parts of the keys that the service signs with: files in a folder, that only its owner can read.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PrivateKeys } from '../../service/signing-keys/signing-keys.ts';
import { CommandError } from '../option-values.ts';
import { syncParentFolder } from './folder-sync.ts';

/** The files of the keys in a folder; none where there is no such folder. */
export function listSigningKeyFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.pem'))
    .map((name) => join(folder, name));
}

/** @throws {CommandError} by what it answers, where the file system refuses. */
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
