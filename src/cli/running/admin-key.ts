// Writes the key of the first administrator to a file that only its owner can read.

import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { CommandError } from '../errors.ts';
import { syncParentFolder } from './folder-sync.ts';

/**
 * Writes a key before the database commits it. An existing key stays in the file until `installAdminKey`, because the new key may never be committed.
 * @param isReplaced Whether the key replaces the key in an existing file.
 * @throws {CommandError} if the file exists and is not replaced, or cannot be written.
 */
export function writeAdminKey(file: string, secret: string, isReplaced: boolean): void {
  const written = isReplaced && existsSync(file) ? replacementOf(file) : file;
  try {
    // Left by an interrupted start. Removed first, because an existing file would retain its owner and mode.
    rmSync(replacementOf(file), { force: true });
    writeFileSync(written, `${secret}\n`, { mode: 0o600, flag: 'wx', flush: true });
    syncParentFolder(written);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST')
      throw new CommandError(
        `the database has no API key, but ${file} contains an administrator key and is not overwritten: ` +
          'if the database lost its keys, restore it from a backup; if the first start of the service was interrupted, or to replace the key, ' +
          'start with --new-admin-key',
      );
    throw new CommandError(`cannot write the administrator key to ${file}: ${String(error)}: choose another file with --admin-key-file`);
  }
}

/** Moves the new key into its file, after the database committed it. */
export function installAdminKey(file: string): void {
  if (!existsSync(replacementOf(file))) return;
  renameSync(replacementOf(file), file);
  syncParentFolder(file);
}

const replacementOf = (file: string) => `${file}.new`;

/**
 * Returns what the service prints about the key when it has started.
 * @param secret The key, if this start created it; otherwise empty.
 */
export function describeAdminKey(file: string, secret: string): string {
  if (secret !== '') return `${secret}  (shown only once; stored in ${file})`;
  if (existsSync(file)) return file;
  return `created by an earlier start, not in ${file}; if it is lost, create another with --new-admin-key`;
}
