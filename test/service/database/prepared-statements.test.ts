// Prepared statements on both databases: any value is read back unchanged.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import type { ColumnType } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Connection } from '../../../src/service/database/connection.ts';
import type { Engine } from '../../../src/service/database/engine.ts';
import { Json } from '../../../src/service/database/json.ts';
import { PostgresqlEngine } from '../../../src/service/database/postgresql/engine.ts';
import { PreparedQuery, RowStatement } from '../../../src/service/database/prepared-statements.ts';
import { SqliteEngine } from '../../../src/service/database/sqlite/engine.ts';
import { kind, newDatabase, runSql } from '../../databases.ts';

const folder = mkdtempSync(join(tmpdir(), 'patchbay-prepared-'));
let engine: Engine;

/** Columns as Prisma declares these types. */
const columns = {
  sqlite: '"integer" BIGINT, "time" DATETIME, "boolean" BOOLEAN, "json" JSONB, "bytes" BLOB, "text" TEXT',
  postgresql: '"integer" BIGINT, "time" TIMESTAMP(3), "boolean" BOOLEAN, "json" JSONB, "bytes" BYTEA, "text" TEXT COLLATE "C"',
};

beforeAll(async () => {
  const database = await newDatabase(folder);
  await runSql(database, `CREATE TABLE "Kept" ("number" INTEGER NOT NULL, ${columns[kind]})`);
  engine = kind === 'sqlite' ? new SqliteEngine(database) : await PostgresqlEngine.open(database);
});
afterAll(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

type Kept = {
  readonly number: number;
  readonly integer: bigint | null;
  readonly time: Date | null;
  readonly boolean: boolean | null;
  readonly json: ColumnType<unknown, Json | null, Json | null>;
  readonly bytes: Uint8Array | null;
  readonly text: string | null;
};
const keptIn = (sql: Connection['sql']) => sql.withTables<{ Kept: Kept }>();

const values = { integer: 'bigint?', time: 'time?', boolean: 'boolean?', json: 'json?', bytes: 'bytes?', text: 'text?' } as const;
const insert = new RowStatement({ number: 'integer', ...values }, (sql, row) => keptIn(sql).insertInto('Kept').values(row));
// In another order than the parameters, with constants, and with repeated parameters.
const update = new RowStatement({ number: 'integer', ...values }, (sql, row) =>
  keptIn(sql)
    .updateTable('Kept')
    .set({ text: row.text, bytes: row.bytes, json: row.json, boolean: row.boolean, time: row.time, integer: row.integer })
    .where('number', '=', row.number)
    .where('number', '>=', 0)
    .where((is) => is.or([is(row.text, '=', row.text), is(row.text, 'is', null)])),
);
const remove = new RowStatement({ number: 'integer', text: 'text?' }, (sql, row) =>
  keptIn(sql).deleteFrom('Kept').where('number', '=', row.number).where('text', '=', row.text),
);
const read = new PreparedQuery({}, (sql) => keptIn(sql).selectFrom('Kept').selectAll().orderBy('number'));

/** Any string without U+0000, which PostgreSQL cannot store; SQL keywords included. */
const text = fc.oneof(
  fc.string({ unit: 'binary' }).map((any) => any.replaceAll('\0', '')),
  fc.constantFrom(
    '',
    ' ',
    "'",
    '"',
    '\\',
    '\\x00',
    '\\u0041',
    ':number',
    '$1',
    '?',
    '{}',
    'null',
    '%',
    '\r\n',
    '\u{10ffff}',
    '\ufeff',
    'é',
    'é',
  ),
);
const json = fc
  .jsonValue({ stringUnit: 'binary' })
  .map((any) => JSON.stringify({ any, all: [any] }))
  .filter((any) => !any.includes('\\u0000'))
  .map((any) => Json.ofText(any));
const row = fc.record({
  integer: fc.option(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  // From the year 1 to the year 9999.
  time: fc.option(
    fc.integer({ min: Date.parse('0001-01-01T00:00:00.000Z'), max: Date.parse('9999-12-31T23:59:59.999Z') }).map((time) => new Date(time)),
  ),
  boolean: fc.option(fc.boolean()),
  json: fc.option(json),
  bytes: fc.option(fc.uint8Array({ maxLength: 300 })),
  text: fc.option(text),
});
const rows = fc.array(row, { maxLength: 12 });
type Row = typeof row extends fc.Arbitrary<infer Found> ? Found : never;

const numbered = (given: readonly Row[]) => given.map((one, number) => ({ number, ...one }));
/** A row as it is read. */
const asRead = <One extends Row>({ json: kept, bytes, ...rest }: One) => ({
  ...rest,
  json: kept === null ? null : JSON.parse(kept.text),
  bytes: bytes === null ? null : [...bytes],
});
const keptRows = async (connection: Connection) =>
  (await connection.query(read, {})).map(({ bytes, ...one }) => ({ ...one, bytes: bytes === null ? null : [...bytes] }));

/** Runs statements in a transaction that is rolled back. */
async function trying(work: (connection: Connection) => Promise<void>): Promise<void> {
  const enough = new Error('enough');
  const trial = engine.transaction(async ({ savepoint }) => {
    await savepoint(work);
    throw enough;
  }, 60_000);
  await trial.catch((error) => {
    if (error !== enough) throw error;
  });
}

test('inserted and updated rows are read back unchanged', async () => {
  await fc.assert(
    fc.asyncProperty(rows, rows, (first, second) =>
      trying(async (connection) => {
        const before = numbered(first);
        expect(await connection.executeForRows(insert, before)).toEqual(first.map(() => 1));
        expect(await keptRows(connection)).toEqual(before.map(asRead));
        const changes = numbered(second);
        const changed = await connection.executeForRows(update, changes);
        // The row may not exist.
        expect(changed).toEqual(changes.map(({ number }) => (number < first.length ? 1 : 0)));
        expect(await keptRows(connection)).toEqual(before.map((one) => asRead(changes[one.number] ?? one)));
        const removals = before.map(({ number }, index) => ({
          number,
          text: index % 2 === 0 ? ((changes[index] ?? before[index])?.text ?? null) : 'another',
        }));
        const removed = await connection.executeForRows(remove, removals);
        expect(removed).toEqual(removals.map(({ text: words }, index) => (index % 2 === 0 && words !== null ? 1 : 0)));
        expect((await keptRows(connection)).map(({ number }) => number)).toEqual(
          before.map(({ number }) => number).filter((number) => removed[number] === 0),
        );
      }),
    ),
  );
});

const findInteger = new PreparedQuery({ wanted: 'bigint?' }, (sql, { wanted }) =>
  keptIn(sql).selectFrom('Kept').select('number').where('integer', '=', wanted).orderBy('number'),
);
const findTime = new PreparedQuery({ wanted: 'time?' }, (sql, { wanted }) =>
  keptIn(sql).selectFrom('Kept').select('number').where('time', '=', wanted).orderBy('number'),
);
const findTruth = new PreparedQuery({ wanted: 'boolean?' }, (sql, { wanted }) =>
  keptIn(sql).selectFrom('Kept').select('number').where('boolean', '=', wanted).orderBy('number'),
);
const findBytes = new PreparedQuery({ wanted: 'bytes?' }, (sql, { wanted }) =>
  keptIn(sql).selectFrom('Kept').select('number').where('bytes', '=', wanted).orderBy('number'),
);
const findText = new PreparedQuery({ wanted: 'text?' }, (sql, { wanted }) =>
  keptIn(sql).selectFrom('Kept').select('number').where('text', '=', wanted).orderBy('number'),
);
const findAny = new PreparedQuery({ wanted: 'list' }, (sql, { wanted }) =>
  keptIn(sql)
    .selectFrom('Kept')
    .select('number')
    .where(({ ref }) => wanted.includes(ref('text')))
    .orderBy('number'),
);

/** Finds rows by a value of each type: as a prepared query, and as one that is built with the value in it. */
const find = {
  integer: (to: Connection, { integer: wanted }: Row) => to.query(findInteger, { wanted }),
  time: (to: Connection, { time: wanted }: Row) => to.query(findTime, { wanted }),
  boolean: (to: Connection, { boolean: wanted }: Row) => to.query(findTruth, { wanted }),
  bytes: (to: Connection, { bytes: wanted }: Row) => to.query(findBytes, { wanted }),
  text: (to: Connection, { text: wanted }: Row) => to.query(findText, { wanted }),
};
const findDirectly = (connection: Connection, column: 'integer' | 'time' | 'boolean' | 'bytes' | 'text', wanted: Row) =>
  keptIn(connection.sql)
    .selectFrom('Kept')
    .select('number')
    .where((is) => {
      if (column === 'integer') return is(column, '=', wanted[column]);
      if (column === 'time') return is(column, '=', wanted[column]);
      if (column === 'boolean') return is(column, '=', wanted[column]);
      return column === 'bytes' ? is(column, '=', wanted[column]) : is(column, '=', wanted[column]);
    })
    .orderBy('number')
    .execute();

const comparable = (value: Row[keyof Row]) => (value instanceof Uint8Array ? `\\x${Buffer.from(value).toString('hex')}` : value?.valueOf());
const isEqual = (left: Row[keyof Row], right: Row[keyof Row]) => left !== null && right !== null && comparable(left) === comparable(right);

test('queries find rows by value and by list', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 12 }), fc.array(text, { maxLength: 5 }), (some, texts) =>
      trying(async (connection) => {
        const all = numbered(some);
        await connection.executeForRows(insert, all);
        const wanted = all[0];
        if (wanted === undefined) return;
        for (const column of ['integer', 'time', 'boolean', 'bytes', 'text'] as const) {
          const expected = all.filter((one) => isEqual(one[column], wanted[column])).map(({ number }) => ({ number }));
          expect(await find[column](connection, wanted)).toEqual(expected);
          expect(await findDirectly(connection, column, wanted)).toEqual(expected);
        }
        const list = [...texts, ...some.flatMap((one, index) => (index % 2 === 0 && one.text !== null ? [one.text] : []))];
        const expected = all.filter((one) => one.text !== null && list.includes(one.text));
        expect(await connection.query(findAny, { wanted: list })).toEqual(expected.map(({ number }) => ({ number })));
      }),
    ),
  );
});

const findPairs = new PreparedQuery({ wanted: 'pairs' }, (sql, { wanted }) =>
  keptIn(sql)
    .selectFrom(wanted.as('wanted'))
    .leftJoin('Kept', (join) => join.onRef('Kept.text', '=', 'wanted.first').onRef('Kept.text', '<>', 'wanted.second'))
    .select(['wanted.position', 'wanted.first', 'wanted.second', 'Kept.number'])
    .orderBy('wanted.position', 'desc'),
);

test('a query receives pairs of strings as rows with their positions', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(text, text), { maxLength: 5 }), (pairs) =>
      trying(async (connection) => {
        const words = [...new Set(pairs.flat())];
        const nothing = { integer: null, time: null, boolean: null, json: null, bytes: null };
        await connection.executeForRows(insert, numbered(words.map((word) => ({ ...nothing, text: word }))));
        const expected = pairs.map(([one, other], position) => {
          return { position, first: one, second: other, number: one === other ? null : words.indexOf(one) };
        });
        expect(await connection.query(findPairs, { wanted: pairs })).toEqual(expected.toReversed());
      }),
    ),
  );
});

test('returned rows have the types of their columns', async () => {
  await trying(async ({ sql }) => {
    const one = {
      number: 1,
      integer: 2n,
      time: new Date(3),
      boolean: true,
      json: Json.of({ a: [null] }),
      bytes: new Uint8Array([4]),
      text: 'five',
    };
    const written = await keptIn(sql).insertInto('Kept').values(one).returningAll().executeTakeFirstOrThrow();
    expect({ ...written, bytes: [...(written.bytes ?? [])] }).toEqual({ ...one, json: { a: [null] }, bytes: [4] });
    const { numUpdatedRows } = await keptIn(sql).updateTable('Kept').set({ boolean: false }).where('number', '=', 1).executeTakeFirst();
    expect(numUpdatedRows).toBe(1n);
    const { count } = await keptIn(sql)
      .selectFrom('Kept')
      .select((its) => its.fn.countAll<number | bigint>().as('count'))
      .executeTakeFirstOrThrow();
    expect(Number(count)).toBe(1);
  });
});
