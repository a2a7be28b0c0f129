// `npm run check:terms`: fails with the places where the project uses a word of the term list.

import console from 'node:console';
import process from 'node:process';
import { findTerms } from './findings.ts';
import { exceptions } from './terms.ts';
import { projectTexts } from './texts.ts';

const { findings, unused } = findTerms(projectTexts('.'), exceptions);
for (const { file, line, term, instead } of findings) console.error(`${file}:${line}: "${term}": write ${instead}`);
for (const { file, text } of unused)
  console.error(`test/language/terms.ts: the exception "${text}" for ${file} matches nothing: remove it`);
if (findings.length + unused.length > 0) {
  console.error(`${findings.length} places use a word of test/language/terms.ts. Rewrite them, or add an exception with its reason.`);
  process.exitCode = 1;
}
