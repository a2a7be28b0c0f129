// The key of the first administrator, in a file that only its owner can read.

import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { StartError } from '../command-line.ts';

/**
 * Writes the key.
 * @param isReplaced Whether a key that is in the file is lost; the service may still know that one.
 * @throws {StartError} also where a file is there that is not to be replaced.
 */
export function writeAdminKey(file: string, secret: string, isReplaced: boolean): void {
  try {
    // Removed before, for a file that is there keeps its owner and its mode.
    if (isReplaced) rmSync(file, { force: true });
    writeFileSync(file, `${secret}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST')
      throw new StartError(
        `the database has no API key, but there is an admin key in ${file}, which is not overwritten: ` +
          'if the database lost its keys, restore it from a backup; to make another key in place of that file, start with --new-admin-key',
      );
    throw new StartError(`cannot write the admin key to ${file}: ${String(error)}: choose another file with --admin-key-file`);
  }
}

/**
 * Returns what the service says about the key when it has started.
 * @param secret The key, if it was made by this start; otherwise empty.
 */
export function adminKeyText(file: string, secret: string): string {
  if (secret !== '') return `${secret}  (shown once; kept in ${file})`;
  if (existsSync(file)) return file;
  return `made by an earlier start, and not in ${file}; if it is lost, --new-admin-key makes another`;
}
