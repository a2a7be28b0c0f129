// Several replicas on one PostgreSQL database behave as one.

import { expect, onTestFinished, test, vi } from 'vitest';
import { AuditQueries } from '../../../../src/service/audit/queries.ts';
import { hashStoredEvent } from '../../../../src/service/database/audit-chain.ts';
import { postgresqlMigrations } from '../../../../src/service/database/postgresql/migrations.ts';
import { withoutMarks } from '../../../../src/service/database/readable-rows.ts';
import { Store } from '../../../../src/service/database/store.ts';
import type { TransactionEnd } from '../../../../src/service/database/transactions.ts';
import { endConnections, newDatabase, newEmptyDatabase, openSql, runSql } from '../../../databases.ts';
import { inTransaction, Records } from '../../records.ts';
import { event, eventsIn, holdUp } from '../events.ts';

/** Selects the sessions that wait for the write lock. */
const waiting = `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;

async function openAll(database: string, count: number): Promise<Store[]> {
  const stores = await Promise.all(Array.from({ length: count }, () => Store.open(database)));
  onTestFinished(async () => {
    for (const store of stores) await store.close();
  });
  return stores;
}

test('replicas that start at the same time apply each migration once', async () => {
  const database = await newEmptyDatabase('');
  const stores = await openAll(database, 5);
  for (const store of stores) expect((await store.health()).migrationFaults).toEqual([]);
  const records = await runSql(database, 'SELECT "migration_name" AS "name" FROM "_prisma_migrations"');
  expect(records).toEqual(postgresqlMigrations().map(({ name }) => ({ name })));
});

test('transactions of replicas are serialized: concurrent appends form one chain without gaps', async () => {
  const stores = await openAll(await newDatabase(''), 2);
  const perStore = 100;
  await Promise.all(
    stores.flatMap((store, which) =>
      Array.from({ length: perStore }, (_, index) => inTransaction(store, (records) => records.audit.append([event(`${which} ${index}`)]))),
    ),
  );
  for (const { reader, readConnection } of stores) {
    const records = new Records(readConnection);
    const events = withoutMarks(await new AuditQueries(reader).after(0, 1_000));
    expect(events.map(({ number }) => number)).toEqual(Array.from({ length: 2 * perStore }, (_, index) => index + 1));
    let previous: Uint8Array = new Uint8Array();
    for (const one of events) {
      expect(one.previous).toEqual(previous);
      expect(one.hash).toEqual(hashStoredEvent(one));
      previous = one.hash;
    }
    expect(await records.audit.head()).toMatchObject({ number: 2 * perStore, hash: previous });
    const objects = events.map(({ object }) => object);
    for (const which of stores.keys())
      expect(objects.filter((object) => object.startsWith(`${which} `))).toEqual(
        Array.from({ length: perStore }, (_, index) => `${which} ${index}`),
      );
  }
});

test('a replica with the write lock makes the others wait, and they see its writes', async () => {
  const database = await newDatabase('');
  const [first, second] = await openAll(database, 2);
  if (first === undefined || second === undefined) throw new Error('no stores');
  const begun = Promise.withResolvers<void>();
  const end = Promise.withResolvers<void>();
  const held = inTransaction(first, async (records) => {
    await records.audit.append([event('a')]);
    begun.resolve();
    await end.promise;
  });
  await begun.promise;
  let isHeld = true;
  const next = inTransaction(second, async (records) => ({ isHeld, head: (await records.audit.head()).number }));
  await vi.waitUntil(async () => (await runSql(database, waiting)).length === 1, { timeout: 20_000 });
  // Reads do not wait.
  expect(await eventsIn(second)).toEqual([]);
  isHeld = false;
  end.resolve();
  await held;
  expect(await next).toEqual({ isHeld: false, head: 1 });
});

test('transactions queued while another replica has the write lock run as one group', async () => {
  const database = await newDatabase('');
  const [first, second] = await openAll(database, 2);
  if (first === undefined || second === undefined) throw new Error('no store');
  const goOn = await holdUp(first);
  const outside = await openSql(database);
  const append = (object: string) =>
    inTransaction(second, async (records) => {
      await records.audit.append([event(object)]);
      return (await outside.run('SELECT FROM "AuditEvent"')).length;
    });
  const before = append('a');
  await vi.waitUntil(async () => (await runSql(database, waiting)).length === 1, { timeout: 20_000 });
  const meanwhile = append('b');
  await goOn();
  // Neither is committed while the other is executed.
  expect(await Promise.all([before, meanwhile])).toEqual([0, 0]);
  await outside.close();
});

test('a transaction whose connection is lost is rolled back and rejects; the next succeeds', async () => {
  const database = await newDatabase('');
  const [store] = await openAll(database, 1);
  if (store === undefined) throw new Error('no store');
  const ends: TransactionEnd['result'][] = [];
  store.onTransactionEnd(({ result }) => ends.push(result));
  const losing = inTransaction(store, async (records) => {
    await records.audit.append([event('a')]);
    await endConnections(database);
    await records.audit.append([event('b')]);
  });
  await expect(losing).rejects.toThrow();
  await inTransaction(store, (records) => records.audit.append([event('c')]));
  expect(await eventsIn(store)).toMatchObject([{ number: 1, object: 'c' }]);
  expect(ends).toEqual(['rolled-back', 'committed']);
});

test('strings are sorted by bytes, with any collation of the server', async () => {
  const database = await newDatabase('');
  const columns = await runSql(
    database,
    `SELECT "table_name", "column_name", "collation_name" FROM information_schema.columns
      WHERE "table_schema" = 'public' AND "data_type" IN ('text', 'character varying') AND "table_name" <> '_prisma_migrations'`,
  );
  expect(columns.length).toBeGreaterThan(100);
  expect(columns.filter(({ collation_name }) => collation_name !== 'C')).toEqual([]);
});
