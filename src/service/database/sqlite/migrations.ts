// Applies migrations to a SQLite file.

import { randomUUID } from 'node:crypto';
import Database from 'better-sqlite3';
import {
  type BeforeCreation,
  computeChecksum,
  findPendingMigrations,
  type Migration,
  type RecordedMigration,
  readMigrations,
  selectRecordedMigrations,
} from '../migrations.ts';
import { backfillAuditHashes } from './backfill-audit-hashes.ts';
import { createPrivateFile } from './private-file.ts';

/** The table in which Prisma's tools record applied migrations. */
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

/** Returns the migrations of this version, in order. */
export const sqliteMigrations = (): Migration[] => readMigrations('migrations');

/**
 * Applies pending migrations to a database file, each in one transaction with its record. Creates the file, readable by its owner only, if it does not exist.
 * @throws {MigrationError} if an applied migration was changed, or is unknown.
 */
export function applyMigrations(
  databaseFile: string,
  migrations: readonly Migration[] = sqliteMigrations(),
  beforeCreation: BeforeCreation = () => {},
): void {
  createPrivateFile(databaseFile);
  const database = new Database(databaseFile);
  try {
    if (!hasMigrations(database)) beforeCreation();
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    database.exec(migrationsTable);
    const recorded = database.prepare<[], RecordedMigration>(selectRecordedMigrations).all();
    for (const migration of findPendingMigrations(recorded, migrations)) applyOne(database, migration);
  } finally {
    database.close();
  }
}

function hasMigrations(database: Database.Database): boolean {
  const tables = database.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_prisma_migrations'").all();
  return tables.length > 0;
}

/** Code that completes a migration in the same transaction. */
const completions = new Map([['20261124000007_audit_chain', backfillAuditHashes]]);

function applyOne(database: Database.Database, { name, sql }: Migration): void {
  const started = Date.now();
  database.transaction(() => {
    database.exec(sql);
    completions.get(name)?.(database);
    database
      .prepare(
        'INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, started_at, applied_steps_count) VALUES (?, ?, ?, ?, ?, 1)',
      )
      .run(randomUUID(), computeChecksum(sql), Date.now(), name, started);
  })();
}
