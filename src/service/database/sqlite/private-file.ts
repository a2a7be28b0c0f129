// Files that only their owner can read and write, regardless of the umask.

import { chmodSync, closeSync, openSync } from 'node:fs';

/** Creates an empty file with mode 0600 if it does not exist. SQLite applies the mode of a database to its log and index. */
export function createPrivateFile(file: string): void {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'wx', 0o600);
  } catch (error) {
    // An existing file is not opened: closing it would release the locks of this process on it (POSIX).
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return;
    throw error;
  }
  closeSync(descriptor);
  chmodSync(file, 0o600);
}
