// SQLite: one file, and one process that writes it.

import { realpathSync } from 'node:fs';
import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import Database from 'better-sqlite3';
import type { Connection } from '../connection.ts';
import type { Engine, Transaction } from '../engine.ts';
import { PrismaClient } from '../generated/client.ts';
import { LocalRecurringJob } from '../local-recurring-job.ts';
import { type RecordedMigration, selectRecordedMigrations } from '../migrations.ts';
import type { OnUnreadable } from '../readable-rows.ts';
import type { RecurringJob } from '../recurring-job.ts';
import { DatabaseUnavailable } from '../unavailable.ts';
import { SqliteConnection } from './connection.ts';
import { DatabaseFiles } from './files.ts';
import type { DatabaseLock } from './lock.ts';
import { LogMarker } from './log-marker.ts';
import { type LockWait, Writer } from './writer.ts';

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
const probeTimeout = 5_000;
/** How long a transaction waits for the write lock where another process has it, and how often it tries, in milliseconds. */
const lockWait: LockWait = { limit: 10_000, interval: 20 };
/** How often a mark is left in the header of the database, in milliseconds. */
const markInterval = 1_000;

/** How long a read may block the event loop for another process, in milliseconds: in WAL mode only while that process recovers the log. */
const readTimeout = 100;

/**
 * The connection that writes, and those that read what is committed: on one connection a read would see what may yet be taken back, and a write would be
 * lost with a transaction that it has nothing to do with.
 */
export class SqliteEngine implements Engine {
  readonly readConnection: Connection;
  readonly client: PrismaClient;
  readonly #writer: Writer;
  readonly #reader: Database.Database;
  readonly #guard: DatabaseGuard | null;
  #unreadableListener: OnUnreadable = () => {};
  #markedAt = Number.NEGATIVE_INFINITY;

  /**
   * Opens a file that has all migrations.
   * @param lock The lock of the file, which is released with the engine; the files are guarded then. Null: the file may be in use by a service.
   * @param wait How transactions wait for other processes.
   */
  constructor(databaseFile: string, lock: DatabaseLock | null = null, wait: LockWait = lockWait) {
    const onUnreadable: OnUnreadable = (row) => this.#unreadableListener(row);
    this.#writer = new Writer(databaseFile, { pragmas: writing, lockWait: wait, onUnreadable });
    this.#reader = new Database(databaseFile, { readonly: true, timeout: readTimeout });
    // The log and its index are there as soon as the database has been read.
    this.#reader.prepare('SELECT COUNT(*) FROM sqlite_master').get();
    this.readConnection = new SqliteConnection(() => this.#reader, onUnreadable);
    const adapter = new PrismaBetterSqlite3(
      { url: databaseFile, readonly: true, timeout: readTimeout },
      { timestampFormat: 'unixepoch-ms' },
    );
    this.client = new PrismaClient({ adapter });
    // Not with the first list: there may be no file left to be opened then, or another in the place of this one.
    this.client.$connect().catch(() => {});
    this.#guard = lock && new DatabaseGuard(realpathSync(databaseFile), lock);
  }

  async transaction<Result>(work: (transaction: Transaction) => Promise<Result>, timeout: number): Promise<Result> {
    this.#guard?.check();
    const result = await this.#writer.transaction(
      (part) => work({ savepoint: part, notify: () => {} }),
      timeout,
      () => this.#mark(),
    );
    // What went to a file that is not there any more is not acknowledged.
    this.#guard?.check();
    this.#guard?.recordCommitted();
    return result;
  }

  /** Leaves a mark in the header, by which the database differs from its copies; in the transaction that is open. */
  #mark(): void {
    if (performance.now() - this.#markedAt < markInterval) return;
    this.#countUp();
    this.#markedAt = performance.now();
  }

  /** Changes a number in the header that nobody reads; in the transaction that is open. */
  #countUp(): void {
    this.#writer.run(`PRAGMA user_version = ${(this.#writer.numberOf('user_version') + 1) % highestNumber}`);
  }

  onUnreadable(listener: OnUnreadable): void {
    this.#unreadableListener = listener;
  }

  /** There are no replicas. */
  onNotification(): void {}

  scheduleJob(_name: string, interval: number, work: () => Promise<void>): RecurringJob {
    return new LocalRecurringJob(interval, work);
  }

  async clusterTime(): Promise<null> {
    return null;
  }

  /** Another process that reads just then keeps SQLite from it, which is no failure: it is done later. */
  async checkpointLog(): Promise<void> {
    await this.#writer.checkpoint();
    if (this.#guard?.fault() === null) this.#guard.recordCommitted();
  }

  async isDurable(): Promise<boolean> {
    return this.#writer.numberOf('synchronous') === full;
  }

  fault(): string | null {
    return this.#guard?.fault() ?? null;
  }

  /** A row that is given the values that it has is not written, so that a full disk would not be seen; the number in the header is. */
  async probe(): Promise<void> {
    this.#guard?.check();
    await this.#writer.transaction(async () => this.#countUp(), probeTimeout);
  }

  async readRecordedMigrations(): Promise<RecordedMigration[]> {
    return this.#reader.prepare<[], RecordedMigration>(selectRecordedMigrations).all();
  }

  async close(): Promise<void> {
    const isWhole = this.#guard?.fault() === null;
    await this.client.$disconnect();
    this.#reader.close();
    this.#writer.close();
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
