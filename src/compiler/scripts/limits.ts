// `npm run limits`: writes docs/limits.md from the compiler's limits. With `--check`, fails if the file is out of date.

import console from 'node:console';
import { readFileSync, writeFileSync } from 'node:fs';
import { renderLimitsPage } from '../limits.ts';

const file = new URL('../../../docs/limits.md', import.meta.url);

if (!process.argv.includes('--check')) writeFileSync(file, renderLimitsPage());
else if (readFileSync(file, 'utf8') !== renderLimitsPage()) {
  console.error('docs/limits.md is out of date: run "npm run limits"');
  process.exitCode = 1;
}
