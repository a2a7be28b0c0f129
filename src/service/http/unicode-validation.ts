// Rejects strings that the databases cannot store: the character U+0000 and unpaired surrogates.

import type { FastifyInstance } from 'fastify';
import { type InvalidValue, Problem } from '../problem.ts';
import { needsBody } from './empty-bodies.ts';

const nullCharacter = '\0';
const messages = {
  nullCharacter: 'contains the character U+0000: remove it',
  unpairedSurrogate: 'contains an unpaired surrogate: remove it',
} as const;
/** In JSON both can only appear as escape sequences; bodies without one are not searched. */
const suspiciousEscape = /\\u(?:0000|d[89a-f])/i;
/** Maximum invalid values listed in one response. */
const maxInvalidValues = 100;

/** Rejects a query with percent-encoding that is not valid UTF-8: taken literally, it would match nothing. */
function rejectMalformedQuery(url: string): void {
  const start = url.indexOf('?');
  if (start === -1 || !url.includes('%', start)) return;
  const malformed = url
    .slice(start + 1)
    .split('&')
    .filter((part) => decodeOrNull(part) === null);
  if (malformed.length === 0) return;
  const detail =
    'contains percent-encoding that is not valid UTF-8: write "%" as %25, and other characters as their UTF-8 bytes, for example %C3%BC for "ü"';
  const names = malformed.map((part) => {
    const [name = ''] = part.split('=');
    return (decodeOrNull(name) ?? name).slice(0, 100);
  });
  throw new Problem('invalid-value', `the query ${detail}`, {
    invalidValues: [...new Set(names)].slice(0, maxInvalidValues).map((name) => ({ pointer: `query:${name}`, detail })),
  });
}

/** Returns the decoded string, or null if it is not percent-encoded UTF-8. */
function decodeOrNull(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** Rejects requests with such a string in the URL or in the JSON body. Call it before routes are added. */
export function rejectInvalidUnicode(app: FastifyInstance): void {
  app.addHook('onRequest', async (request) => {
    rejectMalformedQuery(request.url);
    if (!request.url.includes('%00')) return;
    const detail = `the URL ${messages.nullCharacter} (%00)`;
    const query = typeof request.query === 'object' && request.query !== null ? Object.entries(request.query) : [];
    const names = query.flatMap(([name, value]) => (JSON.stringify([name, value]).includes('\\u0000') ? [name] : []));
    throw new Problem('invalid-value', detail, { invalidValues: names.map((name) => ({ pointer: `query:${name}`, detail })) });
  });
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, text, done) => {
    if (text === '' && !needsBody(request)) return done(null, undefined);
    parse(request, text, (error, value) => {
      const invalidValues = error === null && suspiciousEscape.test(text) ? findInvalidValues(value, '').slice(0, maxInvalidValues) : [];
      if (invalidValues.length === 0) return done(error, value);
      done(
        new Problem(
          'invalid-value',
          invalidValues
            .map(({ pointer, detail }) => `${pointer}: ${detail}`)
            .join('; ')
            .slice(0, 2_000),
          { invalidValues: invalidValues },
        ),
      );
    });
  });
}

/** Returns the invalid strings in a value, by JSON pointer (RFC 6901). */
function findInvalidValues(value: unknown, pointer: string): InvalidValue[] {
  if (typeof value === 'string') {
    const message = describeFault(value);
    return message === null ? [] : [{ pointer, detail: message }];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => {
    const message = describeFault(name);
    if (message !== null) return [{ pointer, detail: `a member name ${message}` }];
    return findInvalidValues(member, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`);
  });
}

function describeFault(text: string): string | null {
  if (text.includes(nullCharacter)) return messages.nullCharacter;
  return text.isWellFormed() ? null : messages.unpairedSurrogate;
}
