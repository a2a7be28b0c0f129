// Pagination: opaque cursors, each bound to a list, sort and order, and the `Link` header (RFC 8288).

import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { DamagedItem, type DamagedRows, readOrMark } from '../database/damaged-rows.ts';
import type { Order, PageByName, PageByNumber, PageByTime, TimeRange } from '../database/page.ts';
import { maxPageBytes, type PageResult } from '../database/page-reader.ts';
import { invalidQuery, type Problem } from '../problem.ts';
import { sendRaw } from './route.ts';

type ListRequest = {
  readonly query: { readonly limit: number; readonly order?: Order | undefined; readonly cursor?: string | undefined };
  readonly routeOptions: { readonly url?: string | undefined };
};

/** The latest time of a JavaScript date, in milliseconds since 1970. */
const lastTime = 8.64e15;
const time = z
  .int()
  .min(-lastTime)
  .max(lastTime)
  .transform((milliseconds) => new Date(milliseconds));
const timeAndText = z.tuple([time, z.string()]).transform(([at, key]) => ({ time: at, key }));
const number = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);
const timeAndNumber = z.tuple([time, number]).transform(([at, key]) => ({ time: at, key }));
const numberAlone = z.tuple([number]).transform(([value]) => ({ number: value }));
const nameAlone = z.tuple([z.string()]).transform(([name]) => ({ name }));

/** Parses the page that a query requests from a list by time. @throws {Problem} `invalid-value`. */
export function parsePageByTime(request: ListRequest): PageByTime {
  return parsePage(request, 'time', request.query.order ?? 'desc', timeAndText);
}

/** Parses the page that a query requests from a list by time whose items are numbered. @throws {Problem} `invalid-value`. */
export function parsePageByTimeAndNumber(request: ListRequest): PageByTime<number> {
  return parsePage(request, 'time', request.query.order ?? 'desc', timeAndNumber);
}

/** Parses the page that a query requests from a list by name. @throws {Problem} `invalid-value`. */
export function parsePageByName(request: ListRequest): PageByName {
  return parsePage(request, 'name', request.query.order ?? 'asc', nameAlone);
}

/** Parses the page that a query requests from a list by number. @throws {Problem} `invalid-value`. */
export function parsePageByNumber(request: ListRequest): PageByNumber {
  return parsePage(request, 'number', request.query.order ?? 'asc', numberAlone);
}

/** Checks and returns the time range of a query. @throws {Problem} `invalid-value`. */
export function parseTimeRange({ from, until }: TimeRange): TimeRange {
  if (from !== undefined && until !== undefined && from > until)
    throw invalidQuery('from', '`from` is later than `until`: set `from` to a time before `until`, or remove one of them');
  return { from, until };
}

type AnyPage = PageByTime | PageByTime<number> | PageByName | PageByNumber;

/** The items of a list and their representation. */
type Listing<Item, Shown> = {
  /** The kind of an item, as the fleet health shows it. */
  readonly kind: string;
  readonly schema: z.ZodType<Shown>;
  readonly idOf: (item: Item) => string;
  readonly toItem: (item: Item) => Shown;
  readonly damagedRows: DamagedRows;
};

/**
 * Sends a page, with a `Link` header if there is a next page. Items with invalid rows are listed under `damaged`; the others are returned.
 * A page whose items exceed `maxPageBytes` in total ends before the requested limit, with a cursor.
 */
export function sendPage<Item, Shown, Page extends AnyPage>(
  request: FastifyRequest,
  reply: FastifyReply,
  { items, next, pageAfter }: PageResult<Item | DamagedItem, Page>,
  listing: Listing<Item, Shown>,
): FastifyReply {
  const shown: string[] = [];
  const damaged: DamagedItem[] = [];
  let bytes = 0;
  let nextPage = next;
  for (const [index, item] of items.entries()) {
    const text = textOf(item, listing);
    if (text instanceof DamagedItem) {
      request.log.error({ kind: listing.kind, id: text.id, fault: text.fault }, 'a stored row violates its schema');
      damaged.push(text);
      continue;
    }
    bytes += Buffer.byteLength(text);
    if (bytes > maxPageBytes && shown.length > 0) {
      nextPage = pageAfter(index - 1);
      break;
    }
    shown.push(text);
  }
  const cursor = nextPage === null ? null : cursorOf(request, reply, nextPage);
  const marks = damaged.map(({ id, fault }) => ({ id, reason: fault }));
  const body = `{"items":[${shown.join(',')}],"damaged":${JSON.stringify(marks)},"next":${JSON.stringify(cursor)}}`;
  return sendRaw(
    reply
      .status(200)
      .type('application/json; charset=utf-8')
      .serializer((text: string) => text),
    body,
  );
}

/** Returns the item as JSON, or the damaged item if its row is invalid. */
function textOf<Item, Shown>(
  item: Item | DamagedItem,
  { kind, schema, idOf, toItem, damagedRows }: Listing<Item, Shown>,
): string | DamagedItem {
  const text =
    item instanceof DamagedItem ? item : readOrMark(item, idOf(item), (readable) => JSON.stringify(z.encode(schema, toItem(readable))));
  if (text instanceof DamagedItem) damagedRows.record(kind, text);
  else if (!(item instanceof DamagedItem)) damagedRows.remove(kind, idOf(item));
  return text;
}

function cursorOf(request: FastifyRequest, reply: FastifyReply, { sort, order, after }: AnyPage): string {
  const position = after === null ? [] : positionOf(after);
  const cursor = Buffer.from(JSON.stringify([listOf(request), sort, order, position])).toString('base64url');
  const url = new URL(request.url, 'http://localhost');
  url.searchParams.set('cursor', cursor);
  reply.header('link', `<${url.pathname}${url.search}>; rel="next"`);
  return cursor;
}

type Position = NonNullable<AnyPage['after']>;

function positionOf(after: Position): (string | number)[] {
  if ('name' in after) return [after.name];
  return 'number' in after ? [after.number] : [after.time.getTime(), after.key];
}

function parsePage<Sort extends string, Position>(request: ListRequest, sort: Sort, order: Order, position: z.ZodType<Position>) {
  const { limit, cursor } = request.query;
  return { sort, order, limit, after: cursor === undefined ? null : decodeCursor(cursor, [listOf(request), sort, order], position) };
}

/** Identifies a list by its route template: the lists of two modules, or of two devices, share cursors. */
const listOf = ({ routeOptions }: Pick<ListRequest, 'routeOptions'>) => routeOptions.url ?? '';

const Cursor = z.tuple([z.string(), z.string(), z.string(), z.unknown()]);

/** Returns the position in a cursor. @throws {Problem} `invalid-value` if the cursor was created for another list, sort or order. */
function decodeCursor<Position>(cursor: string, expected: readonly string[], position: z.ZodType<Position>): Position {
  const text = Buffer.from(cursor, 'base64url').toString();
  const decoded = Cursor.safeParse(Buffer.from(text).toString('base64url') === cursor ? parseOrNull(text) : null);
  if (!decoded.success) throw foreignCursor();
  const [list, sort, order, after] = decoded.data;
  if (list !== expected[0]) throw foreignCursor();
  if (sort !== expected[1] || order !== expected[2])
    throw invalidQuery('cursor', 'the cursor belongs to another sort or order: repeat the query that returned it, or remove the cursor');
  const found = position.safeParse(after);
  if (!found.success) throw foreignCursor();
  return found.data;
}

function parseOrNull(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}

function foreignCursor(): Problem {
  return invalidQuery('cursor', 'the cursor was not returned by this list: use `next` of the previous page, or remove the cursor');
}
