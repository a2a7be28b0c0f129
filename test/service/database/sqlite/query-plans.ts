// The query plans of statements of the repositories.

import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import Database from 'better-sqlite3';
import { z } from 'zod';
import type { Connection } from '../../../../src/service/database/connection.ts';
import { PrismaClient } from '../../../../src/service/database/generated/client.ts';
import { createReader, type Reader } from '../../../../src/service/database/reader.ts';
import { SqliteConnection } from '../../../../src/service/database/sqlite/connection.ts';
import { Records } from '../../records.ts';

const Step = z.object({ detail: z.string() });

export class QueryPlans {
  /** The connection whose statements are explained. */
  readonly records: Records;
  readonly readConnection: Connection;
  readonly reader: Reader;
  readonly #client;
  readonly #database: Database.Database;
  /** Called with each statement before it is executed. */
  readonly #noted: Database.Database;
  #queries: { readonly sql: string; readonly parameters: readonly unknown[] }[] = [];

  /** @param file A migrated database. */
  constructor(file: string) {
    this.#client = new PrismaClient({
      adapter: new PrismaBetterSqlite3({ url: file }, { timestampFormat: 'unixepoch-ms' }),
      log: [{ emit: 'event', level: 'query' }],
    });
    this.#client.$on('query', ({ query, params }) =>
      this.#queries.push({ sql: query, parameters: z.array(z.unknown()).parse(JSON.parse(params)) }),
    );
    this.#database = new Database(file);
    const noted = new Database(file, { verbose: (sql) => this.#queries.push({ sql: String(sql), parameters: [] }) });
    this.#noted = noted;
    this.reader = createReader(this.#client, () => {});
    this.readConnection = new SqliteConnection(
      () => noted,
      () => {},
    );
    this.records = new Records(this.readConnection);
  }

  /** Returns the plan steps of each statement that the work executes. */
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
    this.#noted.close();
    await this.#client.$disconnect();
  }
}
