// Finds the words of the term list in texts.

import { type Exception, nameWords, type Term, terms } from './terms.ts';
import type { Text } from './texts.ts';

export type Finding = { readonly file: string; readonly line: number; readonly term: string; readonly instead: string };

/** The terms with their patterns, each a whole word or phrase that may go over a line. */
const patterns = terms.map((term) => ({ term, pattern: new RegExp(`\\b(?:${term.pattern.replaceAll(' ', '\\s+')})\\b`, 'gi') }));

/** Returns where texts use a term, and the exceptions that match nothing. */
export function findTerms(texts: readonly Text[], exceptions: readonly Exception[]): { findings: Finding[]; unused: Exception[] } {
  const used = new Set<Exception>();
  const findings = texts.flatMap((text) => {
    const allowed = exceptions.filter((exception) => exception.file === text.file && text.content.includes(exception.text));
    let { content } = text;
    for (const exception of allowed) {
      used.add(exception);
      content = content.replaceAll(exception.text, '');
    }
    return findingsOf({ ...text, content });
  });
  return { findings, unused: exceptions.filter((exception) => !used.has(exception)) };
}

function findingsOf(text: Text): Finding[] {
  const { file, line, kind, content } = text;
  if (kind === 'name') {
    const words = content.split(/(?=[A-Z])|_|(?<=\d)(?=[a-z])/).map((word) => word.toLowerCase());
    return words.flatMap((word) => {
      const instead = nameWords.get(word);
      return instead === undefined ? [] : [{ file, line, term: content, instead }];
    });
  }
  return patterns.flatMap(({ term, pattern }) => {
    if (!applies(term, text)) return [];
    return [...content.matchAll(pattern)].map((match) => ({
      file,
      line: line + content.slice(0, match.index).split('\n').length - 1,
      term: match[0].replaceAll(/\s+/g, ' '),
      instead: term.instead,
    }));
  });
}

function applies({ scope }: Term, { file, kind }: Text): boolean {
  if (scope === 'everywhere') return true;
  return kind === 'markdown' || kind === 'openapi' || (kind === 'string' && /^(src|web)\//.test(file));
}
