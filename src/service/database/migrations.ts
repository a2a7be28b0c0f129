// The migrations in the repository. The service applies them itself at startup, without the Prisma engine and without network access.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** This version of the service cannot use the database; the message says why. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

export type Migration = { readonly name: string; readonly sql: string };

/** Reads the migrations in a folder below `prisma/`, in order. */
export function readMigrations(folder: string): Migration[] {
  const path = fileURLToPath(new URL(`../../../prisma/${folder}`, import.meta.url));
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => ({ name, sql: readFileSync(`${path}/${name}/migration.sql`, 'utf8') }))
    .toSorted((left, right) => (left.name < right.name ? -1 : 1));
}

/** A row of the table in which Prisma's tools record applied migrations. */
export type RecordedMigration = {
  readonly migration_name: string;
  readonly checksum: string;
  readonly finished_at: unknown;
  readonly rolled_back_at: unknown;
};

/** Selects the rows of that table. */
export const selectRecordedMigrations = 'SELECT migration_name, checksum, finished_at, rolled_back_at FROM _prisma_migrations';

/** Called before the first migration is applied to a database; if it throws, the database stays unchanged. */
export type BeforeCreation = () => void;

/** Returns the migrations that must still be applied. @throws {MigrationError} if an applied migration was changed, or is unknown. */
export function findPendingMigrations(recorded: readonly RecordedMigration[], migrations: readonly Migration[]): Migration[] {
  const applied = recorded.filter(({ finished_at, rolled_back_at }) => finished_at !== null && rolled_back_at === null);
  const checksums = new Map(applied.map(({ migration_name, checksum }) => [migration_name, checksum]));
  for (const name of checksums.keys()) {
    if (!migrations.some((migration) => migration.name === name))
      throw new MigrationError(
        `the database has migration ${name}, which this version does not know: use the newer version of the service, or restore a backup from before the upgrade`,
      );
  }
  return migrations.filter(({ name, sql }) => {
    const checksum = checksums.get(name);
    if (checksum !== undefined && checksum !== computeChecksum(sql))
      throw new MigrationError(`migration ${name} was changed after it was applied to this database: restore the original file`);
    return checksum === undefined;
  });
}

/** Returns sentences that describe how the recorded migrations differ from those of this version; empty if they match. */
export function findMigrationFaults(recorded: readonly RecordedMigration[], migrations: readonly Migration[]): string[] {
  const active = recorded.filter(({ rolled_back_at }) => rolled_back_at === null);
  const names = new Set(migrations.map(({ name }) => name));
  const unknown = new Set(active.map(({ migration_name }) => migration_name).filter((name) => !names.has(name)));
  const faults = [...unknown].map((name) => `the database has migration ${name}, which this version does not know`);
  for (const { name, sql } of migrations) {
    const records = active.filter(({ migration_name }) => migration_name === name);
    const finished = records.filter(({ finished_at }) => finished_at !== null);
    if (finished.length < records.length) faults.push(`migration ${name} was started but not finished`);
    else if (finished.length === 0) faults.push(`migration ${name} is not applied: restart the service to apply it`);
    else if (finished.some(({ checksum }) => checksum !== computeChecksum(sql)))
      faults.push(`migration ${name} was changed after it was applied`);
  }
  return faults;
}

export function computeChecksum(sql: string): string {
  return createHash('sha256').update(sql).digest('hex');
}
