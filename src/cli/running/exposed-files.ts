// Files with secrets that others than their owner can read, and folders in which others can replace them.

import { statSync } from 'node:fs';

/** Those bits of a mode that let others than the owner read or write. */
const ofGroup = 0o060;
const ofOthers = 0o006;

/** What is wrong with the modes of files, and how to change them; files that are not there are left out. On Windows modes say nothing. */
export function findExposedFiles(files: readonly string[]): string[] {
  if (process.platform === 'win32') return [];
  return files.flatMap((file) => {
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats === undefined) return [];
    // A file of root's is lent to the group of the service, as a mounted secret of Kubernetes is.
    const isLent = stats.uid === 0 && process.getuid?.() !== 0;
    const exposed = stats.mode & (isLent ? ofOthers | 0o020 : ofGroup | ofOthers);
    if (exposed === 0) return [];
    const mode = (stats.mode & 0o777).toString(8).padStart(4, '0');
    return [`other users can read or write ${file} (mode ${mode}): chmod 600 ${file}`];
  });
}

/**
 * What is wrong with the modes of folders in which others than the owner can make, remove and replace files, and how to change them; folders that
 * are not there are left out. On Windows modes say nothing.
 */
export function findExposedFolders(folders: readonly string[]): string[] {
  if (process.platform === 'win32') return [];
  return folders.flatMap((folder) => {
    const stats = statSync(folder, { throwIfNoEntry: false });
    if (stats === undefined) return [];
    const isLent = stats.uid === 0 && process.getuid?.() !== 0;
    // In a folder with the sticky bit, such as /tmp, only the owner of a file can remove or replace it.
    const isSticky = (stats.mode & 0o1000) !== 0;
    if (isSticky || (stats.mode & (isLent ? 0o002 : 0o022)) === 0) return [];
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0');
    return [`other users can replace the files in ${folder} (mode ${mode}): chmod go-w ${folder}`];
  });
}
