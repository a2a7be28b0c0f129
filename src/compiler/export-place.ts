// Finds where a source exports a function, for diagnostics about the compiled module.

import type { SourceLanguage } from './languages.ts';
import type { Diagnostic } from './result.ts';

type Place = Pick<Diagnostic, 'file' | 'line' | 'column'>;

type Search = {
  /** File extension of the language. */
  readonly extension: string;
  /** Matches comments, and the strings that contain no export. */
  readonly skipped: RegExp;
  /** Patterns that match an export of the name; the first that is found gives the place. */
  readonly patterns: (name: string) => readonly RegExp[];
};

const searches: Readonly<Record<SourceLanguage, Search>> = {
  wat: {
    extension: 'wat',
    skipped: /;;[^\n]*|\(;[\s\S]*?;\)/g,
    patterns: (name) => [new RegExp(`\\(\\s*export\\s+"${name}"`)],
  },
  assemblyscript: {
    extension: 'ts',
    skipped: /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\[\s\S])*`/g,
    patterns: (name) => [new RegExp(`\\bexport\\s+function\\s+${name}\\b`), new RegExp(`\\bas\\s+${name}\\b`), new RegExp(`\\b${name}\\b`)],
  },
};

/**
 * Returns where a source exports a name; without line and column if the export is not found.
 * @param name A name of letters, digits and underscores.
 */
export function findExportPlace(language: SourceLanguage, module: string, source: string, name: string): Place {
  const { extension, skipped, patterns } = searches[language];
  const file = `${module}.${extension}`;
  // Blanks keep the positions of the rest.
  const code = source.replace(skipped, (text) => text.replace(/[^\n]/g, ' '));
  const offset = patterns(name)
    .map((pattern) => code.search(pattern))
    .find((found) => found >= 0);
  if (offset === undefined) return { file, line: null, column: null };
  const before = source.slice(0, offset).split('\n');
  return { file, line: before.length, column: (before.at(-1) ?? '').length + 1 };
}
