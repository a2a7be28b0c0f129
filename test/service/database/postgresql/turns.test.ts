// Turns to write, in which statements do not wait for each other: none of them is lost, or in a transaction that it is not of.

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Engine } from '../../../../src/service/database/engine.ts';
import { PostgresqlEngine } from '../../../../src/service/database/postgresql/engine.ts';
import { insertion } from '../../../../src/service/database/statements.ts';
import { newDatabase, runSql } from '../../../databases.ts';

const limits = { maxWait: 10_000, timeout: 60_000 };
const insert = insertion('Kept', { number: 'integer' });

let database: string;
let engine: Engine;
beforeEach(async () => {
  database = await newDatabase('');
  await runSql(database, 'CREATE TABLE "Kept" ("number" BIGINT PRIMARY KEY)');
  engine = await PostgresqlEngine.open(database);
});
afterEach(() => engine.close());

const kept = async () => (await runSql(database, 'SELECT "number" FROM "Kept" ORDER BY "number"')).map(({ number }) => number);

test('statements that are sent together are carried out in the order in which they were sent', async () => {
  const remove = insertion('Kept', { number: 'integer' }, 'ON CONFLICT ("number") DO UPDATE SET "number" = excluded."number" + 100');
  await engine.transaction(
    ({ part }) =>
      part(async ({ statements }) => {
        await Promise.all([statements.each(insert, [[1], [2]]), statements.each(remove, [[1]]), statements.each(insert, [[1]])]);
      }),
    limits,
  );
  expect(await kept()).toEqual([1, 2, 101]);
});

test('a transaction in which a statement has failed is not taken for committed, whoever has heeded it', async () => {
  const failing = engine.transaction(
    ({ part }) =>
      part(async ({ statements }) => {
        await statements.each(insert, [[1]]);
        await statements.each(insert, [[1]]).catch(() => {});
      }),
    limits,
  );
  await expect(failing).rejects.toThrow('COMMIT with ROLLBACK');
  expect(await kept()).toEqual([]);
});

test('an announcement that fails takes the transaction back, and says why', async () => {
  const failing = engine.transaction(async ({ part, announce }) => {
    await part(async ({ statements }) => {
      await statements.each(insert, [[1]]);
    });
    // PostgreSQL has no such character.
    announce('\0');
  }, limits);
  await expect(failing).rejects.toMatchObject({ message: expect.stringMatching('COMMIT with ROLLBACK'), cause: { code: '22021' } });
  expect(await kept()).toEqual([]);
});

test.each(['fails', 'succeeds'])('what a part that %s has yet to send is in no other', async (how) => {
  const goOn = Promise.withResolvers<void>();
  let late: Promise<unknown> = Promise.resolve();
  await engine.transaction(async ({ part }) => {
    const first = part(async ({ statements }) => {
      late = goOn.promise.then(() => statements.each(insert, [[1]]));
      if (how === 'fails') throw new Error('no');
    });
    if (how === 'fails') await expect(first).rejects.toThrow('no');
    else await first;
    await part(async ({ statements }) => {
      goOn.resolve();
      await expect(late).rejects.toThrow('already closed');
      await statements.each(insert, [[2]]);
    });
  }, limits);
  expect(await kept()).toEqual([2]);
});

test('what a transaction has yet to send when its time is over is in no other', async () => {
  const goOn = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const short = engine.transaction(
    ({ part }) =>
      part(async ({ statements }) => {
        await statements.each(insert, [[1]]);
        begun.resolve();
        await goOn.promise;
        await statements.each(insert, [[2]]);
      }),
    { ...limits, timeout: 500 },
  );
  await begun.promise;
  // Prisma takes it back, and does not wait for what is carried out in it.
  const open = `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`;
  await vi.waitUntil(async () => (await runSql(database, open)).length === 0, { timeout: 20_000 });
  goOn.resolve();
  await expect(short).rejects.toThrow('already closed');
  await engine.transaction(({ part }) => part(async ({ statements }) => void (await statements.each(insert, [[3]]))), limits);
  expect(await kept()).toEqual([3]);
});
