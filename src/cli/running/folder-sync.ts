// The entry of a new file in its folder, brought to the disk.

import { closeSync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';

/** Has a file that was made or renamed be there after a power failure too. Windows has no such call for folders, and needs none. */
export function syncParentFolder(file: string): void {
  if (process.platform === 'win32') return;
  const descriptor = openSync(dirname(file), 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
