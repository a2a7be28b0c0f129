// Pages of a list: which items, how they are sorted, how many, after which; and the conditions that say so to the database.

export type Order = 'asc' | 'desc';

type Sorted<Sort extends string, Position> = {
  readonly sort: Sort;
  readonly order: Order;
  readonly limit: number;
  /** Where the page before ended; null for the first page. */
  readonly after: Position | null;
};

/** Of a list by time; items of one time are told apart by their identifier or number. */
export type PageByTime<Key extends string | number = string> = Sorted<'time', { readonly time: Date; readonly key: Key }>;
/** Of a list by name, which no two items share. */
export type PageByName = Sorted<'name', { readonly name: string }>;
/** Of a list whose items have numbers, by these. */
export type PageByNumber = Sorted<'number', { readonly number: number }>;

/** From a time on, and before another. */
export type TimeRange = { readonly from?: Date | undefined; readonly until?: Date | undefined };

export type Comparison<Cell> = { gt: Cell } | { gte: Cell } | { lt: Cell } | { lte: Cell };
/** A condition on one column. */
type Condition<Cell, Where> = (comparison: Comparison<Cell>) => Where;

/** PostgreSQL has no year 0, and nothing was before it. */
const firstTime = new Date('0001-01-01T00:00:00.000Z');

/** A time that may be asked for, as both databases can be asked for it. */
export const clampTime = (time: Date) => (time < firstTime ? firstTime : time);

/** Conditions that hold for the items of a range of times. */
export function rangeConditions<Where>({ from, until }: TimeRange, time: Condition<Date, Where>): Where[] {
  return [
    ...(from === undefined ? [] : [time({ gte: clampTime(from) })]),
    ...(until === undefined ? [] : [time({ lt: clampTime(until) })]),
  ];
}

/**
 * Conditions that hold for the items of a range of times that come after the page before. The time gets at most one lower and one upper bound,
 * so that the database begins to read where the page before ended.
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

/** Conditions that hold for the names that begin so: a range, for LIKE knows no case and takes some characters for others. */
export function prefixConditions<Where>(prefix: string, name: Condition<string, Where>): Where[] {
  return prefix === '' ? [] : [name({ gte: prefix }), name({ lt: endOf(prefix) })];
}

/** Conditions that hold for the names that begin so and come after the page before; with one lower and one upper bound, as for times. */
export function nameConditions<Where>(prefix: string, { order, after }: PageByName, name: Condition<string, Where>): Where[] {
  if (after === null) return prefixConditions(prefix, name);
  return order === 'asc'
    ? [name(after.name < prefix ? { gte: prefix } : { gt: after.name }), name({ lt: endOf(prefix) })]
    : [name({ gte: prefix }), name({ lt: after.name < endOf(prefix) ? after.name : endOf(prefix) })];
}

/** Comes after every text that begins so. */
const endOf = (prefix: string) => `${prefix}\u{10ffff}`;

/** The condition that columns have these values; what is undefined may have any. */
export function equalTo<Cell>(values: Readonly<Record<string, Cell | undefined>>): Record<string, Cell> {
  return Object.fromEntries(Object.entries(values).flatMap(([column, cell]) => (cell === undefined ? [] : [[column, cell] as const])));
}
