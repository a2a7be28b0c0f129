// SQLite: one file, and one process that writes it.

import { realpathSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection, Engine, Transaction, TransactionLimits } from '../engine.ts';
import type { Prisma } from '../generated/client.ts';
import { type RecordedMigration, readRecorded } from '../migrations.ts';
import { Repeated } from '../repeated.ts';
import type { Repetition } from '../repetition.ts';
import { DatabaseUnavailable } from '../unavailable.ts';
import { type LockWait, openReader, openWriter, type SqliteConnection } from './connection.ts';
import { DatabaseFiles } from './files.ts';
import type { DatabaseLock } from './lock.ts';
import { LogMarker } from './log-marker.ts';

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
/** What `PRAGMA synchronous` says of FULL. */
const full = 2;
/** Of `PRAGMA user_version`. */
const highestNumber = 2 ** 31;
/** How long it may take to see whether the database takes writes, in milliseconds. */
const probeLimits = { maxWait: 5_000, timeout: 5_000 };
/** How long a transaction waits for the write lock where another process has it, and how often it tries, in milliseconds. */
const lockWait: LockWait = { limit: 10_000, interval: 20 };
/** How often a mark is left in the header of the database, in milliseconds. */
const markInterval = 1_000;

/**
 * Two connections: the driver runs whatever comes between `BEGIN` and `COMMIT` in that transaction, whoever it is from. On one connection a
 * read would see what may yet be taken back, and a write be lost with a transaction that it has nothing to do with.
 */
export class SqliteEngine implements Engine {
  readonly #writer: SqliteConnection;
  readonly #reader: SqliteConnection;
  readonly #guard: DatabaseGuard | null;
  #markedAt = Number.NEGATIVE_INFINITY;

  private constructor(writer: SqliteConnection, reader: SqliteConnection, guard: DatabaseGuard | null) {
    this.#writer = writer;
    this.#reader = reader;
    this.#guard = guard;
  }

  /**
   * Opens a file that has all migrations.
   * @param lock The lock of the file, which is released with the engine; the files are guarded then. Null: the file may be in use by a service.
   * @param wait How transactions wait for other processes.
   */
  static async open(databaseFile: string, lock: DatabaseLock | null = null, wait: LockWait = lockWait): Promise<SqliteEngine> {
    const writer = await openWriter(databaseFile, writing, wait);
    const reader = await openReader(databaseFile);
    // The log and its index are there as soon as the database has been read.
    await reader.client.$queryRawUnsafe('SELECT COUNT(*) FROM sqlite_master');
    return new SqliteEngine(writer, reader, lock && new DatabaseGuard(realpathSync(databaseFile), lock));
  }

  get reading(): Connection {
    return this.#reader;
  }

  async transaction<Result>(work: (transaction: Transaction) => Promise<Result>, limits: TransactionLimits): Promise<Result> {
    const { client: writer } = this.#writer;
    this.#guard?.check();
    const result = await writer.$transaction(async (client) => {
      const done = await work({ part: this.#partsOf(client), announce: () => {} });
      this.#mark();
      return done;
    }, limits);
    // What went to a file that is not there any more is not acknowledged.
    this.#guard?.check();
    this.#guard?.recordCommitted();
    return result;
  }

  /** @throws {DatabaseUnavailable} where SQLite has ended the transaction: nothing of it is kept then, and nothing more is carried out. */
  #partsOf(client: Prisma.TransactionClient): Transaction['part'] {
    const { statements, run, isInTransaction } = this.#writer;
    let failure: unknown = null;
    return async (carryOut, isAll = false) => {
      if (failure !== null) throw failure;
      // A savepoint has every page copied that is changed after it.
      if (!isAll) run('SAVEPOINT part');
      try {
        await carryOut({ client, statements });
      } catch (error) {
        if (!isInTransaction()) failure = error;
        else if (!isAll) run('ROLLBACK TO part');
        throw error;
      } finally {
        if (!isAll && isInTransaction()) run('RELEASE part');
      }
    };
  }

  /** Leaves a mark in the header, by which the database differs from its copies; in the transaction that is open. */
  #mark(): void {
    if (performance.now() - this.#markedAt < markInterval) return;
    this.#countUp();
    this.#markedAt = performance.now();
  }

  /** Changes a number in the header that nobody reads; in the transaction that is open. */
  #countUp(): void {
    const { readNumber, run } = this.#writer;
    run(`PRAGMA user_version = ${(readNumber('PRAGMA user_version') + 1) % highestNumber}`);
  }

  /** There are no replicas. */
  onAnnouncement(): void {}

  repeat(_name: string, interval: number, work: () => Promise<void>): Repetition {
    return new Repeated(interval, work);
  }

  async sharedTime(): Promise<null> {
    return null;
  }

  /** Another process that reads just then keeps SQLite from it, which is no failure: it is done later. */
  async bringLogOver(): Promise<void> {
    const { isInTransaction, readNumber } = this.#writer;
    // SQLite refuses it on a connection with an open transaction.
    while (isInTransaction()) await delay(lockWait.interval);
    readNumber('PRAGMA wal_checkpoint(TRUNCATE)');
    if (this.#guard?.fault() === null) this.#guard.recordCommitted();
  }

  async isDurable(): Promise<boolean> {
    const [row] = await this.#writer.client.$queryRawUnsafe<{ synchronous: bigint | number }[]>('PRAGMA synchronous');
    return Number(row?.synchronous) === full;
  }

  fault(): string | null {
    return this.#guard?.fault() ?? null;
  }

  /** A row that is given the values that it has is not written, so that a full disk would not be seen; the number in the header is. */
  async probe(): Promise<void> {
    this.#guard?.check();
    await this.#writer.client.$transaction(async () => this.#countUp(), probeLimits);
  }

  recordedMigrations(): Promise<RecordedMigration[]> {
    return this.#reader.client.$queryRawUnsafe<RecordedMigration[]>(readRecorded);
  }

  async close(): Promise<void> {
    const isWhole = this.#guard?.fault() === null;
    await this.#reader.client.$disconnect();
    await this.#writer.client.$disconnect();
    this.#guard?.close(isWhole);
  }
}

/** Sees that the service is the only one on its database, and that the files are those that it has opened. */
class DatabaseGuard {
  readonly #files: DatabaseFiles;
  readonly #lock: DatabaseLock;
  readonly #marker: LogMarker;

  constructor(databaseFile: string, lock: DatabaseLock) {
    this.#files = new DatabaseFiles(databaseFile);
    this.#lock = lock;
    this.#marker = new LogMarker(databaseFile);
    this.recordCommitted();
  }

  /** Has the next start notice where what is committed now was lost; to be called after a check. */
  recordCommitted(): void {
    this.#marker.record(this.#files.logState());
  }

  fault(): string | null {
    return this.#files.fault() ?? this.#lock.fault();
  }

  /** @throws {DatabaseUnavailable} */
  check(): void {
    const fault = this.fault();
    if (fault === null) return;
    const detail = `${fault}: stop the service, and restore the database before you start it again`;
    throw new DatabaseUnavailable({ detail, retryAfterSeconds: 30, isTransient: false, isLost: true });
  }

  /** To be called when SQLite has closed the database. @param isWhole Whether there was no fault until then. */
  close(isWhole: boolean): void {
    this.#marker.close(isWhole);
    this.#files.close();
    this.#lock.release();
  }
}
