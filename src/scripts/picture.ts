// `npm run picture`: draws the imports between folders into docs/explanation/architecture.md. With `--check`, fails if the picture is out of date.

import console from 'node:console';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cruise } from 'dependency-cruiser';
import extractOptions from 'dependency-cruiser/config-utl/extract-depcruise-options';
import extractTsConfig from 'dependency-cruiser/config-utl/extract-ts-config';
import { mermaidOf, nodeOf, withoutImplied } from './dependency-graph.ts';
import { root } from './staging.ts';

/** Files that are not part of the program. */
const notDrawn = /\/scripts\//;
const begin = '<!-- npm run picture: begin -->\n';
const end = '<!-- npm run picture: end -->';

process.chdir(root);
const page = join(root, 'docs/explanation/architecture.md');
const text = readFileSync(page, 'utf8');
const drawn = withPicture(text, mermaidOf(withoutImplied(await importsBetweenNodes())));
if (!process.argv.includes('--check')) writeFileSync(page, drawn);
else if (text !== drawn) {
  console.error('the picture in docs/explanation/architecture.md is out of date: run "npm run picture"');
  process.exitCode = 1;
}

async function importsBetweenNodes(): Promise<Map<string, Set<string>>> {
  const options = await extractOptions('./.dependency-cruiser.mjs');
  const { output } = await cruise(['src', 'web'], options, undefined, { tsConfig: extractTsConfig('tsconfig.json') });
  if (typeof output === 'string') throw new Error(output);
  const imports = new Map<string, Set<string>>();
  for (const { source, dependencies } of output.modules) {
    const from = notDrawn.test(source) ? null : nodeOf(source);
    if (from === null) continue;
    const targets = imports.get(from) ?? new Set();
    imports.set(from, targets);
    for (const { resolved } of dependencies) {
      const to = nodeOf(resolved);
      if (to !== null && to !== from) targets.add(to);
    }
  }
  return imports;
}

function withPicture(markdown: string, picture: string): string {
  const [first, last] = [markdown.indexOf(begin), markdown.indexOf(end)];
  if (first < 0 || last < first)
    throw new Error(`expected the lines ${begin.trim()} and ${end} in ${page}, between which the picture is drawn`);
  return `${markdown.slice(0, first + begin.length)}\n${picture}\n${markdown.slice(last)}`;
}
