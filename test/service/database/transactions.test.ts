// Atomicity of transactions on both databases.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Store } from '../../../src/service/database/store.ts';
import { TooManyTransactions, type TransactionEnd, transactionLimits } from '../../../src/service/database/transactions.ts';
import { kind, newDatabase, openSql, type Sql } from '../../databases.ts';
import { inTransaction, Records } from '../records.ts';
import { at, event, eventsIn, holdUp } from './events.ts';

let folder: string;
let database: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-store-'));
  database = await newDatabase(folder);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Returns how many events a reader outside the transaction sees. */
const countFrom = async (outside: Sql) => (await outside.run('SELECT count(*) AS "events" FROM "AuditEvent"'))[0]?.['events'];

test('a failed transaction is rolled back', async () => {
  const store = await Store.open(database);
  const failing = inTransaction(store, async (records) => {
    await records.audit.append([event('a')]);
    throw new Error('halfway');
  });
  await expect(failing).rejects.toThrow('halfway');
  await inTransaction(store, (records) => records.audit.append([event('b')]));
  const kept = await eventsIn(store);
  expect(kept.map(({ object }) => object)).toEqual(['b']);
  await store.close();
});

test('reads outside a transaction never see uncommitted data', async () => {
  const store = await Store.open(database);
  const wrote = Promise.withResolvers<void>();
  const read = Promise.withResolvers<void>();
  const failing = inTransaction(store, async (records) => {
    await records.audit.append([event('a')]);
    wrote.resolve();
    await read.promise;
    throw new Error('halfway');
  });
  await wrote.promise;
  const seen = await eventsIn(store);
  read.resolve();
  await expect(failing).rejects.toThrow('halfway');
  expect(seen).toEqual([]);
  await store.close();
});

test('a failed transaction does not affect others, and writes outside a transaction are rejected', async () => {
  const store = await Store.open(database);
  const begun = Promise.withResolvers<void>();
  const end = Promise.withResolvers<void>();
  const failing = inTransaction(store, async (records) => {
    await records.audit.append([event('a')]);
    begun.resolve();
    await end.promise;
    throw new Error('halfway');
  });
  await begun.promise;
  const kept = inTransaction(store, (records) => records.audit.append([event('b')]));
  await expect(new Records(store.readConnection).audit.append([event('c')])).rejects.toThrow();
  end.resolve();
  await expect(failing).rejects.toThrow('halfway');
  await kept;
  const events = await eventsIn(store);
  expect(events.map(({ object }) => object)).toEqual(['b']);
  await store.close();
});

test('committed data is there when the database is reopened', async () => {
  const first = await Store.open(database);
  await inTransaction(first, (records) => records.audit.append([event('a')]));
  await first.close();
  const second = await Store.open(database);
  expect(await eventsIn(second)).toMatchObject([{ number: 1, at, object: 'a' }]);
  await second.close();
});

test('concurrent transactions all succeed, one after another', async () => {
  const store = await Store.open(database);
  await Promise.all(
    Array.from({ length: 50 }, (_, index) => inTransaction(store, (records) => records.audit.append([event(`o${index}`)]))),
  );
  const kept = await eventsIn(store);
  expect(kept.map(({ number }) => number)).toEqual(Array.from({ length: 50 }, (_, index) => index + 1));
  await store.close();
});

test('queued transactions are committed together; each that fails is rolled back with its own reason', async () => {
  const store = await Store.open(database);
  const ends: TransactionEnd[] = [];
  store.onTransactionEnd((end) => ends.push(end));
  const outside = await openSql(database);
  const seenOutside: unknown[] = [];
  const goOn = await holdUp(store);
  const others = Array.from({ length: 10 }, (_, index) =>
    inTransaction(store, async (records) => {
      await records.audit.append([event(`o${index}`)]);
      seenOutside.push(await countFrom(outside));
      if (index % 3 === 1) throw new Error(`no ${index}`);
      return { index, head: (await records.audit.head()).number };
    }),
  );
  await goOn();
  const settled = await Promise.allSettled(others);
  // None was committed while the last was executed.
  expect(seenOutside).toEqual(Array.from({ length: 10 }, () => 0));
  await outside.close();
  expect(settled.map((one) => (one.status === 'fulfilled' ? one.value.head : String(one.reason)))).toEqual([
    ...[1, 'Error: no 1', 2, 3, 'Error: no 4', 4, 5, 'Error: no 7', 6, 7],
  ]);
  const kept = await eventsIn(store);
  expect(kept.map(({ object }) => object)).toEqual(['o0', 'o2', 'o3', 'o5', 'o6', 'o8', 'o9']);
  // The effects of a rolled-back transaction are not reported.
  expect(ends.map((end) => (end.result === 'committed' ? end.events.map(({ object }) => object) : end.result))).toEqual([
    ...[[], ['o0'], 'rolled-back', ['o2'], ['o3'], 'rolled-back', ['o5'], ['o6'], 'rolled-back', ['o8'], ['o9']],
  ]);
  await store.close();
});

test('a database error in one transaction of a group does not affect the others', async () => {
  const store = await Store.open(database);
  const host = { bootId: 'b', capacity: 1, registeredAt: at, tokenDigest: null, unreachableSince: null };
  const goOn = await holdUp(store);
  const settled = Promise.allSettled(
    ['one', 'two', 'one', 'three'].map((name, index) =>
      inTransaction(store, async (records) => {
        await records.audit.append([event(`o${index}`)]);
        await records.hosts.save({ id: `h${index}`, name, ...host });
      }),
    ),
  );
  await goOn();
  expect((await settled).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
  expect((await eventsIn(store)).map(({ object }) => object)).toEqual(['o0', 'o1', 'o3']);
  expect((await new Records(store.readConnection).hosts.listAll()).map(({ id }) => id).toSorted()).toEqual(['h0', 'h1', 'h3']);
  await store.close();
});

test('transactions requested in one turn of the event loop run in one group', async () => {
  const store = await Store.open(database);
  const outside = await openSql(database);
  const seenOutside: unknown[] = [];
  const ended: Promise<void>[] = [];
  // As HTTP requests are read: each from its own socket, with microtasks in between.
  for (let request = 0; request < 10; request += 1)
    setImmediate(() =>
      ended.push(
        inTransaction(store, async (records) => {
          await records.audit.append([event(`r${request}`)]);
          seenOutside.push(await countFrom(outside));
        }),
      ),
    );
  await vi.waitUntil(() => ended.length === 10);
  await Promise.all(ended);
  expect(seenOutside).toEqual(Array.from({ length: 10 }, () => 0));
  await outside.close();
  await store.close();
});

test('if every transaction of a group fails, nothing is committed and each rejects with its own reason', async () => {
  const store = await Store.open(database);
  const goOn = await holdUp(store);
  const failing = ['a', 'b'].map((name) =>
    inTransaction(store, async (records) => {
      await records.audit.append([event(name)]);
      throw new Error(`no ${name}`);
    }),
  );
  await goOn();
  expect(await Promise.allSettled(failing)).toMatchObject([{ reason: { message: 'no a' } }, { reason: { message: 'no b' } }]);
  expect(await eventsIn(store)).toEqual([]);
  await inTransaction(store, (records) => records.audit.append([event('c')]));
  expect(await eventsIn(store)).toMatchObject([{ number: 1, object: 'c' }]);
  await store.close();
});

// The limit belongs to the store; on PostgreSQL each transaction would be a round trip.
test.runIf(kind === 'sqlite')('rejects a transaction when the queue is full, and executes the queued ones', async () => {
  const store = await Store.open(database);
  const goOn = await holdUp(store);
  let carriedOut = 0;
  const waiting = Array.from({ length: transactionLimits.queueLength }, () =>
    store.transaction(async () => {
      carriedOut += 1;
    }),
  );
  await expect(store.transaction(async () => {})).rejects.toThrow(TooManyTransactions);
  await goOn();
  await Promise.all(waiting);
  expect(carriedOut).toBe(transactionLimits.queueLength);
  await store.close();
});

test('the audit trail is ordered by time, even for transactions that waited', async () => {
  const store = await Store.open(database);
  const earlier = new Date(at.getTime() - 1_000);
  const later = new Date(at.getTime() + 1_000);
  await inTransaction(store, (records) => records.audit.append([event('a')]));
  await inTransaction(store, (records) =>
    records.audit.append([
      { ...event('b'), at: earlier },
      { ...event('c'), at: later },
    ]),
  );
  await inTransaction(store, (records) => records.audit.append([event('d')]));
  const kept = await eventsIn(store);
  expect(kept.map(({ number, object, at: moment }) => [number, object, moment])).toEqual([
    [1, 'a', at],
    [2, 'b', at],
    [3, 'c', later],
    [4, 'd', later],
  ]);
  await store.close();
});

test('serves as many concurrent reads as there can be requests', async () => {
  const store = await Store.open(database);
  const { idempotentResponses, builds, keys } = new Records(store.readConnection);
  const reads = Array.from({ length: 2_000 }, (_, index) => [
    idempotentResponses.findMany([{ actor: 'key_1', key: String(index) }]),
    builds.find('tcp', String(index)),
    keys.find(String(index)),
  ]);
  expect(new Set((await Promise.all(reads.flat())).flat())).toEqual(new Set([null]));
  await store.close();
});

describe('batched transactions', () => {
  type Asked = readonly [object: string, what?: 'is refused' | 'throws' | 'is refused by the database'];

  /** Writes an event per request in a batch, and records the batches. */
  function writeTogether(store: Store, calls: string[][]) {
    return store.batched<Asked, number>(async (connection, asked) => {
      const records = new Records(connection);
      calls.push(asked.map(([object]) => object));
      const { number } = await records.audit.head();
      const accepted = asked.filter(([, what]) => what !== 'is refused');
      await records.audit.append(accepted.map(([object]) => event(object)));
      if (asked.some(([, what]) => what === 'throws')) throw new Error('thrown');
      const host = { id: 'h', name: 'host', bootId: 'b', capacity: 1, registeredAt: at, tokenDigest: null, unreachableSince: null };
      for (const [, what] of asked) if (what === 'is refused by the database') await records.hosts.save(host);
      return asked.map(([object, what]) => {
        if (what === 'is refused') return { status: 'rejected', reason: new Error(`${object} is refused`) };
        return { status: 'fulfilled', value: number + 1 + accepted.findIndex(([one]) => one === object) };
      });
    });
  }
  const notified = (results: PromiseSettledResult<number>[]) =>
    results.map((one) => (one.status === 'fulfilled' ? one.value : String(one.reason).split('\n')[0]));
  const objectsIn = async (store: Store) => (await eventsIn(store)).map(({ object }) => object);

  test('consecutive requests are executed by one call, in order, each with its own result', async () => {
    const store = await Store.open(database);
    const ends: TransactionEnd[] = [];
    const goOn = await holdUp(store);
    store.onTransactionEnd((end) => ends.push(end));
    const calls: string[][] = [];
    const write = writeTogether(store, calls);
    const settled = Promise.allSettled([
      write(['a']),
      write(['b', 'is refused']),
      write(['c']),
      inTransaction(store, async (records) => {
        await records.audit.append([event('d')]);
        return (await records.audit.head()).number;
      }),
      write(['e', 'is refused']),
      write(['f']),
    ]);
    await goOn();
    expect(notified(await settled)).toEqual([1, 'Error: b is refused', 2, 3, 'Error: e is refused', 4]);
    expect(calls).toEqual([
      ['a', 'b', 'c'],
      ['e', 'f'],
    ]);
    expect(await objectsIn(store)).toEqual(['a', 'c', 'd', 'f']);
    // Each transaction is measured, and the effects of a batch are reported once.
    expect(ends.slice(1).map((end) => (end.result === 'committed' ? end.events.map(({ object }) => object) : end.result))).toEqual([
      ...[['a', 'c'], 'rolled-back', [], ['d'], 'rolled-back', ['f']],
    ]);
    await store.close();
  });

  test.each(['throws', 'is refused by the database'] as const)(
    'a request that %s fails alone, and the others are executed',
    async (what) => {
      const store = await Store.open(database);
      const before = { id: 'g', name: 'host', bootId: 'b', capacity: 1, registeredAt: at, tokenDigest: null, unreachableSince: null };
      // The name is unique.
      await inTransaction(store, (records) => records.hosts.save(before));
      const goOn = await holdUp(store);
      const calls: string[][] = [];
      const write = writeTogether(store, calls);
      const settled = Promise.allSettled([write(['a']), write(['b', what]), write(['c', 'is refused']), write(['d'])]);
      await goOn();
      const [first, failed, refused, last] = notified(await settled);
      expect([first, refused, last]).toEqual([1, 'Error: c is refused', 2]);
      expect(String(failed)).toMatch(what === 'throws' ? /thrown/ : /unique constraint/i);
      expect(calls).toEqual([['a', 'b', 'c', 'd'], ['a'], ['b'], ['c'], ['d']]);
      expect(await objectsIn(store)).toEqual(['a', 'd']);
      await store.close();
    },
  );

  test('if all are rejected, nothing is committed', async () => {
    const store = await Store.open(database);
    const goOn = await holdUp(store);
    const write = writeTogether(store, []);
    const settled = Promise.allSettled([write(['a', 'is refused']), write(['b', 'is refused'])]);
    await goOn();
    expect(notified(await settled)).toEqual(['Error: a is refused', 'Error: b is refused']);
    expect(await objectsIn(store)).toEqual([]);
    await store.close();
  });

  test.runIf(kind === 'sqlite')('share the limit of the queue', async () => {
    const store = await Store.open(database);
    const goOn = await holdUp(store);
    let carriedOut = 0;
    const count = store.batched<null, null>(async (_records, asked) => {
      carriedOut += asked.length;
      return asked.map(() => ({ status: 'fulfilled', value: null }));
    });
    const waiting = Array.from({ length: transactionLimits.queueLength }, () => count(null));
    await expect(count(null)).rejects.toThrow(TooManyTransactions);
    await goOn();
    await Promise.all(waiting);
    expect(carriedOut).toBe(transactionLimits.queueLength);
    await store.close();
  });
});
