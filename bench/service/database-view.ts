// Reads the database of the service from outside while the service runs; it sees only committed data.

import Database from 'better-sqlite3';

export class DatabaseView {
  readonly #database: Database.Database;

  constructor(file: string) {
    this.#database = new Database(file, { readonly: true });
  }

  /** Returns the first value of the only row. */
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

  /** Returns the stored rows. */
  rows(sql: string, ...parameters: unknown[]): Record<string, unknown>[] {
    return this.#database.prepare<unknown[], Record<string, unknown>>(sql).all(...parameters);
  }

  attachedDevices(): number {
    return this.number('SELECT COUNT(*) FROM "Device" WHERE "attachedBootId" IS NOT NULL');
  }

  /** Returns the device identifiers in creation order. */
  devices(): string[] {
    return this.texts('SELECT "id" FROM "Device" ORDER BY "createdAt", "id"');
  }

  /** Returns whether a load has not ended; uses an index in any case. */
  hasOpenLoads(): boolean {
    return this.number(`SELECT EXISTS (SELECT 1 FROM "Load" WHERE "outcome" IS NULL)`) === 1;
  }

  /** Counts loads by outcome. */
  outcomes(batch: string): Map<string, number> {
    const rows = this.rows('SELECT "outcome", COUNT(*) AS "loads" FROM "Load" WHERE "batchId" = ? GROUP BY "outcome"', batch);
    return new Map(rows.map(({ outcome, loads }) => [String(outcome), Number(loads)]));
  }

  /** Copies the current database into a file. */
  copyTo(file: string): void {
    this.#database.prepare('VACUUM INTO ?').run(file);
  }

  close(): void {
    this.#database.close();
  }
}
