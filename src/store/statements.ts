// Statements of the hot paths, written by hand: prepared once, and run for many rows in one go on the connection that Prisma has.

import type Database from 'better-sqlite3';

/** What a statement is given, and what it answers: times are milliseconds since 1970, truth values 0 and 1, JSON is text. */
export type Value = string | number | null | Uint8Array;

/** A statement of a fixed text, prepared for each connection that runs it. */
export class Statement<Found = never> {
  readonly sql: string;
  readonly #prepared = new WeakMap<Database.Database, Database.Statement<Value[], Found>>();

  constructor(sql: string) {
    this.sql = sql;
  }

  on(database: Database.Database): Database.Statement<Value[], Found> {
    const known = this.#prepared.get(database);
    if (known !== undefined) return known;
    const prepared = database.prepare<Value[], Found>(this.sql).safeIntegers(false);
    this.#prepared.set(database, prepared);
    return prepared;
  }
}

/** Runs statements on one connection: in a transaction, if one is open there. */
export class Statements {
  readonly #database: () => Database.Database;

  /** @param database Asked with each statement, for Prisma connects with its first. */
  constructor(database: () => Database.Database) {
    this.#database = database;
  }

  /** Runs a statement once for each row of parameters. Answers how many rows each of them has changed. */
  async each(statement: Statement, rows: readonly (readonly Value[])[]): Promise<number[]> {
    if (rows.length === 0) return [];
    const prepared = statement.on(this.#database());
    return rows.map((row) => prepared.run(...row).changes);
  }

  /** Every row that a query answers. */
  async all<Found>(query: Statement<Found>, parameters: readonly Value[]): Promise<Found[]> {
    return query.on(this.#database()).all(...parameters);
  }
}
