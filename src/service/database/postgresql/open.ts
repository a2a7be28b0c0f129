// Opens a PostgreSQL database.

import type { BeforeCreation, Migration } from '../migrations.ts';
import { PostgresqlEngine } from './engine.ts';
import { applyMigrations, postgresqlMigrations } from './migrations.ts';
import { rejectPooler } from './pooler.ts';
import { withServerErrors } from './server-errors.ts';

/**
 * Opens a database and applies pending migrations.
 * @throws {PoolerError} {MigrationError} {DatabaseUnavailable} if the server cannot be reached, or the connection is lost.
 */
export function openPostgresql(database: string, beforeCreation: BeforeCreation): Promise<[PostgresqlEngine, readonly Migration[]]> {
  return withServerErrors(async () => {
    await rejectPooler(database);
    const migrations = postgresqlMigrations();
    await applyMigrations(database, migrations, beforeCreation);
    return [await PostgresqlEngine.open(database), migrations];
  });
}
