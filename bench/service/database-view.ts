// The service's database, read from outside while the service runs: what can be read here is committed.

import Database from 'better-sqlite3';

export class DatabaseView {
  readonly #database: Database.Database;

  constructor(file: string) {
    this.#database = new Database(file, { readonly: true });
  }

  /** The first value of the only row. */
  number(sql: string, ...parameters: unknown[]): number {
    return Number(
      this.#database
        .prepare<unknown[], unknown>(sql)
        .pluck()
        .get(...parameters) ?? 0,
    );
  }

  texts(sql: string, ...parameters: unknown[]): string[] {
    return this.#database
      .prepare<unknown[], unknown>(sql)
      .pluck()
      .all(...parameters)
      .map(String);
  }

  /** Rows as they are kept. */
  rows(sql: string, ...parameters: unknown[]): Record<string, unknown>[] {
    return this.#database.prepare<unknown[], Record<string, unknown>>(sql).all(...parameters);
  }

  attachedDevices(): number {
    return this.number('SELECT COUNT(*) FROM "Device" WHERE "attachedBootId" IS NOT NULL');
  }

  /** Identifiers in the order in which the devices were made. */
  devices(): string[] {
    return this.texts('SELECT "id" FROM "Device" ORDER BY "createdAt", "id"');
  }

  /** Whether a load has not ended; found by an index whatever there is. */
  hasOpenLoads(): boolean {
    return this.number(`SELECT EXISTS (SELECT 1 FROM "Load" WHERE "outcome" IS NULL)`) === 1;
  }

  /** Loads by what came of them. */
  outcomes(batch: string): Map<string, number> {
    const rows = this.rows('SELECT "outcome", COUNT(*) AS "loads" FROM "Load" WHERE "batchId" = ? GROUP BY "outcome"', batch);
    return new Map(rows.map(({ outcome, loads }) => [String(outcome), Number(loads)]));
  }

  /** A copy as it is now, in a file of its own. */
  copyTo(file: string): void {
    this.#database.prepare('VACUUM INTO ?').run(file);
  }

  close(): void {
    this.#database.close();
  }
}
