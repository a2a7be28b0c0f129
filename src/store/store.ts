// The database behind what control needs of it: records to read, and transactions in which they change together.

import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import { PrismaClient } from './generated/client.ts';
import { applyMigrations } from './migrations.ts';
import type { Committed } from './records/committed.ts';
import { Records } from './records/records.ts';

/** How long a transaction may wait for the one before it, and last, in milliseconds. */
const transactionLimits = { maxWait: 30_000, timeout: 60_000 };

/** How a transaction ended, and how long it took from when it was asked for, the waiting for others included, in milliseconds. */
export type TransactionEnd = { readonly milliseconds: number } & (
  | { readonly result: 'rolled-back' }
  | ({ readonly result: 'committed' } & Committed)
);

/**
 * Two connections: the driver runs whatever comes between `BEGIN` and `COMMIT` in that transaction, whoever it is from. On one connection a
 * read would see what may yet be taken back, and a write be lost with a transaction that it has nothing to do with.
 */
export class Store {
  /** Reads outside a transaction, of what is committed; a write is refused. */
  readonly records: Records;
  readonly #writer: PrismaClient;
  readonly #reader: PrismaClient;
  #listener: (end: TransactionEnd) => void = () => {};

  private constructor(writer: PrismaClient, reader: PrismaClient) {
    this.#writer = writer;
    this.#reader = reader;
    this.records = new Records(reader);
  }

  /**
   * Opens a database file, made and brought to the newest migration if need be.
   * @throws {MigrationError} when the file is of another version.
   */
  static async open(databaseFile: string): Promise<Store> {
    applyMigrations(databaseFile);
    const writer = connect(databaseFile);
    // The driver's WAL default is NORMAL, which can lose what was acknowledged when the machine loses power.
    await writer.$queryRawUnsafe('PRAGMA journal_mode = WAL');
    await writer.$executeRawUnsafe('PRAGMA synchronous = FULL');
    await writer.$executeRawUnsafe('PRAGMA foreign_keys = ON');
    const reader = connect(databaseFile);
    await reader.$executeRawUnsafe('PRAGMA query_only = ON');
    return new Store(writer, reader);
  }

  /** Runs changes as one: when it resolves they are on disk, and when it rejects none of them is. */
  async transaction<Result>(change: (records: Records) => Promise<Result>): Promise<Result> {
    const asked = performance.now();
    const done = await this.#writer
      .$transaction(async (client) => {
        const records = new Records(client);
        return { result: await change(records), committed: records.committed };
      }, transactionLimits)
      .catch((error: unknown) => {
        this.#listener({ result: 'rolled-back', milliseconds: performance.now() - asked });
        throw error;
      });
    this.#listener({ result: 'committed', milliseconds: performance.now() - asked, ...done.committed });
    return done.result;
  }

  /** Has this one called after every transaction: what is committed is on disk by then. It must not throw. */
  onTransactionEnd(listener: (end: TransactionEnd) => void): void {
    this.#listener = listener;
  }

  /** Whether the database can be written to; 2 is `synchronous = FULL`. */
  async health(): Promise<{ readonly writable: boolean; readonly synchronous: number }> {
    const [row] = await this.#writer.$queryRawUnsafe<{ synchronous: bigint | number }[]>('PRAGMA synchronous');
    try {
      await this.#writer.$transaction((client) => client.$executeRawUnsafe('UPDATE "_prisma_migrations" SET logs = logs WHERE id IS NULL'));
      return { writable: true, synchronous: Number(row?.synchronous ?? -1) };
    } catch {
      return { writable: false, synchronous: Number(row?.synchronous ?? -1) };
    }
  }

  async close(): Promise<void> {
    await this.#reader.$disconnect();
    await this.#writer.$disconnect();
  }
}

function connect(databaseFile: string): PrismaClient {
  return new PrismaClient({ adapter: new PrismaBetterSqlite3({ url: databaseFile }, { timestampFormat: 'unixepoch-ms' }) });
}
