// What every part of control works with.

import type { Compiler } from '../compiler/compiler.ts';
import type { AuditOutcome } from '../proof/audit-event.ts';
import type { NewAuditEvent } from '../store/records/audit.ts';
import type { Records } from '../store/records/records.ts';
import type { Store } from '../store/store.ts';
import type { RepeatableRequest } from './answers.ts';
import type { OrderBoard } from './order-board.ts';
import type { Clock } from './service-clock.ts';
import type { SigningKeys } from './signing-keys.ts';

export type Context = {
  readonly store: Store;
  readonly compiler: Compiler;
  readonly orderBoard: OrderBoard;
  readonly signingKeys: SigningKeys;
  readonly clock: Clock;
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
export type PageOf<Item, Page> = { readonly items: readonly Item[]; readonly next: Page | null };

/** Reads one item more than asked for, to know whether there is a next page. */
export async function readPage<Item, Page extends { readonly limit: number; readonly after: unknown }>(
  page: Page,
  read: (page: Page) => Promise<Item[]>,
  positionOf: (item: Item) => Page['after'],
): Promise<PageOf<Item, Page>> {
  const found = await read({ ...page, limit: page.limit + 1 });
  const items = found.slice(0, page.limit);
  const last = items.at(-1);
  return { items, next: found.length > page.limit && last !== undefined ? { ...page, after: positionOf(last) } : null };
}
