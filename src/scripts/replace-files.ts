// Replaces files atomically: a concurrent reader finds the complete old file or the complete new file.

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Suffix of a temporary file next to the file that it replaces. */
const partialSuffix = '.partial';

/**
 * Writes a temporary file next to the target and renames it to the target. Leaves a target with the same content untouched.
 * @returns Whether the target was changed.
 */
export function replaceFile(target: string, content: Uint8Array | string): boolean {
  const bytes = Buffer.from(content);
  if (readIfExists(target)?.equals(bytes) === true) return false;
  mkdirSync(dirname(target), { recursive: true });
  // Concurrent processes use different temporary files.
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
 * Replaces the files of a folder with those of another folder, one by one, and removes superfluous files last.
 * @param entries Files, relative to the folder, that refer to others: they are replaced after all other files.
 */
export function replaceFolder(source: string, target: string, entries: readonly string[] = []): void {
  const files = filesIn(source);
  for (const file of [...files.filter((name) => !entries.includes(name)), ...entries])
    replaceFile(join(target, file), readFileSync(join(source, file)));
  const wanted = new Set(files);
  for (const file of filesIn(target)) if (!wanted.has(file) && !isBeingWritten(file)) rmSync(join(target, file), { force: true });
}

/** Returns whether a file is the temporary file of another running process. */
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

/** Returns the files below a folder, relative to it. Creates the folder if it does not exist. */
function filesIn(folder: string): string[] {
  mkdirSync(folder, { recursive: true });
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

function readIfExists(file: string): Buffer | null {
  try {
    return readFileSync(file);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}
