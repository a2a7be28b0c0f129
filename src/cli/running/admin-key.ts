// The key of the first administrator, in a file that only its owner can read.

import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { StartError } from '../command-line.ts';

/** Writes the key; one that was there before is lost, and still valid where the service knows it. @throws {StartError} */
export function writeAdminKey(file: string, secret: string): void {
  try {
    // Removed before, for a file that is there keeps its owner and its mode.
    rmSync(file, { force: true });
    writeFileSync(file, `${secret}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
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
