// Finds files with secrets that other users can read, and folders in which other users can replace files.

import { statSync } from 'node:fs';

/** Mode bits that let the group or others read or write. */
const groupAccess = 0o060;
const otherAccess = 0o006;

/** Returns a warning per file whose mode is too open, with the command to change it. Skips missing files, and Windows, which has no modes. */
export function findExposedFiles(files: readonly string[]): string[] {
  if (process.platform === 'win32') return [];
  return files.flatMap((file) => {
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats === undefined) return [];
    // The group may read a file owned by root: Kubernetes mounts secrets that way.
    const isMountedSecret = stats.uid === 0 && process.getuid?.() !== 0;
    const exposed = stats.mode & (isMountedSecret ? otherAccess | 0o020 : groupAccess | otherAccess);
    if (exposed === 0) return [];
    const mode = (stats.mode & 0o777).toString(8).padStart(4, '0');
    return [`other users can read or write ${file} (mode ${mode}): chmod 600 ${file}`];
  });
}

/**
 * Returns a warning per folder in which other users can create, remove and replace files, with the command to change its mode. Skips missing folders,
 * and Windows, which has no modes.
 */
export function findExposedFolders(folders: readonly string[]): string[] {
  if (process.platform === 'win32') return [];
  return folders.flatMap((folder) => {
    const stats = statSync(folder, { throwIfNoEntry: false });
    if (stats === undefined) return [];
    const isMountedSecret = stats.uid === 0 && process.getuid?.() !== 0;
    // In a folder with the sticky bit, such as /tmp, only the owner of a file can remove or replace it.
    const isSticky = (stats.mode & 0o1000) !== 0;
    if (isSticky || (stats.mode & (isMountedSecret ? 0o002 : 0o022)) === 0) return [];
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0');
    return [`other users can replace the files in ${folder} (mode ${mode}): chmod go-w ${folder}`];
  });
}
