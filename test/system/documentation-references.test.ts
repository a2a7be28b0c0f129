// The pages of the documentation refer to things that exist: links, files, identifiers of the code, tests, scripts and labels of the dashboard.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';
import { anchorsOf, filesOf, pagePaths, prose, readPage, root } from './documentation-pages.ts';

const pages = pagePaths();
const files = [
  ...['src', 'test', 'web', 'bench', 'prisma', 'openapi', 'examples', 'docs', 'bin'].flatMap((folder) => filesOf(folder)),
  'package.json',
  'prisma.config.ts',
  '.dependency-cruiser.mjs',
];

/** Returns the matches of a pattern in the prose of pages, with the page of each. */
function matchesIn(from: readonly string[], pattern: RegExp): { page: string; groups: string[] }[] {
  return from.flatMap((page) => [...prose(page).matchAll(pattern)].map(([, ...groups]) => ({ page, groups })));
}

/** Returns the files whose paths end with a path that a page names. */
const filesNamed = (path: string) => files.filter((file) => file === path || file.endsWith(`/${path}`));

test('links between pages lead to existing files and headings', () => {
  const broken = matchesIn(pages, /\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?[^)]*\)/g).filter(({ page, groups: [path = '', anchor] }) => {
    const target = path === '' ? page : normalize(join(dirname(page), path));
    if (!existsSync(join(root, target))) return true;
    return anchor !== undefined && !anchorsOf(target).includes(anchor);
  });
  expect(broken).toEqual([]);
});

test('paths of source files and folders exist', () => {
  const missingFiles = matchesIn(pages, /`([\w./-]+\.(?:tsx?|mjs|prisma))`/g).filter(
    ({ groups: [path = ''] }) => filesNamed(path).length === 0,
  );
  expect(missingFiles).toEqual([]);
  const missingFolders = matchesIn(pages, /`([\w-]+(?:\/[\w-]+)*\/)`/g).filter(
    ({ groups: [path = ''] }) => path !== 'data/' && !files.some((file) => `/${file}`.includes(`/${path}`)),
  );
  expect(missingFolders).toEqual([]);
});

test('paths from the root of the repository exist', () => {
  const missing = matchesIn(pages, /`((?:src|test|web|bench|docs|examples|prisma|openapi)\/[\w./-]*)`/g).filter(
    ({ groups: [path = ''] }) => !existsSync(join(root, path)),
  );
  expect(missing).toEqual([]);
});

test('identifiers of the code are in the files that pages name for them', () => {
  const named = [
    ...matchesIn(pages, /`(\w+)`(?: and `\w+`)? in `([\w./-]+\.tsx?)`/g).map(({ page, groups: [name = '', path = ''] }) => ({
      page,
      name,
      path,
    })),
    ...matchesIn(pages, /`([\w./-]+\.tsx?)` `(\w+)`/g).map(({ page, groups: [path = '', name = ''] }) => ({ page, name, path })),
  ];
  expect(named.length).toBeGreaterThan(15);
  const missing = named.filter(({ name, path }) => !filesNamed(path).some((file) => readFileSync(join(root, file), 'utf8').includes(name)));
  expect(missing).toEqual([]);
});

/** Identifiers of other libraries. */
const foreignIdentifiers = ['safeParse', 'safeEncode', 'SystemV'];

test('identifiers in camel case are in the code', () => {
  const identifiers = new Set(
    files
      .filter((file) => /\.(?:tsx?|json)$/.test(file) && !file.includes('/generated/'))
      .flatMap((file) => readFileSync(join(root, file), 'utf8').match(/[A-Za-z]\w+/g) ?? []),
  );
  const named = matchesIn(pages, /`([^`\n]+)`/g).flatMap(({ page, groups: [code = ''] }) =>
    (code.match(/\b[A-Za-z]+[a-z][A-Z]\w*/g) ?? []).map((identifier) => ({ page, identifier })),
  );
  expect(named.length).toBeGreaterThan(100);
  const missing = named.filter(({ identifier }) => !identifiers.has(identifier) && !foreignIdentifiers.includes(identifier));
  expect(missing).toEqual([]);
});

/** Options of other programs. */
const foreignOptions = ['--fail-with-body', '--max-time', '--data-binary', '--data-urlencode', '--retry', '--project', '--write'];

test('options and environment variables exist', () => {
  const sources = [...files.filter((file) => /\.tsx?$|^package\.json$/.test(file) && !file.includes('/generated/')), 'docker-compose.yml'];
  const known = new Set(sources.flatMap((file) => readFileSync(join(root, file), 'utf8').match(/--[a-z][a-z-]+|\bPATCHBAY_\w+/g) ?? []));
  const named = pages.flatMap((page) =>
    [...readPage(page).matchAll(/(?<![\w-])(--[a-z][a-z-]+)|\b(PATCHBAY_\w+)/g)].map(([name]) => ({ page, name })),
  );
  expect(named.length).toBeGreaterThan(100);
  // Options of compilers are in `examples`.
  const missing = named.filter(({ page, name }) => !page.startsWith('examples/') && !known.has(name) && !foreignOptions.includes(name));
  expect(missing).toEqual([]);
});

test('the page of the isolation workflow names tests by a part of their titles', () => {
  const named = matchesIn(['docs/explanation/isolation-workflow.md'], /`([\w./-]+\.test\.ts)` \*([^*]+)\*/g);
  expect(named.length).toBeGreaterThan(10);
  const missing = named.filter(
    ({ groups: [path = '', title = ''] }) => !filesNamed(path).some((file) => readFileSync(join(root, file), 'utf8').includes(title)),
  );
  expect(missing).toEqual([]);
});

test('npm scripts exist', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
  const named = pages.flatMap((page) => [...readPage(page).matchAll(/npm run ([\w:]*\w)/g)].map(([, script = '']) => ({ page, script })));
  expect(named.filter(({ script }) => scripts[script] === undefined)).toEqual([]);
});

test('labels of the dashboard are those of its pages', () => {
  const sources = filesOf('web').filter((file) => /\.tsx?$/.test(file) && !file.startsWith('web/built/'));
  const texts = sources.map((file) => readFileSync(join(root, file), 'utf8')).join('\n');
  const labels = matchesIn(['docs/how-to/dashboard.md'], /(?<!\*)\*([^*\n]+)\*(?!\*)/g).map(({ groups: [label = ''] }) => label);
  expect(labels.length).toBeGreaterThan(10);
  expect(labels.filter((label) => !texts.includes(label))).toEqual([]);
});

test('headings of the tables that commands print are those of the command line', () => {
  const commands = filesOf('src/cli/commands').map((file) => readFileSync(join(root, file), 'utf8'));
  const headings = commands.flatMap((source) =>
    [...source.matchAll(/headings: \[([^\]]+)\]/g)].flatMap(([, list = '']) => list.match(/[A-Z][A-Z ]*/g) ?? []),
  );
  const [, table = ''] = readPage('docs/how-to/test-binary-isolation.md').match(/^```\n(PROGRAM .*)$/m) ?? [];
  const named = [...table.split(/ {2,}/), ...matchesIn(['docs/how-to/roll-back.md'], /`([A-Z][A-Z ]+)`/g).flatMap(({ groups }) => groups)];
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((heading) => !headings.includes(heading))).toEqual([]);
});

test('no two pages create a key of the same name', () => {
  const patterns = [/patchbay key create ([\w-]+)/g, /patchbay publisher-key add ([\w-]+)/g, /"name":"([\w-]+)","role"/g];
  const names = pages.flatMap((page) => {
    const text = readPage(page);
    return patterns.flatMap((pattern) => [...text.matchAll(pattern)].map(([, name = '']) => name));
  });
  expect(names.length).toBeGreaterThan(5);
  expect(names.toSorted()).toEqual([...new Set(names)].toSorted());
});

test('the problem on the page of API conventions is one of the reference', () => {
  const [, json = ''] = readPage('docs/explanation/api-conventions.md').match(/^```json\n([\s\S]*?)^```$/m) ?? [];
  const { type, status, title } = JSON.parse(json) as { type: string; status: number; title: string };
  expect(readPage('docs/reference.md')).toContain(`| \`${type}\` | ${status} | ${title} |`);
});

test('terms of the glossary are in alphabetical order', () => {
  const terms = [...readPage('docs/glossary.md').matchAll(/^## (.+)$/gm)].map(([, term = '']) => term.toLowerCase());
  expect(terms.length).toBeGreaterThan(50);
  expect(terms).toEqual(terms.toSorted());
  expect(new Set(terms).size).toBe(terms.length);
});

test('health reasons and log messages of the page on monitoring are in the code', () => {
  const section = readPage('docs/how-to/monitor.md').match(/^## Health reasons$[\s\S]*?^## /m)?.[0] ?? '';
  const reasons = [...section.matchAll(/^\| `([^`]+)` \|/gm)].map(([, reason = '']) => reason);
  const messages = [...readPage('docs/how-to/monitor.md').matchAll(/"msg":"([a-z ]+)"/g)].map(([, message = '']) => message);
  expect([reasons.length, messages.length]).toEqual([7, 2]);
  const sources = filesOf('src').filter((file) => file.endsWith('.ts') && !file.includes('/generated/'));
  const code = sources.map((file) => readFileSync(join(root, file), 'utf8')).join('\n');
  const parts = [...reasons, ...messages].flatMap((text) => text.split('…')).map((part) => part.replace(/^ (?:module|device)s/, '').trim());
  expect(parts.filter((part) => part.length > 1 && !code.includes(part))).toEqual([]);
});

test('the README links to every page', () => {
  const linked = matchesIn(['README.md', 'docs/decisions/README.md'], /\]\((?!https?:)([^)#\s]+)/g).map(({ page, groups: [path = ''] }) =>
    normalize(join(dirname(page), path)),
  );
  expect(pages.filter((page) => page !== 'README.md' && !linked.includes(page))).toEqual([]);
});
