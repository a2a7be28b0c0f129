// One temporary folder per test run, so that a run neither depends on leftovers of an earlier run nor leaves any.

import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import type { TestProject } from 'vitest/node';
import { browserFolderName } from './web/browser-folder.ts';

/** Created by the runtime or shared by the files of a run, and removed with the run's folder. */
const shared = new Set([browserFolderName]);

/**
 * Sets `TMPDIR` for the processes of the tests. They start after this.
 * @returns Removes the folder.
 * @throws {Error} at the end of the run, when tests have left files behind.
 */
export default function setUp({ vitest }: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-tests-'));
  // If the tests run as root, the PostgreSQL server runs as another user, which needs access through the folder.
  chmodSync(folder, 0o755);
  process.env['TMPDIR'] = folder;
  return () => {
    const leftovers = readdirSync(folder).filter((name) => !shared.has(name));
    rmSync(folder, { recursive: true, force: true });
    // Tests that are only listed create folders as they are imported, and remove none.
    const haveRun = vitest.state.getTestModules().some((module) => ['passed', 'failed'].includes(module.state()));
    if (haveRun && leftovers.length > 0) throw new Error(`the tests left files in their temporary folder: ${leftovers.join(', ')}`);
  };
}
