// Statements that are written once for both databases: what they are given comes back the same, whatever it is.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Engine } from '../../../src/service/database/engine.ts';
import { PostgresqlEngine } from '../../../src/service/database/postgresql/engine.ts';
import { SqliteEngine } from '../../../src/service/database/sqlite/engine.ts';
import { change, insertion, Query, removal, type Statements, type Type, type Value } from '../../../src/service/database/statements.ts';
import { kind, newDatabase, runSql } from '../../databases.ts';

const folder = mkdtempSync(join(tmpdir(), 'patchbay-statements-'));
let engine: Engine;

/** As Prisma has columns of these types. */
const columns = {
  sqlite: '"integer" BIGINT, "time" DATETIME, "truth" BOOLEAN, "json" JSONB, "bytes" BLOB, "text" TEXT',
  postgresql: '"integer" BIGINT, "time" TIMESTAMP(3), "truth" BOOLEAN, "json" JSONB, "bytes" BYTEA, "text" TEXT COLLATE "C"',
};

beforeAll(async () => {
  const database = await newDatabase(folder);
  await runSql(database, `CREATE TABLE "Kept" ("number" INTEGER NOT NULL, ${columns[kind]})`);
  engine = kind === 'sqlite' ? await SqliteEngine.open(database) : await PostgresqlEngine.open(database);
});
afterAll(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

const values = { integer: 'integer', time: 'time', truth: 'truth', json: 'json', bytes: 'bytes', text: 'text' } as const;
const names = Object.keys(values);
const insert = insertion('Kept', { number: 'integer', ...values });
// In another order than it is given, and some of it two times.
const update = change(
  'Kept',
  { number: 'integer', ...values },
  names
    .toReversed()
    .map((name) => `"${name}" = :${name}`)
    .join(', '),
  '"number" = :number AND (:text = :text OR :text IS NULL)',
);
const remove = removal('Kept', { number: 'integer', text: 'text' }, '"number" = :number AND "text" = :text');
const read = new Query<Row & { readonly number: number }>(
  {},
  `SELECT "number", ${names.map((name) => `"${name}"`).join(', ')} FROM "Kept" ORDER BY "number"`,
);

/** Any text but U+0000, which PostgreSQL does not have; words of SQL among them. */
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
  .filter((any) => !any.includes('\\u0000'));
const row = fc.record({
  integer: fc.option(fc.oneof(fc.integer(), fc.maxSafeInteger())),
  // From the year 1 to the year 9999.
  time: fc.option(fc.integer({ min: Date.parse('0001-01-01T00:00:00.000Z'), max: Date.parse('9999-12-31T23:59:59.999Z') })),
  truth: fc.option(fc.constantFrom(0, 1)),
  json: fc.option(json),
  bytes: fc.option(fc.uint8Array({ maxLength: 300 })),
  text: fc.option(text),
});
const rows = fc.array(row, { maxLength: 12 });
type Row = typeof row extends fc.Arbitrary<infer Found> ? Found : never;

const given = (one: Row): Value[] => [one.integer, one.time, one.truth, one.json, one.bytes, one.text];
/** JSON in the order and the form that the database keeps it is the same. */
const comparable = <One extends Row>({ json: kept, bytes, ...rest }: One) => ({
  ...rest,
  json: kept === null ? null : JSON.parse(kept),
  bytes: bytes === null ? null : [...bytes],
});

/** Runs statements of which nothing stays. */
async function trying(work: (statements: Statements) => Promise<void>): Promise<void> {
  const enough = new Error('enough');
  const trial = engine.transaction(
    async ({ part }) => {
      await part(({ statements }) => work(statements));
      throw enough;
    },
    { maxWait: 10_000, timeout: 60_000 },
  );
  await trial.catch((error) => {
    if (error !== enough) throw error;
  });
}

const numbered = (given: readonly Row[]) => given.map((one, number) => ({ number, ...one }));
const keptRows = async (statements: Statements) => (await statements.all(read, [])).map(comparable);

test('rows that are inserted come back the same, and so do those that they are changed to', async () => {
  await fc.assert(
    fc.asyncProperty(rows, rows, (first, second) =>
      trying(async (statements) => {
        const before = numbered(first);
        expect(
          await statements.each(
            insert,
            before.map((one) => [one.number, ...given(one)]),
          ),
        ).toEqual(first.map(() => 1));
        expect(await keptRows(statements)).toEqual(before.map(comparable));
        const changes = numbered(second);
        const changed = await statements.each(
          update,
          changes.map((one) => [one.number, ...given(one)]),
        );
        // There may be no row of that number.
        expect(changed).toEqual(changes.map(({ number }) => (number < first.length ? 1 : 0)));
        expect(await keptRows(statements)).toEqual(before.map((one) => comparable(changes[one.number] ?? one)));
        const removals = before.map((one, index) => [one.number, index % 2 === 0 ? (changes[index] ?? one).text : 'another'] as const);
        const removed = await statements.each(remove, removals);
        expect(removed).toEqual(removals.map(([, words], index) => (index % 2 === 0 && words !== null ? 1 : 0)));
        expect((await keptRows(statements)).map(({ number }) => number)).toEqual(
          before.map(({ number }) => number).filter((number) => removed[number] === 0),
        );
      }),
    ),
  );
});

const found = (condition: string, type: Type) =>
  new Query<{ readonly number: number }>({ wanted: type }, `SELECT "number" FROM "Kept" WHERE ${condition} ORDER BY "number"`);
const finding = {
  integer: found('"integer" = :wanted', 'integer'),
  time: found('"time" = :wanted', 'time'),
  truth: found('"truth" = :wanted', 'truth'),
  bytes: found('"bytes" = :wanted', 'bytes'),
  text: found('"text" = :wanted', 'text'),
};
const findingAny = found('"text" IN :wanted', 'list');
const isEqual = (left: Value, right: Value) =>
  left !== null &&
  right !== null &&
  (left instanceof Uint8Array ? right instanceof Uint8Array && Buffer.compare(left, right) === 0 : left === right);

test('what is asked for is found by what it is, and by a list of what it may be', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 12 }), fc.array(text, { maxLength: 5 }), (some, texts) =>
      trying(async (statements) => {
        const all = numbered(some);
        await statements.each(
          insert,
          all.map((one) => [one.number, ...given(one)]),
        );
        const wanted = all[0];
        if (wanted === undefined) return;
        for (const name of ['integer', 'time', 'truth', 'bytes', 'text'] as const) {
          const expected = all.filter((one) => isEqual(one[name], wanted[name]));
          expect(await statements.all(finding[name], [wanted[name]])).toEqual(expected.map(({ number }) => ({ number })));
        }
        const list = [...texts, ...some.flatMap((one, index) => (index % 2 === 0 && one.text !== null ? [one.text] : []))];
        const expected = all.filter((one) => one.text !== null && list.includes(one.text));
        expect(await statements.all(findingAny, [JSON.stringify(list)])).toEqual(expected.map(({ number }) => ({ number })));
      }),
    ),
  );
});
