// `npm run check`: runs every script of package.json whose name starts with `check:`, as many at a time as there are processors. Prints the output of
// each when it has ended, and fails if one of them fails.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { root } from './staging.ts';

/** The longest checks: they start first, so that none of them runs alone at the end. */
const longest = ['check:types', 'check:types-web', 'check:spelling'];

const names = namesOfChecks();
const waiting = [...longest.filter((name) => names.includes(name)), ...names.filter((name) => !longest.includes(name))];
const failed: string[] = [];
await Promise.all(Array.from({ length: availableParallelism() }, runWaiting));
if (failed.length > 0) {
  process.stdout.write(`failed: ${failed.join(', ')}\n`);
  process.exitCode = 1;
}

/** Returns the names of the checks in package.json. */
function namesOfChecks(): string[] {
  const manifest: unknown = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const scripts = typeof manifest === 'object' && manifest !== null && 'scripts' in manifest ? manifest.scripts : null;
  const found = Object.keys(scripts ?? {}).filter((name) => name.startsWith('check:'));
  if (found.length === 0) throw new Error('package.json has no check');
  return found;
}

async function runWaiting(): Promise<void> {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) if (!(await succeeds(name))) failed.push(name);
}

/** Runs a check, and returns whether it succeeded. Its output is printed as a whole, so that outputs do not mix. */
async function succeeds(name: string): Promise<boolean> {
  const child = spawn('npm', ['run', '--silent', name], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => output.push(chunk));
  const [code] = await once(child, 'close');
  process.stdout.write(Buffer.concat(output));
  return code === 0;
}
