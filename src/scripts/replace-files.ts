// Replaces files that other processes may read at the same time: a reader finds the old file or the new file, never none and never half of one.

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The end of the name of a file while it is written, beside the file that it replaces. */
const partialSuffix = '.partial';

/**
 * Writes a file beside the target and renames it to the target. A target with the same content is left as it is.
 * @returns Whether the target was changed.
 */
export function replaceFile(target: string, content: Uint8Array | string): boolean {
  const bytes = Buffer.from(content);
  if (readIfThere(target)?.equals(bytes) === true) return false;
  mkdirSync(dirname(target), { recursive: true });
  // Two processes that generate at the same time have a file each.
  const partial = `${target}.${process.pid}${partialSuffix}`;
  try {
    writeFileSync(partial, bytes);
    renameSync(partial, target);
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
  return true;
}

/**
 * Makes a folder have the files of another folder and no others. The files are replaced one by one, and the superfluous ones removed last.
 * @param entries Files that refer to others, relative to the folder: they are replaced after the files that they refer to.
 */
export function replaceFolder(source: string, target: string, entries: readonly string[] = []): void {
  const files = filesIn(source);
  for (const file of [...files.filter((name) => !entries.includes(name)), ...entries])
    replaceFile(join(target, file), readFileSync(join(source, file)));
  const wanted = new Set(files);
  for (const file of filesIn(target)) if (!wanted.has(file) && !isBeingWritten(file)) rmSync(join(target, file), { force: true });
}

/** Whether another process writes this file now. One that a killed process has left behind is removed. */
function isBeingWritten(file: string): boolean {
  const [, id] = /\.(\d+)\.partial$/.exec(file) ?? [];
  return id !== undefined && Number(id) !== process.pid && isRunning(Number(id));
}

function isRunning(id: number): boolean {
  try {
    return process.kill(id, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** The files below a folder, relative to it; none where there is no such folder. */
function filesIn(folder: string): string[] {
  mkdirSync(folder, { recursive: true });
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

function readIfThere(file: string): Buffer | null {
  try {
    return readFileSync(file);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}
