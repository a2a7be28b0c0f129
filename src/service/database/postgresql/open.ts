// Opens a database of PostgreSQL.

import type { BeforeCreation, Migration } from '../migrations.ts';
import { PostgresqlEngine } from './engine.ts';
import { applyMigrations, postgresqlMigrations } from './migrations.ts';
import { rejectPooler } from './pooler.ts';
import { withServerErrors } from './server-errors.ts';

/**
 * Opens a database, made and brought to the newest migration if need be.
 * @throws {PoolerError} {MigrationError} {DatabaseUnavailable} where the server cannot be reached, or is lost meanwhile.
 */
export function openPostgresql(database: string, beforeCreation: BeforeCreation): Promise<[PostgresqlEngine, readonly Migration[]]> {
  return withServerErrors(async () => {
    await rejectPooler(database);
    const migrations = postgresqlMigrations();
    await applyMigrations(database, migrations, beforeCreation);
    return [await PostgresqlEngine.open(database), migrations];
  });
}
