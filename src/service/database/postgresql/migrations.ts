// Brings a PostgreSQL database to the newest migration, once however many replicas of the service start together.

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

/** The table in which Prisma's own tools record what they have applied. */
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

/** The lock of Prisma's own tools, so that they wait too (`migrate deploy`, schema engine). */
const migrationLock = 72_707_369;
/** How long one replica waits while others apply migrations, in milliseconds. */
const patience = 300_000;

/** Those of this version, in their order. */
export const postgresqlMigrations = (): Migration[] => readMigrations('postgresql/migrations');

/** @throws {MigrationError} when a migration that was applied has changed since, or is not among those given. */
export async function applyMigrations(
  url: string,
  migrations: readonly Migration[] = postgresqlMigrations(),
  beforeCreation: BeforeCreation = () => {},
): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  // A connection that ends is told by the statement that is under way.
  client.on('error', () => {});
  await client.connect();
  try {
    await client.query(`SET lock_timeout = ${patience}`);
    // It goes with the connection.
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
  const { rows } = await client.query<{ isThere: boolean }>(`SELECT to_regclass('"_prisma_migrations"') IS NOT NULL AS "isThere"`);
  return rows[0]?.isThere === true;
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
