// Pages of a list (sort, order, limit, position), and the query conditions that select them.

export type Order = 'asc' | 'desc';

type Sorted<Sort extends string, Position> = {
  readonly sort: Sort;
  readonly order: Order;
  readonly limit: number;
  /** The position of the last item of the previous page; null for the first page. */
  readonly after: Position | null;
};

/** A page of a list by time; items with the same time are ordered by identifier or number. */
export type PageByTime<Key extends string | number = string> = Sorted<'time', { readonly time: Date; readonly key: Key }>;
/** A page of a list by unique name. */
export type PageByName = Sorted<'name', { readonly name: string }>;
/** A page of a list by item number. */
export type PageByNumber = Sorted<'number', { readonly number: number }>;

/** A time range: `from` is inclusive, `until` exclusive. */
export type TimeRange = { readonly from?: Date | undefined; readonly until?: Date | undefined };

export type Comparison<Cell> = { gt: Cell } | { gte: Cell } | { lt: Cell } | { lte: Cell };
/** Builds a condition on one column. */
type Condition<Cell, Where> = (comparison: Comparison<Cell>) => Where;

/** PostgreSQL has no year 0; no stored time is earlier. */
const firstTime = new Date('0001-01-01T00:00:00.000Z');

/** Raises a requested time to the earliest that both databases support. */
export const clampTime = (time: Date) => (time < firstTime ? firstTime : time);

/** Returns the conditions for items in a time range. */
export function rangeConditions<Where>({ from, until }: TimeRange, time: Condition<Date, Where>): Where[] {
  return [
    ...(from === undefined ? [] : [time({ gte: clampTime(from) })]),
    ...(until === undefined ? [] : [time({ lt: clampTime(until) })]),
  ];
}

/**
 * Returns the conditions for items in a time range after the previous page. The time gets at most one lower and one upper bound,
 * so that the database starts to read where the previous page ended.
 */
export function timeConditions<Key extends string | number, Where>(
  range: TimeRange,
  { order, after }: PageByTime<Key>,
  time: Condition<Date, Where>,
  key: Condition<Key, Where>,
): (Where | { OR: Where[] })[] {
  if (after === null) return rangeConditions(range, time);
  const last = clampTime(after.time);
  if (order === 'asc') {
    if (range.from !== undefined && range.from > last) return rangeConditions(range, time);
    const afterIt = { OR: [time({ gt: last }), key({ gt: after.key })] };
    return [time({ gte: last }), afterIt, ...rangeConditions({ until: range.until }, time)];
  }
  if (range.until !== undefined && range.until <= last) return rangeConditions(range, time);
  const beforeIt = { OR: [time({ lt: last }), key({ lt: after.key })] };
  return [time({ lte: last }), beforeIt, ...rangeConditions({ from: range.from }, time)];
}

/** Returns the conditions for names with a prefix, as a range: LIKE is case-insensitive and has wildcards. */
export function prefixConditions<Where>(prefix: string, name: Condition<string, Where>): Where[] {
  return prefix === '' ? [] : [name({ gte: prefix }), name({ lt: prefixEnd(prefix) })];
}

/** Returns the conditions for names with a prefix after the previous page, with one lower and one upper bound, as for times. */
export function nameConditions<Where>(prefix: string, { order, after }: PageByName, name: Condition<string, Where>): Where[] {
  if (after === null) return prefixConditions(prefix, name);
  return order === 'asc'
    ? [name(after.name < prefix ? { gte: prefix } : { gt: after.name }), name({ lt: prefixEnd(prefix) })]
    : [name({ gte: prefix }), name({ lt: after.name < prefixEnd(prefix) ? after.name : prefixEnd(prefix) })];
}

/** Returns a string that sorts after every string with this prefix. */
const prefixEnd = (prefix: string) => `${prefix}\u{10ffff}`;

/** Returns the condition that columns equal these values; undefined values are ignored. */
export function equalTo<Cell>(values: Readonly<Record<string, Cell | undefined>>): Record<string, Cell> {
  return Object.fromEntries(Object.entries(values).flatMap(([column, cell]) => (cell === undefined ? [] : [[column, cell] as const])));
}
