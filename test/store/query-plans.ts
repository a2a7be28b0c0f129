// The plans by which the database carries out what the records ask of it.

import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import Database from 'better-sqlite3';
import { z } from 'zod';
import { PrismaClient } from '../../src/store/generated/client.ts';
import { Records } from '../../src/store/records/records.ts';
import { type Statement, Statements, type Value } from '../../src/store/statements.ts';

const Step = z.object({ detail: z.string() });

export class QueryPlans {
  /** Whose statements are explained. */
  readonly records: Records;
  readonly #client;
  readonly #database: Database.Database;
  #queries: { readonly sql: string; readonly parameters: readonly unknown[] }[] = [];

  /** @param file A database that is migrated. */
  constructor(file: string) {
    this.#client = new PrismaClient({
      adapter: new PrismaBetterSqlite3({ url: file }, { timestampFormat: 'unixepoch-ms' }),
      log: [{ emit: 'event', level: 'query' }],
    });
    this.#client.$on('query', ({ query, params }) =>
      this.#queries.push({ sql: query, parameters: z.array(z.unknown()).parse(JSON.parse(params)) }),
    );
    this.#database = new Database(file);
    this.records = new Records(
      this.#client,
      new NotedStatements(this.#database, (sql, parameters) => this.#queries.push({ sql, parameters })),
    );
  }

  /** The steps of the plans of what is asked of the records, a list for each statement. */
  async of(ask: () => Promise<unknown>): Promise<string[][]> {
    this.#queries = [];
    await ask();
    return this.#queries.map(({ sql, parameters }) =>
      this.#database
        .prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .all(...parameters)
        .map((row) => Step.parse(row).detail.replace('main.', '')),
    );
  }

  async close(): Promise<void> {
    this.#database.close();
    await this.#client.$disconnect();
  }
}

/** Statements of which each is told before it is run. */
class NotedStatements extends Statements {
  readonly #note: (sql: string, parameters: readonly Value[]) => void;

  constructor(database: Database.Database, note: (sql: string, parameters: readonly Value[]) => void) {
    super(() => database);
    this.#note = note;
  }

  override each(statement: Statement, rows: readonly (readonly Value[])[]): Promise<number[]> {
    for (const row of rows.slice(0, 1)) this.#note(statement.sql, row);
    return super.each(statement, rows);
  }

  override all<Found>(query: Statement<Found>, parameters: readonly Value[]): Promise<Found[]> {
    this.#note(query.sql, parameters);
    return super.all(query, parameters);
  }
}
