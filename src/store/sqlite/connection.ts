// One connection to the database file: Prisma's, and the statements that run on it past Prisma.

import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import type { SqlDriverAdapter, SqlDriverAdapterFactory } from '@prisma/driver-adapter-utils';
import Database from 'better-sqlite3';
import { PrismaClient } from '../generated/client.ts';
import type { Statements } from '../statements.ts';
import { SqliteStatements } from './statements.ts';

export type SqliteConnection = {
  readonly client: PrismaClient;
  readonly statements: Statements;
  /** Runs a statement without parameters, in the transaction that is open. */
  readonly run: (sql: string) => void;
};

/**
 * Opens a connection.
 * @param pragmas How it is to be: run before anything else.
 */
export async function openConnection(databaseFile: string, pragmas: readonly string[]): Promise<SqliteConnection> {
  const adapter = new SharedAdapter(databaseFile);
  const client = new PrismaClient({ adapter });
  for (const pragma of pragmas) await client.$queryRawUnsafe(`PRAGMA ${pragma}`);
  const run = (sql: string) => {
    adapter.database.exec(sql);
  };
  return { client, statements: new SqliteStatements(() => adapter.database), run };
}

/** Prisma's adapter, which lets its connection be used beside it. */
class SharedAdapter implements SqlDriverAdapterFactory {
  readonly provider = 'sqlite';
  readonly adapterName: string;
  readonly #factory: PrismaBetterSqlite3;
  #database: Database.Database | null = null;

  constructor(databaseFile: string) {
    this.#factory = new PrismaBetterSqlite3({ url: databaseFile }, { timestampFormat: 'unixepoch-ms' });
    this.adapterName = this.#factory.adapterName;
  }

  get database(): Database.Database {
    if (this.#database === null) throw new Error('the connection to the database is not open');
    return this.#database;
  }

  async connect(): Promise<SqlDriverAdapter> {
    const adapter = await this.#factory.connect();
    // Prisma's adapter calls it that, and says so nowhere: a version that does not would be seen here.
    if (!('client' in adapter) || !(adapter.client instanceof Database))
      throw new Error('the adapter of Prisma has no connection of better-sqlite3');
    this.#database = adapter.client;
    return adapter;
  }
}
