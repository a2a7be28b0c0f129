// Events of the audit trail, as tests of the store write them, and transactions that are held up.

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

/** The first events that are there, in their order. */
export async function eventsIn({ reader }: Pick<Store, 'reader'>): Promise<AuditRecord[]> {
  return withoutMarks(await new AuditQueries(reader).list({}, firstPage));
}

/** Has transactions wait for one that ends when it is told to. */
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
