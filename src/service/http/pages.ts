// Pages of lists: opaque cursors, each for one list, sort and order, and the `Link` header of RFC 8288.

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

/** Milliseconds from 1970 to the last time that a date can be. */
const lastTime = 8.64e15;
const time = z
  .int()
  .min(-lastTime)
  .max(lastTime)
  .transform((milliseconds) => new Date(milliseconds));
const timeAndText = z.tuple([time, z.string()]).transform(([moment, key]) => ({ time: moment, key }));
const number = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);
const timeAndNumber = z.tuple([time, number]).transform(([moment, key]) => ({ time: moment, key }));
const numberAlone = z.tuple([number]).transform(([one]) => ({ number: one }));
const nameAlone = z.tuple([z.string()]).transform(([name]) => ({ name }));

/** The page that a query asks for, of a list by time. @throws {Problem} `invalid-value`. */
export function parsePageByTime(request: ListRequest): PageByTime {
  return pageAsked(request, 'time', request.query.order ?? 'desc', timeAndText);
}

/** The page that a query asks for, of a list by time whose items have numbers. @throws {Problem} `invalid-value`. */
export function parsePageByTimeAndNumber(request: ListRequest): PageByTime<number> {
  return pageAsked(request, 'time', request.query.order ?? 'desc', timeAndNumber);
}

/** The page that a query asks for, of a list by name. @throws {Problem} `invalid-value`. */
export function parsePageByName(request: ListRequest): PageByName {
  return pageAsked(request, 'name', request.query.order ?? 'asc', nameAlone);
}

/** The page that a query asks for, of a list by number. @throws {Problem} `invalid-value`. */
export function parsePageByNumber(request: ListRequest): PageByNumber {
  return pageAsked(request, 'number', request.query.order ?? 'asc', numberAlone);
}

/** The range of times that a query asks for. @throws {Problem} `invalid-value`. */
export function parseTimeRange({ from, until }: TimeRange): TimeRange {
  if (from !== undefined && until !== undefined && from > until)
    throw invalidQuery('from', 'from is after until: give a `from` that is before `until`, or leave one of them out');
  return { from, until };
}

type AnyPage = PageByTime | PageByTime<number> | PageByName | PageByNumber;

/** What a list is of. */
type Listing<Item, Shown> = {
  /** What one item is, as it is named in the health of the fleet. */
  readonly kind: string;
  readonly schema: z.ZodType<Shown>;
  readonly idOf: (item: Item) => string;
  readonly toItem: (item: Item) => Shown;
  readonly damagedRows: DamagedRows;
};

/**
 * Sends a page; sets the `Link` header where there is a next one. A row that violates its schema is listed under `damaged` and keeps no other from
 * being shown. A page whose items are larger than `pageBytes` together ends before the limit that was asked for, with a cursor.
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
  let following = next;
  for (const [index, item] of items.entries()) {
    const text = textOf(item, listing);
    if (text instanceof DamagedItem) {
      request.log.error({ kind: listing.kind, id: text.id, fault: text.fault }, 'a stored row violates its schema');
      damaged.push(text);
      continue;
    }
    bytes += Buffer.byteLength(text);
    if (bytes > maxPageBytes && shown.length > 0) {
      following = pageAfter(index - 1);
      break;
    }
    shown.push(text);
  }
  const cursor = following === null ? null : cursorOf(request, reply, following);
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

/** The item in JSON, or what is wrong with its row. */
function textOf<Item, Shown>(
  item: Item | DamagedItem,
  { kind, schema, idOf, toItem, damagedRows }: Listing<Item, Shown>,
): string | DamagedItem {
  const text = item instanceof DamagedItem ? item : readOrMark(item, idOf(item), (one) => JSON.stringify(z.encode(schema, toItem(one))));
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

function pageAsked<Sort extends string, Position>(request: ListRequest, sort: Sort, order: Order, position: z.ZodType<Position>) {
  const { limit, cursor } = request.query;
  return { sort, order, limit, after: cursor === undefined ? null : decode(cursor, [listOf(request), sort, order], position) };
}

/** A list by its route: those of two modules, or of two devices, are of one kind. */
const listOf = ({ routeOptions }: Pick<ListRequest, 'routeOptions'>) => routeOptions.url ?? '';

const Cursor = z.tuple([z.string(), z.string(), z.string(), z.unknown()]);

/** The position in a cursor that was given for this list, sort and order. */
function decode<Position>(cursor: string, wanted: readonly string[], position: z.ZodType<Position>): Position {
  const text = Buffer.from(cursor, 'base64url').toString();
  const decoded = Cursor.safeParse(Buffer.from(text).toString('base64url') === cursor ? parsed(text) : null);
  if (!decoded.success) throw notOfThisList();
  const [list, sort, order, after] = decoded.data;
  if (list !== wanted[0]) throw notOfThisList();
  if (sort !== wanted[1] || order !== wanted[2])
    throw invalidQuery('cursor', 'the cursor is of another sort or order: repeat the query that gave it, or leave the cursor out');
  const found = position.safeParse(after);
  if (!found.success) throw notOfThisList();
  return found.data;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}

function notOfThisList(): Problem {
  return invalidQuery('cursor', 'the cursor is not one that this list gave: take `next` from the page before, or leave it out');
}
