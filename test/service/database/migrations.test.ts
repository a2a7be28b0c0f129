// Migrations: applied once, recorded as Prisma records them, and refused where they are not those of this version.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { computeChecksum, MigrationError } from '../../../src/service/database/migrations.ts';
import { applyMigrations as applyToPostgresql, postgresqlMigrations } from '../../../src/service/database/postgresql/migrations.ts';
import { applyMigrations as applyToSqlite, sqliteMigrations } from '../../../src/service/database/sqlite/migrations.ts';
import { Store } from '../../../src/service/database/store.ts';
import { kind, newEmptyDatabase, runSql } from '../../databases.ts';
import { inTransaction } from '../records.ts';
import { event, eventsIn } from './events.ts';

const migrations = kind === 'sqlite' ? sqliteMigrations() : postgresqlMigrations();

let folder: string;
let database: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-store-'));
  database = await newEmptyDatabase(folder);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const apply = async (which = migrations) => (kind === 'sqlite' ? applyToSqlite(database, which) : applyToPostgresql(database, which));
const recorded = () =>
  runSql(
    database,
    `SELECT "migration_name" AS "name", "checksum", "applied_steps_count" AS "steps", "finished_at" >= "started_at" AS "finished"
      FROM "_prisma_migrations" ORDER BY "migration_name"`,
  );

test('they are applied once and recorded as Prisma records them', async () => {
  await apply();
  const first = await recorded();
  expect(first).toEqual(migrations.map(({ name, sql }) => ({ name, checksum: computeChecksum(sql), steps: 1, finished: 1 })));
  await apply();
  expect(await recorded()).toEqual(first);
});

test('a database that is opened has them, and what was written stays when it is opened again', async () => {
  const [first, second] = [await Store.open(database), await Store.open(database)];
  for (const store of [first, second]) expect((await store.health()).migrationFaults).toEqual([]);
  await inTransaction(first, (records) => records.audit.append([event('a')]));
  expect(await eventsIn(second)).toMatchObject([{ object: 'a' }]);
  for (const store of [first, second]) await store.close();
});

test('one that fails leaves the database as it was', async () => {
  await apply();
  const broken = { name: '29990101000000_broken', sql: 'CREATE TABLE "Half" ("x" INTEGER); CREATE NONSENSE;' };
  await expect(apply([...migrations, broken])).rejects.toThrow(/NONSENSE/);
  await expect(runSql(database, 'SELECT * FROM "Half"')).rejects.toThrow(/no such table|does not exist/);
  expect(await recorded()).toHaveLength(migrations.length);
  await apply();
});

test('a database whose migration has changed, or is of a newer version, is refused', async () => {
  await apply();
  const [first, ...rest] = migrations;
  if (first === undefined) throw new Error('no migrations');
  await expect(apply([{ ...first, sql: `${first.sql}\n-- changed` }, ...rest])).rejects.toThrow(MigrationError);
  await expect(apply([])).rejects.toThrow(/use the newer version of the service/);
});
