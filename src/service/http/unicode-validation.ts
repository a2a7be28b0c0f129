// Texts of requests: none has what a database keeps in no text, the character U+0000 or half of a surrogate pair.

import type { FastifyInstance } from 'fastify';
import { type InvalidValue, Problem } from '../problem.ts';
import { needsBody } from './empty-bodies.ts';

const nothing = '\0';
const toDo = {
  nothing: 'has the character U+0000: leave it out',
  half: 'has half of a surrogate pair, which is no character: leave it out',
} as const;
/** In JSON both are there but by their numbers; most requests are not looked through. */
const mayHaveOne = /\\u(?:0000|d[89a-f])/i;
/** Places that are named in one answer. */
const placeLimit = 100;

/** Refuses a query with a `%` that does not begin an encoded character of UTF-8: read as it is, it would match nothing. */
function refuseMalformedQuery(url: string): void {
  const start = url.indexOf('?');
  if (start === -1 || !url.includes('%', start)) return;
  const malformed = url
    .slice(start + 1)
    .split('&')
    .filter((part) => decoded(part) === null);
  if (malformed.length === 0) return;
  const detail =
    'has a percent-encoding that is not valid UTF-8: write "%" as %25, and other characters as the bytes of their UTF-8, like %C3%BC for "ü"';
  const names = malformed.map((part) => {
    const [name = ''] = part.split('=');
    return (decoded(name) ?? name).slice(0, 100);
  });
  throw new Problem('invalid-value', `the query ${detail}`, {
    invalidValues: [...new Set(names)].slice(0, placeLimit).map((name) => ({ pointer: `query:${name}`, detail })),
  });
}

/** Returns null where the text is not percent-encoded UTF-8. */
function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** Refuses requests with one in their address or in their JSON; to be called before routes are added. */
export function rejectInvalidUnicode(app: FastifyInstance): void {
  app.addHook('onRequest', async (request) => {
    refuseMalformedQuery(request.url);
    if (!request.url.includes('%00')) return;
    const detail = `the address ${toDo.nothing} (%00)`;
    const query = typeof request.query === 'object' && request.query !== null ? Object.entries(request.query) : [];
    const names = query.flatMap(([name, value]) => (JSON.stringify([name, value]).includes('\\u0000') ? [name] : []));
    throw new Problem('invalid-value', detail, { invalidValues: names.map((name) => ({ pointer: `query:${name}`, detail })) });
  });
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, text, done) => {
    if (text === '' && !needsBody(request)) return done(null, undefined);
    parse(request, text, (error, value) => {
      const places = error === null && mayHaveOne.test(text) ? placesIn(value, '').slice(0, placeLimit) : [];
      if (places.length === 0) return done(error, value);
      done(
        new Problem(
          'invalid-value',
          places
            .map(({ pointer, detail }) => `${pointer}: ${detail}`)
            .join('; ')
            .slice(0, 2_000),
          { invalidValues: places },
        ),
      );
    });
  });
}

/** Where they are, as JSON pointers (RFC 6901). */
function placesIn(value: unknown, pointer: string): InvalidValue[] {
  if (typeof value === 'string') {
    const fault = faultOf(value);
    return fault === null ? [] : [{ pointer, detail: fault }];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => {
    const fault = faultOf(name);
    if (fault !== null) return [{ pointer, detail: `a name in it ${fault}` }];
    return placesIn(member, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`);
  });
}

function faultOf(text: string): string | null {
  if (text.includes(nothing)) return toDo.nothing;
  return text.isWellFormed() ? null : toDo.half;
}
