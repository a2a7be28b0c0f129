// What every part of control works with.

import type { Compiler } from '../compiler/compiler.ts';
import type { AuditOutcome } from '../proof/audit-event.ts';
import type { NewAuditEvent } from './audit/repository.ts';
import type { Clock } from './clock/service-clock.ts';
import { DamagedItem, type DamagedRows } from './database/damaged-rows.ts';
import type { MarkedRows } from './database/readable-rows.ts';
import type { Records } from './database/records.ts';
import type { Store } from './database/store.ts';
import { UnreadableRow } from './database/unreadable.ts';
import type { RepeatableRequest } from './idempotency/answers.ts';
import type { OrderBoard } from './orders/order-board.ts';
import type { SigningKeys } from './signing-keys/signing-keys.ts';

export type Context = {
  readonly store: Store;
  readonly compiler: Compiler;
  readonly orderBoard: OrderBoard;
  readonly signingKeys: SigningKeys;
  readonly clock: Clock;
  readonly damagedRows: DamagedRows;
};

/** Who asks, and in which request. */
export type Requester = {
  readonly actor: string;
  readonly requestId: string;
  /** Where the request has a key under which it may be repeated. */
  readonly repeatable?: RepeatableRequest;
};

/** The service, where it does something by itself. */
export const service: Requester = { actor: 'service', requestId: '' };

/** One line of the audit trail, as control writes it. */
export type AuditEntry = {
  readonly action: string;
  /** Identifier of the object, or its path where it has none. */
  readonly object: string;
  /** How it ended; `succeeded` where it is not said. */
  readonly outcome?: AuditOutcome;
  readonly detail: Record<string, string | number | boolean | null | readonly string[] | Readonly<Record<string, string>>>;
};

/** Writes what was done into the audit trail, in the transaction that does it. */
export async function audit(records: Records, requester: Requester, at: Date, entries: readonly AuditEntry[]): Promise<void> {
  await records.audit.append(entries.map((entry) => eventOf(requester, at, entry)));
}

/** A line of the audit trail as it is kept. */
export function eventOf({ actor, requestId }: Requester, at: Date, entry: AuditEntry): NewAuditEvent {
  return { at, actor, requestId, outcome: 'succeeded', ...entry };
}

/** The items of a page of a list, and the next page. */
export type PageOf<Item, Page> = {
  readonly items: readonly Item[];
  readonly next: Page | null;
  /** The page that begins after the item at an index, for a page that is cut short there; null where there is none. */
  readonly pageAfter: (index: number) => Page | null;
};

/** Bytes of the items of a page, about: whoever reads ends the page where it has them, and at least one item is on it. */
export const pageBytes = 4 * 1024 * 1024;
/** Items of a list of large ones that are read before it is known how large they are. */
const firstRows = 20;

type AnyPage = { readonly limit: number; readonly after: unknown };

/** How the rows of a list are read. */
type RowReading<Row, Page extends AnyPage> = {
  readonly read: (page: Page) => Promise<MarkedRows<Row>>;
  readonly positionOf: (row: Row) => Page['after'];
  /** The position of a row that cannot be decoded; null where only such rows follow. */
  readonly positionOfUnreadable: (row: UnreadableRow) => Page['after'];
  readonly bytesOf?: (row: Row) => number;
};

/** Reads a page as `readPage` does; in the place of a row that cannot be decoded there is a mark. */
export async function readMarkedPage<Row extends object, Page extends AnyPage>(
  page: Page,
  { read, positionOf, positionOfUnreadable, bytesOf }: RowReading<Row, Page>,
): Promise<PageOf<Row | DamagedItem, Page>> {
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
): Promise<PageOf<Item, Page>> {
  const wanted = page.limit + 1;
  const found: Item[] = [];
  let bytes = 0;
  let isLast = false;
  while (found.length < wanted && bytes < pageBytes && !isLast) {
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
  return Math.max(1, Math.floor((pageBytes - bytes) / Math.max(1, bytes / rows)));
}
