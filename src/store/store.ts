// The database behind what control needs of it: records to read, and transactions in which they change together.

import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import { PrismaClient } from './generated/client.ts';
import { applyMigrations, committedMigrations, type Migration, migrationFaults, type RecordedMigration } from './migrations.ts';
import type { Committed } from './records/committed.ts';
import { Records } from './records/records.ts';

/** How long a transaction may wait for the one before it, and last, in milliseconds. */
const transactionLimits = { maxWait: 30_000, timeout: 60_000 };

/** How long it may take to see whether the database takes writes, in milliseconds. */
const probeLimits = { maxWait: 5_000, timeout: 5_000 };
/** Of `PRAGMA user_version`. */
const highestNumber = 2 ** 31;

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
  readonly #migrations: readonly Migration[];
  #listener: (end: TransactionEnd) => void = () => {};

  private constructor(writer: PrismaClient, reader: PrismaClient, migrations: readonly Migration[]) {
    this.#writer = writer;
    this.#reader = reader;
    this.#migrations = migrations;
    this.records = new Records(reader);
  }

  /**
   * Opens a database file, made and brought to the newest migration if need be.
   * @throws {MigrationError} when the file is of another version.
   */
  static async open(databaseFile: string): Promise<Store> {
    const migrations = committedMigrations();
    applyMigrations(databaseFile, migrations);
    const writer = connect(databaseFile);
    // The driver's WAL default is NORMAL, which can lose what was acknowledged when the machine loses power.
    await writer.$queryRawUnsafe('PRAGMA journal_mode = WAL');
    await writer.$executeRawUnsafe('PRAGMA synchronous = FULL');
    await writer.$executeRawUnsafe('PRAGMA foreign_keys = ON');
    const reader = connect(databaseFile);
    await reader.$executeRawUnsafe('PRAGMA query_only = ON');
    return new Store(writer, reader, migrations);
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

  /**
   * Whether the database can be written to, which is tried; 2 is `synchronous = FULL`. And why it is not the database of this version, in words.
   */
  async health(): Promise<{ readonly writable: boolean; readonly synchronous: number; readonly migrationFaults: readonly string[] }> {
    const [row] = await this.#writer.$queryRawUnsafe<{ synchronous: bigint | number }[]>('PRAGMA synchronous');
    const synchronous = Number(row?.synchronous ?? -1);
    return { writable: await this.#takesWrites(), synchronous, migrationFaults: await this.#migrationFaults() };
  }

  /** A row that is given the values that it has is not written, so that a full disk would not be seen; a number that nobody reads is. */
  async #takesWrites(): Promise<boolean> {
    try {
      await this.#writer.$transaction(async (client) => {
        const [row] = await client.$queryRawUnsafe<{ user_version: bigint | number }[]>('PRAGMA user_version');
        await client.$executeRawUnsafe(`PRAGMA user_version = ${(Number(row?.user_version ?? 0) + 1) % highestNumber}`);
      }, probeLimits);
      return true;
    } catch {
      return false;
    }
  }

  async #migrationFaults(): Promise<string[]> {
    try {
      const recorded = await this.#reader.$queryRawUnsafe<RecordedMigration[]>(
        'SELECT migration_name, checksum, finished_at, rolled_back_at FROM _prisma_migrations',
      );
      return migrationFaults(recorded, this.#migrations);
    } catch {
      return ['the database does not say which migrations it has'];
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
