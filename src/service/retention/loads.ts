// Deletes expired loads, and expired reports of loads.

import { setTimeout as delay } from 'node:timers/promises';
import { type AuditEntry, audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import { systemActor } from '../requester.ts';
import { earliestNow, isUnlimited, pruningEvent, type RetentionLimit } from './limit.ts';
import { type EndedLoad, LoadPruningRecords } from './load-repository.ts';

/** Loads that one transaction examines. */
const batchSize = 500;

type ReadBatch = (records: LoadPruningRecords, after: string) => Promise<readonly EndedLoad[]>;
type Prune = (connection: Connection, ids: readonly string[]) => Promise<AuditEntry[]>;

/** Deletes the reports of loads that were requested too long ago, or that are not among the newest. The loads remain, with their outcomes. */
export async function pruneReports(store: Store, limit: RetentionLimit, clock: Pick<Clock, 'now'>): Promise<void> {
  if (isUnlimited(limit)) return;
  const boundary = await findBoundary(limit, (number) => new LoadPruningRecords(store.readConnection).lastReportBeyond(number));
  await prune(store, clock, limit, boundary, (records, after) => records.reportsAfter(after, batchSize), deleteReports);
}

/** Deletes ended loads that were requested too long ago, or that are not among the newest, with their reports and empty batches. */
export async function pruneLoads(store: Store, limit: RetentionLimit, clock: Pick<Clock, 'now'>): Promise<void> {
  if (isUnlimited(limit)) return;
  const boundary = await findBoundary(limit, (number) => new LoadPruningRecords(store.readConnection).lastLoadBeyond(number));
  await prune(store, clock, limit, boundary, (records, after) => records.endedAfter(after, batchSize), deleteLoads);
}

/** Returns the identifier up to which loads are beyond the number; an empty text if none is. */
async function findBoundary({ number }: RetentionLimit, find: (number: number) => Promise<string | null>): Promise<string> {
  return number === null ? '' : ((await find(number)) ?? '');
}

/** Prunes in the order of identifiers, which is that of the requests, until the first load that is not expired. */
async function prune(
  store: Store,
  clock: Pick<Clock, 'now'>,
  { age }: RetentionLimit,
  boundary: string,
  read: ReadBatch,
  remove: Prune,
): Promise<void> {
  const oldest = age === null ? Number.NEGATIVE_INFINITY : (await earliestNow(store, clock)) - age;
  for (let last = ''; ; ) {
    const batch = await read(new LoadPruningRecords(store.readConnection), last);
    const expired = batch.filter(({ id, requestedAt }) => id <= boundary || requestedAt.getTime() < oldest);
    if (expired.length > 0) await removeExpired(store, clock, expired, remove);
    last = batch.at(-1)?.id ?? '';
    if (batch.length < batchSize || expired.length === 0) return;
    await delay(0);
  }
}

async function removeExpired(store: Store, clock: Pick<Clock, 'now'>, expired: readonly EndedLoad[], remove: Prune): Promise<void> {
  await store.transaction(async (connection) => {
    const entries = await remove(
      connection,
      expired.map(({ id }) => id),
    );
    if (entries.length > 0) await audit(connection, systemActor, clock.now(), entries);
  });
}

async function deleteReports(connection: Connection, ids: readonly string[]): Promise<AuditEntry[]> {
  await new LoadPruningRecords(connection).deleteReports(ids);
  return [pruningEvent('load.reports-pruned', 'reports', ids)];
}

async function deleteLoads(connection: Connection, ids: readonly string[]): Promise<AuditEntry[]> {
  const removed = await new LoadPruningRecords(connection).deleteUnused(ids);
  return removed.length === 0 ? [] : [pruningEvent('load.pruned', 'loads', removed)];
}
