// The key of the first administrator, in a file that only its owner can read.

import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { CommandError } from '../option-values.ts';
import { syncParentFolder } from './folder-sync.ts';

/**
 * Writes a key that is about to be committed. A key that is there stays in its file until `placeAdminKey`, for the new one may never be committed.
 * @param isReplaced Whether a key that is in the file is lost; the service may still know that one.
 * @throws {CommandError} also where a file is there that is not to be replaced.
 */
export function writeAdminKey(file: string, secret: string, isReplaced: boolean): void {
  const written = isReplaced && existsSync(file) ? replacementOf(file) : file;
  try {
    // What is there is of a start that was interrupted. Removed before, for a file that is there keeps its owner and its mode.
    rmSync(replacementOf(file), { force: true });
    writeFileSync(written, `${secret}\n`, { mode: 0o600, flag: 'wx', flush: true });
    syncParentFolder(written);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST')
      throw new CommandError(
        `the database has no API key, but there is an admin key in ${file}, which is not overwritten: ` +
          'if the database lost its keys, restore it from a backup; if the first start of the service was interrupted, or to make another key in ' +
          'place of that file, start with --new-admin-key',
      );
    throw new CommandError(`cannot write the admin key to ${file}: ${String(error)}: choose another file with --admin-key-file`);
  }
}

/** Puts the key that was written last, and is committed now, into its file. */
export function installAdminKey(file: string): void {
  if (!existsSync(replacementOf(file))) return;
  renameSync(replacementOf(file), file);
  syncParentFolder(file);
}

const replacementOf = (file: string) => `${file}.new`;

/**
 * Returns what the service says about the key when it has started.
 * @param secret The key, if it was made by this start; otherwise empty.
 */
export function describeAdminKey(file: string, secret: string): string {
  if (secret !== '') return `${secret}  (shown once; kept in ${file})`;
  if (existsSync(file)) return file;
  return `made by an earlier start, and not in ${file}; if it is lost, --new-admin-key makes another`;
}
