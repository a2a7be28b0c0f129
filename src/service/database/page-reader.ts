// Reads a page of a list, with the position after which the next page begins.

import { DamagedItem } from './damaged-rows.ts';
import type { MarkedRows } from './readable-rows.ts';
import { UnreadableRow } from './undecodable-row.ts';

/** The items of a page of a list, and the next page. */
export type PageResult<Item, Page> = {
  readonly items: readonly Item[];
  readonly next: Page | null;
  /** The page that begins after the item at an index, for a page that is cut short there; null where there is none. */
  readonly pageAfter: (index: number) => Page | null;
};

/** Bytes of the items of a page, about: whoever reads ends the page where it has them, and at least one item is on it. */
export const maxPageBytes = 4 * 1024 * 1024;
/** Items of a list of large ones that are read before it is known how large they are. */
const firstRows = 20;

type AnyPage = { readonly limit: number; readonly after: unknown };

/** How the rows of a list are read. */
type RowSource<Row, Page extends AnyPage> = {
  readonly read: (page: Page) => Promise<MarkedRows<Row>>;
  readonly positionOf: (row: Row) => Page['after'];
  /** The position of a row that cannot be decoded; null where only such rows follow. */
  readonly positionOfUnreadable: (row: UnreadableRow) => Page['after'];
  readonly bytesOf?: (row: Row) => number;
};

/** Reads a page as `readPage` does; in the place of a row that cannot be decoded there is a mark. */
export async function readMarkedPage<Row extends object, Page extends AnyPage>(
  page: Page,
  { read, positionOf, positionOfUnreadable, bytesOf }: RowSource<Row, Page>,
): Promise<PageResult<Row | DamagedItem, Page>> {
  const found = await readPage<Row | UnreadableRow, Page>(
    page,
    read,
    (row) => (row instanceof UnreadableRow ? positionOfUnreadable(row) : positionOf(row)),
    bytesOf === undefined ? null : (row) => (row instanceof UnreadableRow ? 0 : bytesOf(row)),
  );
  return { ...found, items: found.items.map((row) => (row instanceof UnreadableRow ? new DamagedItem(row.id, row.fault) : row)) };
}

/**
 * Reads one item more than asked for, to know whether there is a next page; fewer where they are too large for a page together.
 * @param positionOf Null for an item after which the list ends.
 * @param bytesOf How large an item is in memory, about; left out where items are small.
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
    const room = bytesOf === null ? wanted : rowsFor(found.length, bytes);
    const limit = Math.min(wanted - found.length, room);
    const last = found.at(-1);
    const after = last === undefined ? page.after : positionOf(last);
    if (last !== undefined && after === null) break;
    const some = await read({ ...page, limit, after });
    for (const item of some) bytes += bytesOf?.(item) ?? 0;
    found.push(...some);
    isLast = some.length < limit;
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

/** How many items more are read, so that a page has about its bytes. */
function rowsFor(rows: number, bytes: number): number {
  if (rows === 0) return firstRows;
  return Math.max(1, Math.floor((maxPageBytes - bytes) / Math.max(1, bytes / rows)));
}
