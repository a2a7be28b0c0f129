// Compares the tests that the runner lists with those that it has run; `node compare-results.js LISTED RESULTS`, both JSON of vitest.
// Ends with exit code 1 when a listed test has not run. Tests that are skipped by a condition of the machine are not listed: they are printed.

import console from 'node:console';
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import process from 'node:process';

const [listedFile = '', resultsFile = ''] = process.argv.slice(2);
const listed = JSON.parse(readFileSync(listedFile, 'utf8'));
const { testResults } = JSON.parse(readFileSync(resultsFile, 'utf8'));

const listedByFile = Map.groupBy(listed, ({ file }) => file);
const resultsByFile = Map.groupBy(
  testResults.flatMap(({ name, assertionResults }) => assertionResults.map((result) => ({ ...result, file: name }))),
  ({ file }) => file,
);
const hasRun = ({ status }) => status === 'passed' || status === 'failed';

let missing = 0;
for (const [file, tests] of listedByFile) {
  const ran = (resultsByFile.get(file) ?? []).filter(hasRun).length;
  if (ran >= tests.length) continue;
  missing += tests.length - ran;
  console.log(`${relative('.', file)}: ${ran} of ${tests.length} tests ran`);
}
// A test of both databases is skipped for one of them, and runs for the other.
const ranSomewhere = new Set([...resultsByFile.values()].flat().filter(hasRun).map(titleOf));
const skipped = new Set(
  [...resultsByFile.values()]
    .flat()
    .filter((result) => !hasRun(result) && !ranSomewhere.has(titleOf(result)))
    .map(titleOf),
);
for (const title of skipped) console.log(`skipped on this machine: ${title}`);
console.log(`${listed.length} tests listed, ${missing} of them not run`);
process.exitCode = missing === 0 && listed.length > 0 ? 0 : 1;

function titleOf({ file, fullName }) {
  return `${relative('.', file)}: ${fullName}`;
}
