// Audit events for tests of the store, and blocked transactions.

import { AuditQueries } from '../../../src/service/audit/queries.ts';
import type { AuditRecord } from '../../../src/service/audit-events/repository.ts';
import { withoutMarks } from '../../../src/service/database/readable-rows.ts';
import type { Store } from '../../../src/service/database/store.ts';

export const firstPage = { sort: 'time', order: 'asc', limit: 100, after: null } as const;
export const at = new Date('2026-11-23T09:30:00.000Z');

export const event = (object: string) => ({
  at,
  actor: 'test',
  action: 'test.done',
  object,
  outcome: 'succeeded' as const,
  requestId: null,
  detail: {},
});

/** Returns the first events, in order. */
export async function eventsIn({ reader }: Pick<Store, 'reader'>): Promise<AuditRecord[]> {
  return withoutMarks(await new AuditQueries(reader).list({}, firstPage));
}

/** Blocks the transaction queue until the returned function is called. */
export async function holdUp(store: Store): Promise<() => Promise<void>> {
  const begun = Promise.withResolvers<void>();
  const { promise, resolve } = Promise.withResolvers<void>();
  const ended = store.transaction(() => {
    begun.resolve();
    return promise;
  });
  await begun.promise;
  return () => {
    resolve();
    return ended;
  };
}
