// Runs generators in a staging folder, before their output replaces the files in use.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** Calls `generate` with an empty folder below `node_modules`, where generators find their packages, and removes the folder afterwards. */
export function withStaging(generate: (folder: string) => void): void {
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'patchbay-generating-'));
  try {
    generate(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs the program of a package in the checkout. @throws {Error} if the program fails, after printing the reason. */
export function runPackage(name: string, ...args: string[]): void {
  execFileSync(join(root, 'node_modules', '.bin', name), args, { cwd: root, stdio: 'inherit' });
}

/** Runs a generator of the checkout. @throws {Error} if it fails, after printing the reason. */
export function runGenerator(file: string, ...args: string[]): void {
  execFileSync(process.execPath, [join(root, file), ...args], { cwd: root, stdio: 'inherit' });
}
