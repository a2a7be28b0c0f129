// The database behind what control needs of it: records to read, and transactions in which they change together.

import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import { PrismaClient } from './generated/client.ts';
import { applyMigrations } from './migrations.ts';
import { Records } from './records/records.ts';

/** How long a transaction may wait for the one before it, and last, in milliseconds. */
const transactionLimits = { maxWait: 30_000, timeout: 60_000 };

export class Store {
  /** Reads outside a transaction. */
  readonly records: Records;
  readonly #client: PrismaClient;

  private constructor(client: PrismaClient) {
    this.#client = client;
    this.records = new Records(client);
  }

  /**
   * Opens a database file, made and brought to the newest migration if need be.
   * @throws {MigrationError} when the file is of another version.
   */
  static async open(databaseFile: string): Promise<Store> {
    applyMigrations(databaseFile);
    const client = new PrismaClient({ adapter: new PrismaBetterSqlite3({ url: databaseFile }, { timestampFormat: 'unixepoch-ms' }) });
    // The driver's WAL default is NORMAL, which can lose what was acknowledged when the machine loses power.
    await client.$queryRawUnsafe('PRAGMA journal_mode = WAL');
    await client.$executeRawUnsafe('PRAGMA synchronous = FULL');
    await client.$executeRawUnsafe('PRAGMA foreign_keys = ON');
    return new Store(client);
  }

  /** Runs changes as one: when it resolves they are on disk, and when it rejects none of them is. */
  transaction<Result>(change: (records: Records) => Promise<Result>): Promise<Result> {
    return this.#client.$transaction((client) => change(new Records(client)), transactionLimits);
  }

  /** Whether the database can be written to; 2 is `synchronous = FULL`. */
  async health(): Promise<{ readonly writable: boolean; readonly synchronous: number }> {
    const [row] = await this.#client.$queryRawUnsafe<{ synchronous: bigint | number }[]>('PRAGMA synchronous');
    try {
      await this.#client.$transaction((client) => client.$executeRawUnsafe('UPDATE "_prisma_migrations" SET logs = logs WHERE id IS NULL'));
      return { writable: true, synchronous: Number(row?.synchronous ?? -1) };
    } catch {
      return { writable: false, synchronous: Number(row?.synchronous ?? -1) };
    }
  }

  async close(): Promise<void> {
    await this.#client.$disconnect();
  }
}
