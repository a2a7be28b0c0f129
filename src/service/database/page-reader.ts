// Reads a page of a list, with the position at which the next page begins.

import { DamagedItem } from './damaged-rows.ts';
import type { MarkedRows } from './readable-rows.ts';
import { UndecodableRow } from './undecodable-row.ts';

/** The items of a page, and the next page. */
export type PageResult<Item, Page> = {
  readonly items: readonly Item[];
  readonly next: Page | null;
  /** Returns the page after the item at an index, for a page that is truncated there; null if there is none. */
  readonly pageAfter: (index: number) => Page | null;
};

/** Approximate maximum size of the items of a page in bytes. A page has at least one item. */
export const maxPageBytes = 4 * 1024 * 1024;
/** Items that are read first from a list of large items, to estimate their size. */
const initialRows = 20;

type AnyPage = { readonly limit: number; readonly after: unknown };

/** Reads the rows of a list. */
type RowSource<Row, Page extends AnyPage> = {
  readonly read: (page: Page) => Promise<MarkedRows<Row>>;
  readonly positionOf: (row: Row) => Page['after'];
  /** Returns the position of a row that cannot be decoded; null if only such rows follow. */
  readonly positionOfUndecodable: (row: UndecodableRow) => Page['after'];
  readonly bytesOf?: (row: Row) => number;
};

/** Reads a page. A row that cannot be decoded is replaced with a `DamagedItem`. */
export async function readMarkedPage<Row extends object, Page extends AnyPage>(
  page: Page,
  { read, positionOf, positionOfUndecodable, bytesOf }: RowSource<Row, Page>,
): Promise<PageResult<Row | DamagedItem, Page>> {
  const found = await readPage<Row | UndecodableRow, Page>(
    page,
    read,
    (row) => (row instanceof UndecodableRow ? positionOfUndecodable(row) : positionOf(row)),
    bytesOf === undefined ? null : (row) => (row instanceof UndecodableRow ? 0 : bytesOf(row)),
  );
  return { ...found, items: found.items.map((row) => (row instanceof UndecodableRow ? new DamagedItem(row.id, row.fault) : row)) };
}

/**
 * Reads one item more than requested, to determine whether there is a next page; fewer if the items exceed `maxPageBytes`.
 * @param positionOf Returns null for an item after which the list ends.
 * @param bytesOf Returns the approximate size of an item in memory; null if items are small.
 */
async function readPage<Item, Page extends AnyPage>(
  page: Page,
  read: (page: Page) => Promise<Item[]>,
  positionOf: (item: Item) => Page['after'],
  bytesOf: ((item: Item) => number) | null = null,
): Promise<PageResult<Item, Page>> {
  const wanted = page.limit + 1;
  const found: Item[] = [];
  let bytes = 0;
  let isLast = false;
  while (found.length < wanted && bytes < maxPageBytes && !isLast) {
    const maxRows = bytesOf === null ? wanted : rowsThatFit(found.length, bytes);
    const limit = Math.min(wanted - found.length, maxRows);
    const last = found.at(-1);
    const after = last === undefined ? page.after : positionOf(last);
    if (last !== undefined && after === null) break;
    const rows = await read({ ...page, limit, after });
    for (const item of rows) bytes += bytesOf?.(item) ?? 0;
    found.push(...rows);
    isLast = rows.length < limit;
  }
  const items = found.slice(0, page.limit);
  const pageAfter = (index: number): Page | null => {
    const item = items[index];
    if (item === undefined) return page;
    const after = positionOf(item);
    return after === null ? null : { ...page, after };
  };
  const hasMore = found.length > page.limit || (!isLast && found.length < wanted);
  return { items, next: hasMore && items.length > 0 ? pageAfter(items.length - 1) : null, pageAfter };
}

/** Returns how many more rows to read, by the mean size of the rows so far. */
function rowsThatFit(rows: number, bytes: number): number {
  if (rows === 0) return initialRows;
  return Math.max(1, Math.floor((maxPageBytes - bytes) / Math.max(1, bytes / rows)));
}
