// The committed migrations, applied by the service itself at its start: no engine, no network.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The database is not one that this version of the service can use; the message says why. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

export type Migration = { readonly name: string; readonly sql: string };

/** The migrations in a folder beside `prisma/`, in their order. */
export function readMigrations(folder: string): Migration[] {
  const path = fileURLToPath(new URL(`../../../prisma/${folder}`, import.meta.url));
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => ({ name, sql: readFileSync(`${path}/${name}/migration.sql`, 'utf8') }))
    .toSorted((left, right) => (left.name < right.name ? -1 : 1));
}

/** A row of the table in which Prisma's own tools record what they have applied. */
export type RecordedMigration = {
  readonly migration_name: string;
  readonly checksum: string;
  readonly finished_at: unknown;
  readonly rolled_back_at: unknown;
};

/** Reads that table. */
export const selectRecordedMigrations = 'SELECT migration_name, checksum, finished_at, rolled_back_at FROM _prisma_migrations';

/** Called before anything is made in a database that has no migration yet; where it throws, the database stays as it was. */
export type BeforeCreation = () => void;

/** Which migrations a database with these records is still to have. @throws {MigrationError} when one of its has changed since, or is none of them. */
export function findPendingMigrations(recorded: readonly RecordedMigration[], migrations: readonly Migration[]): Migration[] {
  const applied = recorded.filter(({ finished_at, rolled_back_at }) => finished_at !== null && rolled_back_at === null);
  const checksums = new Map(applied.map(({ migration_name, checksum }) => [migration_name, checksum]));
  for (const name of checksums.keys()) {
    if (!migrations.some((migration) => migration.name === name))
      throw new MigrationError(
        `the database has the migration ${name}, which this version does not know: use the newer version of the service that wrote it, or restore a backup from before its upgrade`,
      );
  }
  return migrations.filter(({ name, sql }) => {
    const checksum = checksums.get(name);
    if (checksum !== undefined && checksum !== computeChecksum(sql))
      throw new MigrationError(`the migration ${name} has changed since it was applied to this database: restore its file`);
    return checksum === undefined;
  });
}

/** Why a database with these records is not the one of the migrations, in words; nothing where it is. */
export function findMigrationFaults(recorded: readonly RecordedMigration[], migrations: readonly Migration[]): string[] {
  const standing = recorded.filter(({ rolled_back_at }) => rolled_back_at === null);
  const names = new Set(migrations.map(({ name }) => name));
  const unknown = new Set(standing.map(({ migration_name }) => migration_name).filter((name) => !names.has(name)));
  const faults = [...unknown].map((name) => `the database has the migration ${name}, which this version does not know`);
  for (const { name, sql } of migrations) {
    const records = standing.filter(({ migration_name }) => migration_name === name);
    const finished = records.filter(({ finished_at }) => finished_at !== null);
    if (finished.length < records.length) faults.push(`the migration ${name} was begun and has not been finished`);
    else if (finished.length === 0) faults.push(`the migration ${name} is not applied: start the service again, which applies it`);
    else if (finished.some(({ checksum }) => checksum !== computeChecksum(sql)))
      faults.push(`the migration ${name} has changed since it was applied`);
  }
  return faults;
}

export function computeChecksum(sql: string): string {
  return createHash('sha256').update(sql).digest('hex');
}
