// Runs the commands of the README and the tutorial as they are written.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../documentation-pages.ts';
import { blocksOf, manyProcesses, Walk } from './walk.ts';

const walk = new Walk();

test('runs the tutorial', manyProcesses, async () => {
  const output = await walk.runPage('docs/tutorial.md', root);
  expectTutorial(output);
  expect(output.match(/is stopping|is stopped/g)).toHaveLength(2);
});

test('runs the README, and then the tutorial on the same service', manyProcesses, async () => {
  const url = await walk.startService();
  const commands = blocksOf('README.md').filter((block) => block.startsWith('npx patchbay'));
  const [readme, tutorial] = [await walk.runBlocks(commands, root, url), await walk.runBlocks(blocksOf('docs/tutorial.md'), root, url)];
  expect(readme).toMatch(/installed +4 +0 +0 +0/);
  expect(readme).toMatch(/replaced +3 +0 +0 +0\nreplaced-interrupting +1 +10 +10 +0/);
  expect(readme).toMatch(/packets[\s\S]*1\.1\.0/);
  expectTutorial(tutorial);
  // One of them is the program of the README.
  expect(tutorial.match(/is stopping|is stopped/g)).toHaveLength(3);
});

function expectTutorial(output: string): void {
  expect(output).toMatch(/4 connected, 0 attaching/);
  expect(output).toMatch(/installed +4 +0 +0 +0/);
  expect(output).toMatch(/replaced +3 +0 +0 +0\nreplaced-interrupting +1 +(2[5-9]) +\1 +0/);
  expect(output).toMatch(/260 +interrupted .*threads=2[5-9]/);
  expect(output).toMatch(/refused-not-newer[\s\S]*exit code 3/);
  expect(output).toMatch(/the audit trail is intact/);
  expect(output).toMatch(/requires operator or admin/);
  expect(existsSync(join(root, 'reader.key'))).toBe(false);
}
