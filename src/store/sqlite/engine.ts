// SQLite: one file, and one process that writes it.

import type { Connection, Engine, Transaction, TransactionLimits } from '../engine.ts';
import { type RecordedMigration, readRecorded } from '../migrations.ts';
import { Repeated } from '../repeated.ts';
import type { Repetition } from '../repetition.ts';
import { openConnection, type SqliteConnection } from './connection.ts';

/** Pages of 4 KiB that the log may have before they are brought over into the database: most are written several times until then, and brought over once. */
export const logPages = 8_000;
/** The driver's default of `synchronous` is NORMAL in WAL, which can lose what was acknowledged when the machine loses power. */
const writing = [
  'journal_mode = WAL',
  'synchronous = FULL',
  'foreign_keys = ON',
  // Of pages that a savepoint may bring back: by itself they are in a file where there are more than 16.
  'temp_store = MEMORY',
  `wal_autocheckpoint = ${logPages}`,
];
const reading = ['query_only = ON'];
/** What `PRAGMA synchronous` says of FULL. */
const full = 2;
/** Of `PRAGMA user_version`. */
const highestNumber = 2 ** 31;
/** How long it may take to see whether the database takes writes, in milliseconds. */
const probeLimits = { maxWait: 5_000, timeout: 5_000 };

/**
 * Two connections: the driver runs whatever comes between `BEGIN` and `COMMIT` in that transaction, whoever it is from. On one connection a
 * read would see what may yet be taken back, and a write be lost with a transaction that it has nothing to do with.
 */
export class SqliteEngine implements Engine {
  readonly #writer: SqliteConnection;
  readonly #reader: SqliteConnection;

  private constructor(writer: SqliteConnection, reader: SqliteConnection) {
    this.#writer = writer;
    this.#reader = reader;
  }

  /** Opens a file that has all migrations. */
  static async open(databaseFile: string): Promise<SqliteEngine> {
    return new SqliteEngine(await openConnection(databaseFile, writing), await openConnection(databaseFile, reading));
  }

  get reading(): Connection {
    return this.#reader;
  }

  async transaction<Result>(work: (transaction: Transaction) => Promise<Result>, limits: TransactionLimits): Promise<Result> {
    const { client: writer, statements, run } = this.#writer;
    return writer.$transaction((client) => {
      const part = async (carryOut: (connection: Connection) => Promise<void>, isAll = false) => {
        // A savepoint has every page copied that is changed after it.
        if (isAll) return carryOut({ client, statements });
        run('SAVEPOINT part');
        try {
          await carryOut({ client, statements });
        } catch (error) {
          run('ROLLBACK TO part');
          throw error;
        } finally {
          run('RELEASE part');
        }
      };
      return work({ part, announce: () => {} });
    }, limits);
  }

  /** There are no replicas. */
  onAnnouncement(): void {}

  repeat(_name: string, interval: number, work: () => Promise<void>): Repetition {
    return new Repeated(interval, work);
  }

  async sharedTime(): Promise<null> {
    return null;
  }

  async isDurable(): Promise<boolean> {
    const [row] = await this.#writer.client.$queryRawUnsafe<{ synchronous: bigint | number }[]>('PRAGMA synchronous');
    return Number(row?.synchronous) === full;
  }

  /** A row that is given the values that it has is not written, so that a full disk would not be seen; a number that nobody reads is. */
  async probe(): Promise<void> {
    await this.#writer.client.$transaction(async (client) => {
      const [row] = await client.$queryRawUnsafe<{ user_version: bigint | number }[]>('PRAGMA user_version');
      await client.$executeRawUnsafe(`PRAGMA user_version = ${(Number(row?.user_version ?? 0) + 1) % highestNumber}`);
    }, probeLimits);
  }

  recordedMigrations(): Promise<RecordedMigration[]> {
    return this.#reader.client.$queryRawUnsafe<RecordedMigration[]>(readRecorded);
  }

  async close(): Promise<void> {
    await this.#reader.client.$disconnect();
    await this.#writer.client.$disconnect();
  }
}
