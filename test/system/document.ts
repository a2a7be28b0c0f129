// The commands of a page of the documentation, to be run as they are written.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';

/** The `sh` blocks of a page under `docs`, in their order. */
export function shellBlocks(page: string): string[] {
  const document = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
  return [...document.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block);
}

/** Of all blocks of a page: some wait in loops. */
const patience = 240_000;

/** Runs them one after another in one shell; answers what they said. Rejects when one fails, or they take too long. */
export async function runBlocks(blocks: readonly string[], cwd: string, variables: Readonly<Record<string, string>>): Promise<string> {
  const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', blocks.join('\n')], {
    cwd,
    env: { ...process.env, ...variables },
    timeout: patience,
  });
  return stdout;
}
