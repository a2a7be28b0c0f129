// Cursor pagination: opaque cursors, and the `Link` header of RFC 8288.

import type { FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '../control/problem.ts';

type PageQuery = { readonly limit: number; readonly cursor?: string | undefined };

/** The page that a query asks for, of a list whose cursors are identifiers or names. @throws {Problem} `invalid-value`. */
export function pageByText({ limit, cursor }: PageQuery): { limit: number; after: string | null } {
  return { limit, after: cursor === undefined ? null : decode(cursor) };
}

/** The page that a query asks for, of a list whose cursors are numbers. @throws {Problem} `invalid-value`. */
export function pageByNumber({ limit, cursor }: PageQuery): { limit: number; after: number | null } {
  if (cursor === undefined) return { limit, after: null };
  const after = Number(decode(cursor));
  if (!Number.isSafeInteger(after)) throw malformedCursor();
  return { limit, after };
}

/** The page as it is answered; sets the `Link` header where there is a next one. */
export function answerPage<Item>(
  request: FastifyRequest,
  reply: FastifyReply,
  items: Item[],
  next: string | number | null,
): { items: Item[]; next: string | null } {
  if (next === null) return { items, next: null };
  const cursor = Buffer.from(String(next)).toString('base64url');
  const url = new URL(request.url, 'http://localhost');
  url.searchParams.set('cursor', cursor);
  reply.header('link', `<${url.pathname}${url.search}>; rel="next"`);
  return { items, next: cursor };
}

function decode(cursor: string): string {
  const text = Buffer.from(cursor, 'base64url').toString();
  if (text === '' || Buffer.from(text).toString('base64url') !== cursor) throw malformedCursor();
  return text;
}

function malformedCursor(): Problem {
  const detail = 'the cursor is not one that this list gave: take `next` from the page before, or leave it out';
  return new Problem('invalid-value', detail, { invalidValues: [{ pointer: 'query:cursor', detail }] });
}
