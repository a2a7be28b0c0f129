// Pipelined transactions: no statement is lost or executed in another transaction.

import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import type { Engine } from '../../../../src/service/database/engine.ts';
import { PostgresqlEngine } from '../../../../src/service/database/postgresql/engine.ts';
import { RowStatement } from '../../../../src/service/database/prepared-statements.ts';
import { Store } from '../../../../src/service/database/store.ts';
import { TransactionClosed } from '../../../../src/service/database/transaction-timeout.ts';
import { findUnavailability } from '../../../../src/service/database/unavailable.ts';
import { newDatabase, runSql } from '../../../databases.ts';

const timeout = 60_000;
const insert = new RowStatement({ number: 'integer' }, (sql, row) =>
  sql.withTables<{ Kept: { number: number } }>().insertInto('Kept').values(row),
);
const insertOrRaise = new RowStatement({ number: 'integer' }, (sql, row) =>
  sql
    .withTables<{ Kept: { number: number } }>()
    .insertInto('Kept')
    .values(row)
    .onConflict((conflict) => conflict.column('number').doUpdateSet((kept) => ({ number: kept('excluded.number', '+', 100) }))),
);

let database: string;
let engine: Engine;
beforeEach(async () => {
  database = await newDatabase('');
  await runSql(database, 'CREATE TABLE "Kept" ("number" BIGINT PRIMARY KEY)');
  engine = await PostgresqlEngine.open(database);
});
afterEach(() => engine.close());

const kept = async () => (await runSql(database, 'SELECT "number" FROM "Kept" ORDER BY "number"')).map(({ number }) => number);

test('pipelined statements are executed in the order in which they were sent', async () => {
  await engine.transaction(
    ({ savepoint }) =>
      savepoint(async (connection) => {
        await Promise.all([
          connection.executeForRows(insert, [{ number: 1 }, { number: 2 }]),
          connection.executeForRows(insertOrRaise, [{ number: 1 }]),
          connection.executeForRows(insert, [{ number: 1 }]),
        ]);
      }),
    timeout,
  );
  expect(await kept()).toEqual([1, 2, 101]);
});

test('a savepoint with a failed statement is rolled back even if the error was caught, and the others are committed', async () => {
  await engine.transaction(async ({ savepoint }) => {
    await savepoint((connection) => connection.executeForRows(insert, [{ number: 1 }]).then(() => {}));
    const failing = savepoint(async (connection) => {
      await connection.executeForRows(insert, [{ number: 2 }]);
      await connection.executeForRows(insert, [{ number: 2 }]).catch(() => {});
    });
    await expect(failing).rejects.toMatchObject({ code: '23505' });
    await savepoint((connection) => connection.executeForRows(insert, [{ number: 3 }]).then(() => {}));
  }, timeout);
  expect(await kept()).toEqual([1, 3]);
});

test('a failed notification rolls the transaction back with its reason', async () => {
  const failing = engine.transaction(async ({ savepoint, notify }) => {
    await savepoint(async (connection) => {
      await connection.executeForRows(insert, [{ number: 1 }]);
    });
    // PostgreSQL rejects this character.
    notify('\0');
  }, timeout);
  await expect(failing).rejects.toMatchObject({ message: expect.stringMatching('COMMIT with ROLLBACK'), cause: { code: '22021' } });
  expect(await kept()).toEqual([]);
});

test.each(['fails', 'succeeds'])('a statement after a savepoint that %s does not run in another savepoint', async (how) => {
  const goOn = Promise.withResolvers<void>();
  let late: Promise<unknown> = Promise.resolve();
  await engine.transaction(async ({ savepoint }) => {
    const first = savepoint(async (connection) => {
      late = goOn.promise.then(() => connection.executeForRows(insert, [{ number: 1 }]));
      if (how === 'fails') throw new Error('no');
    });
    if (how === 'fails') await expect(first).rejects.toThrow('no');
    else await first;
    await savepoint(async (connection) => {
      goOn.resolve();
      await expect(late).rejects.toThrow('already closed');
      await connection.executeForRows(insert, [{ number: 2 }]);
    });
  }, timeout);
  expect(await kept()).toEqual([2]);
});

test('a statement after a timeout does not run in another transaction', async () => {
  const goOn = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const short = engine.transaction(
    ({ savepoint }) =>
      savepoint(async (connection) => {
        await connection.executeForRows(insert, [{ number: 1 }]);
        begun.resolve();
        await goOn.promise;
        await connection.executeForRows(insert, [{ number: 2 }]);
      }),
    500,
  );
  const refused = expect(short).rejects.toThrow('took longer than 0.5 s');
  await begun.promise;
  // The rollback does not wait for running statements.
  const open = `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`;
  await vi.waitUntil(async () => (await runSql(database, open)).length === 0, { timeout: 20_000 });
  goOn.resolve();
  await refused;
  await engine.transaction(
    ({ savepoint }) => savepoint(async (connection) => void (await connection.executeForRows(insert, [{ number: 3 }]))),
    timeout,
  );
  expect(await kept()).toEqual([3]);
});

test('a statement after the end of its transaction fails as an unavailable database', () => {
  expect(findUnavailability(new TransactionClosed())).toMatchObject({ isTransient: true });
});

test('opening fails as an unavailable database while the server closes new connections', async () => {
  const server = createServer((socket) => socket.end());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : null;
  const failure: unknown = await Store.open(`postgresql://somebody@127.0.0.1:${port}/patchbay`).catch((error: unknown) => error);
  expect(findUnavailability(failure)).toMatchObject({ isTransient: true });
});
