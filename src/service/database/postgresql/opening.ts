// Opens a database of PostgreSQL.

import type { BeforeCreation, Migration } from '../migrations.ts';
import { PostgresqlEngine } from './engine.ts';
import { applyMigrations, postgresqlMigrations } from './migrations.ts';
import { refusePooler } from './pooler.ts';
import { atServer } from './server-failures.ts';

/**
 * Opens a database, made and brought to the newest migration if need be.
 * @throws {PoolerError} {MigrationError} {DatabaseUnavailable} where the server cannot be reached, or is lost meanwhile.
 */
export function openPostgresql(database: string, beforeCreation: BeforeCreation): Promise<[PostgresqlEngine, readonly Migration[]]> {
  return atServer(async () => {
    await refusePooler(database);
    const migrations = postgresqlMigrations();
    await applyMigrations(database, migrations, beforeCreation);
    return [await PostgresqlEngine.open(database), migrations];
  });
}
