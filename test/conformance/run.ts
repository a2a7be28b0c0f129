// `npm run conformance -- FOLDER [--document]`: runs the official WebAssembly test suite through the compiler and a device.

import console from 'node:console';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Piscina } from 'piscina';
import type { ScriptResult } from './execution.ts';
import { documentOf, failureLines, featureTable, scriptTable, totalsOf } from './report.ts';

const workerThreads = 2;
/** Maximum number of printed failures. */
const failureLimit = 200;
const usage = 'npm run conformance -- FOLDER [--document] [--only SCRIPT,SCRIPT]';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { document: { type: 'boolean', default: false }, only: { type: 'string' } },
});
const [folder] = positionals;
if (folder === undefined) {
  console.error(`expected the folder of the converted suite (NAME.json files and modules of wast2json), received no argument: ${usage}`);
  process.exit(2);
}
const only = values.only?.split(',');
const names = (await readdir(folder)).filter((name) => name.endsWith('.json')).toSorted();
const scripts = names.filter((name) => only === undefined || only.includes(name.slice(0, -'.json'.length)));
if (scripts.length === 0) {
  console.error(`expected NAME.json files of wast2json in ${folder}, found none that match`);
  process.exit(2);
}

const pool = new Piscina<string, ScriptResult>({
  filename: new URL('./script-worker.ts', import.meta.url).href,
  maxThreads: workerThreads,
  resourceLimits: { stackSizeMb: 16 },
});
const results = await Promise.all(scripts.map((name) => pool.run(join(folder, name))));
await pool.destroy();

const failures = failureLines(results);
console.log(`${scriptTable(results)}\n\n${featureTable(results)}\n`);
for (const failure of failures.slice(0, failureLimit)) console.log(failure);
const { passed, refused, failed } = totalsOf(results.flatMap((script) => script.results));
console.log(`${passed} passed, ${refused} refused for a named feature, ${failed} failed`);
if (values.document) await writeFile(new URL('../../docs/conformance.md', import.meta.url), documentOf(results));
process.exitCode = failed === 0 ? 0 : 1;
