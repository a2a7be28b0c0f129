// Files with secrets that others than their owner can read.

import { statSync } from 'node:fs';

/** Those bits of a mode that let others than the owner read or write. */
const ofGroup = 0o060;
const ofOthers = 0o006;

/** What is wrong with the modes of files, and how to change them; files that are not there are left out. On Windows modes say nothing. */
export function exposedFiles(files: readonly string[]): string[] {
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
