// The committed migrations, applied by the service itself at its start: no engine, no network.

import { createHash, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { chainEvents } from './first-chain.ts';

const folder = fileURLToPath(new URL('../../prisma/migrations', import.meta.url));

/** The database is not one that this version of the service can use; the message says why. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

export type Migration = { readonly name: string; readonly sql: string };

/** The table in which Prisma's own tools record what they have applied. */
const migrationsTable = `
  CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
    "id" TEXT PRIMARY KEY NOT NULL,
    "checksum" TEXT NOT NULL,
    "finished_at" DATETIME,
    "migration_name" TEXT NOT NULL,
    "logs" TEXT,
    "rolled_back_at" DATETIME,
    "started_at" DATETIME NOT NULL DEFAULT current_timestamp,
    "applied_steps_count" INTEGER UNSIGNED NOT NULL DEFAULT 0
  )`;

/** The migrations under `prisma/migrations`, in their order. */
export function committedMigrations(): Migration[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => ({ name, sql: readFileSync(`${folder}/${name}/migration.sql`, 'utf8') }))
    .toSorted((left, right) => (left.name < right.name ? -1 : 1));
}

/**
 * Brings a database file to the newest migration, each in one transaction with its record.
 * @throws {MigrationError} when a migration that was applied has changed since, or is not among those given.
 */
export function applyMigrations(databaseFile: string, migrations: readonly Migration[] = committedMigrations()): void {
  const database = new Database(databaseFile);
  try {
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    database.exec(migrationsTable);
    const applied = new Map(readApplied(database));
    for (const name of applied.keys()) {
      if (!migrations.some((migration) => migration.name === name))
        throw new MigrationError(
          `the database has the migration ${name}, which this version does not know: use a newer version of the service`,
        );
    }
    for (const { name, sql } of migrations) {
      const checksum = checksumOf(sql);
      const recorded = applied.get(name);
      if (recorded === undefined) applyOne(database, name, sql, checksum);
      else if (recorded !== checksum)
        throw new MigrationError(`the migration ${name} has changed since it was applied to this database: restore its file`);
    }
  } finally {
    database.close();
  }
}

/** A row of that table. */
export type RecordedMigration = {
  readonly migration_name: string;
  readonly checksum: string;
  readonly finished_at: unknown;
  readonly rolled_back_at: unknown;
};

/** Why a database with these records is not the one of the migrations, in words; nothing where it is. */
export function migrationFaults(recorded: readonly RecordedMigration[], migrations: readonly Migration[]): string[] {
  const standing = recorded.filter(({ rolled_back_at }) => rolled_back_at === null);
  const names = new Set(migrations.map(({ name }) => name));
  const unknown = new Set(standing.map(({ migration_name }) => migration_name).filter((name) => !names.has(name)));
  const faults = [...unknown].map((name) => `the database has the migration ${name}, which this version does not know`);
  for (const { name, sql } of migrations) {
    const records = standing.filter(({ migration_name }) => migration_name === name);
    const finished = records.filter(({ finished_at }) => finished_at !== null);
    if (finished.length < records.length) faults.push(`the migration ${name} was begun and has not been finished`);
    else if (finished.length === 0) faults.push(`the migration ${name} is not applied: start the service again, which applies it`);
    else if (finished.some(({ checksum }) => checksum !== checksumOf(sql)))
      faults.push(`the migration ${name} has changed since it was applied`);
  }
  return faults;
}

function checksumOf(sql: string): string {
  return createHash('sha256').update(sql).digest('hex');
}

function readApplied(database: Database.Database): [string, string][] {
  const rows = database
    .prepare<[], { migration_name: string; checksum: string }>(
      'SELECT migration_name, checksum FROM _prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL',
    )
    .all();
  return rows.map((row) => [row.migration_name, row.checksum]);
}

/** What migrations do that SQL cannot, in the same transaction. */
const completions = new Map([['20261124000007_audit_chain', chainEvents]]);

function applyOne(database: Database.Database, name: string, sql: string, checksum: string): void {
  const started = Date.now();
  database.transaction(() => {
    database.exec(sql);
    completions.get(name)?.(database);
    database
      .prepare(
        'INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, started_at, applied_steps_count) VALUES (?, ?, ?, ?, ?, 1)',
      )
      .run(randomUUID(), checksum, Date.now(), name, started);
  })();
}
