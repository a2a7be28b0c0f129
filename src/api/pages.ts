// Pages of lists: opaque cursors, each for one list, sort and order, and the `Link` header of RFC 8288.

import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { invalidQuery, type Problem } from '../control/problem.ts';
import type { Order, PageByName, PageByNumber, PageByTime, TimeRange } from '../store/records/page.ts';

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
export function pageByTime(request: ListRequest): PageByTime {
  return pageOf(request, 'time', request.query.order ?? 'desc', timeAndText);
}

/** The page that a query asks for, of a list by time whose items have numbers. @throws {Problem} `invalid-value`. */
export function pageByTimeAndNumber(request: ListRequest): PageByTime<number> {
  return pageOf(request, 'time', request.query.order ?? 'desc', timeAndNumber);
}

/** The page that a query asks for, of a list by name. @throws {Problem} `invalid-value`. */
export function pageByName(request: ListRequest): PageByName {
  return pageOf(request, 'name', request.query.order ?? 'asc', nameAlone);
}

/** The page that a query asks for, of a list by number. @throws {Problem} `invalid-value`. */
export function pageByNumber(request: ListRequest): PageByNumber {
  return pageOf(request, 'number', request.query.order ?? 'asc', numberAlone);
}

/** The range of times that a query asks for. @throws {Problem} `invalid-value`. */
export function rangeOf({ from, until }: TimeRange): TimeRange {
  if (from !== undefined && until !== undefined && from > until)
    throw invalidQuery('from', 'from is after until: give a `from` that is before `until`, or leave one of them out');
  return { from, until };
}

/** The page as it is answered; sets the `Link` header where there is a next one. */
export function answerPage<Item>(
  request: FastifyRequest,
  reply: FastifyReply,
  items: Item[],
  next: PageByTime | PageByTime<number> | PageByName | PageByNumber | null,
): { items: Item[]; next: string | null } {
  if (next === null) return { items, next: null };
  const { sort, order, after } = next;
  const position = after === null ? [] : positionOf(after);
  const cursor = Buffer.from(JSON.stringify([listOf(request), sort, order, position])).toString('base64url');
  const url = new URL(request.url, 'http://localhost');
  url.searchParams.set('cursor', cursor);
  reply.header('link', `<${url.pathname}${url.search}>; rel="next"`);
  return { items, next: cursor };
}

type Position = NonNullable<(PageByTime | PageByTime<number> | PageByName | PageByNumber)['after']>;

function positionOf(after: Position): (string | number)[] {
  if ('name' in after) return [after.name];
  return 'number' in after ? [after.number] : [after.time.getTime(), after.key];
}

function pageOf<Sort extends string, Position>(request: ListRequest, sort: Sort, order: Order, position: z.ZodType<Position>) {
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
