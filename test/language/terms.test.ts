import { expect, test } from 'vitest';
import { findTerms } from './findings.ts';
import { codeTexts, markdownTexts, openApiTexts, type Text } from './texts.ts';

const found = (texts: readonly Text[]) => findTerms(texts, []).findings.map(({ line, term }) => `${line}: ${term}`);

test('finds a term in comments, strings, JSX and names of code, with its line', () => {
  const source = [
    '/** Answers what',
    ' * goes on, once more. */',
    "const usualThreads = 'nobody is there';",
    'const page = <p>Whoever comes</p>;',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholder is part of the source under test
    'const text = `one ${usualThreads} is told so`;',
  ].join('\n');
  expect(found(codeTexts('src/example.tsx', source)).toSorted()).toEqual([
    '1: Answers',
    '2: goes on',
    '2: once more',
    '3: nobody',
    '3: usualThreads',
    '4: Whoever',
    '5: is told',
  ]);
});

test('finds a term that goes over a line', () => {
  expect(found(codeTexts('src/example.ts', '// what comes\n// next goes\n// on\n'))).toEqual([]);
  expect(found(codeTexts('src/example.ts', '/* what goes\n * on */'))).toEqual(['1: goes on']);
});

test('reads neither code nor addresses in Markdown', () => {
  const source = [
    '# Manners',
    '',
    '```sh',
    'patchbay tell',
    '```',
    '[conventions](manners.md) and `answers`',
    'as usual',
    'the usual settings',
  ].join('\n');
  expect(found(markdownTexts('docs/example.md', source))).toEqual(['1: Manners', '8: usual']);
});

test('reads summaries and descriptions of the OpenAPI document, and no names or values', () => {
  const source = JSON.stringify({ paths: { '/answers': { get: { summary: 'Tells it', description: 'Anew', example: 'anew' } } } }, null, 2);
  expect(found(openApiTexts('openapi/openapi.json', source))).toEqual(['5: Tells', '6: Anew']);
});

test('limits are at least and at most in comments, and minimum and maximum for users', () => {
  const [comment, message] = ['// at most 5 devices', "throw new Error('at most 5 devices');"];
  expect(found(codeTexts('src/example.ts', comment))).toEqual([]);
  expect(found(codeTexts('src/example.ts', message))).toEqual(['1: at most']);
  expect(found(codeTexts('test/example.ts', message))).toEqual([]);
});

test('an exception allows its text in its file, and one that matches nothing is reported', () => {
  const texts = codeTexts('src/example.ts', "const title = 'Tell me more';");
  const exception = { file: 'src/example.ts', text: 'Tell me more', reason: 'a quotation' };
  const other = { ...exception, file: 'src/other.ts' };
  expect(findTerms(texts, [exception, other])).toEqual({ findings: [], unused: [other] });
});
