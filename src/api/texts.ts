// Texts of requests: none has a character U+0000, which PostgreSQL keeps in no text.

import type { FastifyInstance } from 'fastify';
import { type InvalidValue, Problem } from '../control/problem.ts';

const nothing = '\0';
const toDo = 'has the character U+0000: leave it out';
/** Places that are named in one answer. */
const placeLimit = 100;

/** Refuses requests with the character in their address or in their JSON; to be called before routes are added. */
export function refuseNothing(app: FastifyInstance): void {
  app.addHook('onRequest', async (request) => {
    if (request.url.includes('%00')) throw new Problem('invalid-value', `the address ${toDo} (%00)`);
  });
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, text, done) => {
    parse(request, text, (error, value) => {
      // It cannot be in JSON but by its number; most requests are not looked through.
      const places = error === null && text.includes('\\u0000') ? placesIn(value, '').slice(0, placeLimit) : [];
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

/** Where the character is, as JSON pointers (RFC 6901). */
function placesIn(value: unknown, pointer: string): InvalidValue[] {
  if (typeof value === 'string') return value.includes(nothing) ? [{ pointer, detail: toDo }] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => {
    const place = `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    return name.includes(nothing) ? [{ pointer, detail: `a name in it ${toDo}` }] : placesIn(member, place);
  });
}
