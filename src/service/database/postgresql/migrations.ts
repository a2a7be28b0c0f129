// Applies migrations to a PostgreSQL database, once even if several replicas of the service start at the same time.

import { randomUUID } from 'node:crypto';
import pg from 'pg';
import {
  type BeforeCreation,
  computeChecksum,
  findPendingMigrations,
  type Migration,
  type RecordedMigration,
  readMigrations,
  selectRecordedMigrations,
} from '../migrations.ts';

/** The table in which Prisma's tools record applied migrations. */
const migrationsTable = `
  CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
    "id" VARCHAR(36) PRIMARY KEY NOT NULL,
    "checksum" VARCHAR(64) NOT NULL,
    "finished_at" TIMESTAMPTZ,
    "migration_name" VARCHAR(255) NOT NULL,
    "logs" TEXT,
    "rolled_back_at" TIMESTAMPTZ,
    "started_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
    "applied_steps_count" INTEGER NOT NULL DEFAULT 0
  )`;

/** The advisory lock of Prisma's tools (`migrate deploy`), so that they wait too. */
const migrationLock = 72_707_369;
/** How long a replica waits while another applies migrations, in milliseconds. */
const lockTimeout = 300_000;

/** Returns the migrations of this version, in order. */
export const postgresqlMigrations = (): Migration[] => readMigrations('postgresql/migrations');

/** Applies pending migrations, each in a transaction with its record. @throws {MigrationError} if an applied migration was changed, or is unknown. */
export async function applyMigrations(
  url: string,
  migrations: readonly Migration[] = postgresqlMigrations(),
  beforeCreation: BeforeCreation = () => {},
): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  // A lost connection rejects the pending statement.
  client.on('error', () => {});
  await client.connect();
  try {
    await client.query(`SET lock_timeout = ${lockTimeout}`);
    // Released with the connection.
    await client.query('SELECT pg_advisory_lock($1)', [migrationLock]);
    if (!(await hasMigrations(client))) beforeCreation();
    await client.query(migrationsTable);
    const { rows } = await client.query<RecordedMigration>(selectRecordedMigrations);
    for (const migration of findPendingMigrations(rows, migrations)) await applyOne(client, migration);
  } finally {
    await client.end();
  }
}

async function hasMigrations(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ exists: boolean }>(`SELECT to_regclass('"_prisma_migrations"') IS NOT NULL AS "exists"`);
  return rows[0]?.exists === true;
}

async function applyOne(client: pg.Client, { name, sql }: Migration): Promise<void> {
  const started = new Date();
  await client.query('BEGIN');
  try {
    await client.query(sql);
    await client.query(
      'INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, started_at, applied_steps_count) VALUES ($1, $2, now(), $3, $4, 1)',
      [randomUUID(), computeChecksum(sql), name, started],
    );
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}
