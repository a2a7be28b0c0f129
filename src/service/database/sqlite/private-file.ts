// Files that only their owner can read and write, whatever the umask is.

import { chmodSync, closeSync, openSync } from 'node:fs';

/** Makes an empty file with mode 0600 where none is; SQLite gives the mode of a database to the files beside it. */
export function createPrivateFile(file: string): void {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'wx', 0o600);
  } catch (error) {
    // Not opened and closed again: that would drop the locks that this process may have on it (POSIX).
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return;
    throw error;
  }
  closeSync(descriptor);
  chmodSync(file, 0o600);
}
