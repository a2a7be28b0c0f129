// One connection to the database file: Prisma's, and the statements that run on it past Prisma.

import { setTimeout as delay } from 'node:timers/promises';
import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import type { SqlDriverAdapter, SqlDriverAdapterFactory, SqlQuery, Transaction } from '@prisma/driver-adapter-utils';
import Database from 'better-sqlite3';
import { PrismaClient } from '../generated/client.ts';
import type { Statements } from '../statements.ts';
import { DatabaseUnavailable } from '../unavailable.ts';
import { SqliteStatements } from './statements.ts';

/** How a transaction waits for the write lock of the file, in milliseconds. */
export type LockWait = {
  /** How long it waits before it gives up. */
  readonly limit: number;
  /** How often it tries. SQLite's own waiting would block the event loop. */
  readonly interval: number;
};

/** How long a read may block the event loop for another process, in milliseconds: in WAL mode only while that process recovers the log. */
const readTimeout = 100;

export type SqliteConnection = {
  readonly client: PrismaClient;
  readonly statements: Statements;
  /** Runs a statement without parameters, in the transaction that is open. @throws {DatabaseUnavailable} where SQLite has ended the transaction. */
  readonly run: (sql: string) => void;
  /** The number that a statement without parameters returns. */
  readonly readNumber: (sql: string) => number;
  /** Whether a transaction is open. SQLite ends it by itself where the disk is full or fails. */
  readonly isInTransaction: () => boolean;
};

/**
 * Opens a connection that writes: its transactions have the write lock from their beginning.
 * @param pragmas How it is to be: run before anything else.
 */
export async function openWriter(databaseFile: string, pragmas: readonly string[], lockWait: LockWait): Promise<SqliteConnection> {
  return openConnection(new SharedAdapter(databaseFile, lockWait), pragmas);
}

/** Opens a connection that reads what is committed. */
export async function openReader(databaseFile: string): Promise<SqliteConnection> {
  return openConnection(new SharedAdapter(databaseFile, null), ['query_only = ON']);
}

async function openConnection(adapter: SharedAdapter, pragmas: readonly string[]): Promise<SqliteConnection> {
  const client = new PrismaClient({ adapter });
  for (const pragma of pragmas) await client.$queryRawUnsafe(`PRAGMA ${pragma}`);
  return {
    client,
    statements: new SqliteStatements(() => adapter.database),
    run: (sql) => void adapter.database.exec(sql),
    readNumber: (sql) => Number(adapter.database.prepare(sql).pluck().get()),
    isInTransaction: () => adapter.isInTransaction,
  };
}

/** Prisma's adapter, which lets its connection be used beside it. */
class SharedAdapter implements SqlDriverAdapterFactory {
  readonly provider = 'sqlite';
  readonly adapterName: string;
  readonly #factory: PrismaBetterSqlite3;
  /** Null where the connection only reads. */
  readonly #lockWait: LockWait | null;
  #database: Database.Database | null = null;
  /** Whether a transaction was begun and not ended yet, by this adapter. */
  #isBegun = false;

  constructor(databaseFile: string, lockWait: LockWait | null) {
    const timeout = lockWait === null ? readTimeout : 0;
    this.#factory = new PrismaBetterSqlite3({ url: databaseFile, timeout }, { timestampFormat: 'unixepoch-ms' });
    this.adapterName = this.#factory.adapterName;
    this.#lockWait = lockWait;
  }

  get isInTransaction(): boolean {
    return this.#database?.inTransaction === true;
  }

  /** @throws {DatabaseUnavailable} in a transaction that SQLite has ended: what runs there now would be committed by itself. */
  get database(): Database.Database {
    if (this.#database === null) throw new Error('the connection to the database is not open');
    if (this.#isBegun && !this.#database.inTransaction) throw transactionEnded();
    return this.#database;
  }

  async connect(): Promise<SqlDriverAdapter> {
    const adapter = await this.#factory.connect();
    // Prisma's adapter calls it that, and says so nowhere: a version that does not would be seen here.
    if (!('client' in adapter) || !(adapter.client instanceof Database))
      throw new Error('the adapter of Prisma has no connection of better-sqlite3');
    const database = adapter.client;
    this.#database = database;
    const lockWait = this.#lockWait;
    if (lockWait === null) return adapter;
    const start = adapter.startTransaction.bind(adapter);
    return Object.assign(adapter, {
      startTransaction: async () => {
        const transaction = await start();
        try {
          await takeWriteLock(database, lockWait);
        } catch (error) {
          await transaction.rollback();
          throw error;
        }
        this.#isBegun = true;
        return this.#guarded(database, transaction);
      },
    });
  }

  /** A transaction that runs nothing after SQLite has ended it, and is over when it has ended, however it did. */
  #guarded(database: Database.Database, transaction: Transaction): Transaction {
    const release = transaction.rollback.bind(transaction);
    const end = async (sql: 'COMMIT' | 'ROLLBACK') => {
      this.#isBegun = false;
      try {
        if (database.inTransaction) database.exec(sql);
        else if (sql === 'COMMIT') throw transactionEnded();
      } finally {
        // A commit that has failed may leave it open.
        if (database.inTransaction) database.exec('ROLLBACK');
        await release();
      }
    };
    const queryRaw = transaction.queryRaw.bind(transaction);
    const executeRaw = transaction.executeRaw.bind(transaction);
    return Object.assign(transaction, {
      // So Prisma leaves it to the adapter to end the transaction.
      options: { usePhantomQuery: true },
      commit: () => end('COMMIT'),
      rollback: () => end('ROLLBACK'),
      queryRaw: async (query: SqlQuery) => (database.inTransaction ? queryRaw(query) : Promise.reject(transactionEnded())),
      executeRaw: async (query: SqlQuery) => (database.inTransaction ? executeRaw(query) : Promise.reject(transactionEnded())),
    });
  }
}

const transactionEnded = () =>
  new DatabaseUnavailable({
    detail: 'SQLite has ended the transaction: its disk is full or fails',
    retryAfterSeconds: 5,
    isTransient: false,
    isLost: false,
  });

/** Turns the transaction that Prisma's adapter has begun, and in which nothing was read, into one with the write lock. @throws {SqliteError} `SQLITE_BUSY` past the limit. */
async function takeWriteLock(database: Database.Database, { limit, interval }: LockWait): Promise<void> {
  database.exec('ROLLBACK');
  const deadline = performance.now() + limit;
  for (;;) {
    try {
      database.exec('BEGIN IMMEDIATE');
      return;
    } catch (error) {
      if (!isLocked(error)) throw error;
      if (performance.now() >= deadline)
        throw new DatabaseUnavailable(
          {
            detail: `another process has held the lock of the database file for ${limit / 1_000} s: end what locks it, as a backup or a shell`,
            retryAfterSeconds: 1,
            isTransient: true,
            isLost: false,
          },
          { cause: error },
        );
    }
    await delay(interval);
  }
}

const isLocked = (error: unknown) => error instanceof Database.SqliteError && /^SQLITE_(?:BUSY|LOCKED)/.test(error.code);
