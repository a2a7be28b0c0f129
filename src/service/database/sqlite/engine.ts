// The SQLite engine: one file, and one process that writes to it.

import { realpathSync } from 'node:fs';
import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import Database from 'better-sqlite3';
import type { Connection } from '../connection.ts';
import type { Engine, Transaction } from '../engine.ts';
import { PrismaClient } from '../generated/client.ts';
import { LocalRecurringJob } from '../local-recurring-job.ts';
import { type RecordedMigration, selectRecordedMigrations } from '../migrations.ts';
import type { OnUndecodable } from '../readable-rows.ts';
import type { RecurringJob } from '../recurring-job.ts';
import { DatabaseUnavailable } from '../unavailable.ts';
import { SqliteConnection } from './connection.ts';
import { DatabaseFiles } from './files.ts';
import type { DatabaseLock } from './lock.ts';
import { LogMarker } from './log-marker.ts';
import { type LockWait, Writer } from './writer.ts';

/** Log size that triggers a checkpoint, in pages of 4 KiB: pages that are written several times before it are copied once. */
export const logPages = 8_000;
/** Pragmas of the write connection. In WAL mode the driver defaults to `synchronous = NORMAL`, which can lose acknowledged transactions in a power failure. */
const writePragmas = [
  'journal_mode = WAL',
  'synchronous = FULL',
  'foreign_keys = ON',
  // For the pages that savepoints may restore: by default SQLite writes more than 16 of them to a file.
  'temp_store = MEMORY',
  `wal_autocheckpoint = ${logPages}`,
];
/** The value of `PRAGMA synchronous` for FULL. */
const synchronousFull = 2;
/** `PRAGMA user_version` is below this number. */
const userVersionLimit = 2 ** 31;
/** Timeout of the test write, in milliseconds. */
const probeTimeout = 5_000;
/** How long a transaction waits for a write lock that another process holds, and the interval between attempts, in milliseconds. */
const lockWait: LockWait = { limit: 10_000, interval: 20 };
/** How often the mark in the database header changes, in milliseconds. */
const markInterval = 1_000;

/** How long a read may block the event loop because of another process, in milliseconds: in WAL mode only while that process recovers the log. */
const readTimeout = 100;

/**
 * Has separate connections for writes and for reads of committed data: on a shared connection, a read would see uncommitted data, and a write could be
 * rolled back with an unrelated transaction.
 */
export class SqliteEngine implements Engine {
  readonly readConnection: Connection;
  readonly client: PrismaClient;
  readonly #writer: Writer;
  readonly #reader: Database.Database;
  readonly #guard: DatabaseGuard | null;
  #undecodableListener: OnUndecodable = () => {};
  #markedAt = Number.NEGATIVE_INFINITY;

  /**
   * Opens a file to which all migrations are applied.
   * @param lock The lock of the file, which the engine releases when it is closed; the files are then guarded. Null: a service may have the file open.
   * @param wait How transactions wait for the write lock.
   */
  constructor(databaseFile: string, lock: DatabaseLock | null = null, wait: LockWait = lockWait) {
    const onUndecodable: OnUndecodable = (row) => this.#undecodableListener(row);
    this.#writer = new Writer(databaseFile, { pragmas: writePragmas, lockWait: wait, onUndecodable });
    this.#reader = new Database(databaseFile, { readonly: true, timeout: readTimeout });
    // SQLite creates the log and its index at the first read.
    this.#reader.prepare('SELECT COUNT(*) FROM sqlite_master').get();
    this.readConnection = new SqliteConnection(() => this.#reader, onUndecodable);
    const adapter = new PrismaBetterSqlite3(
      { url: databaseFile, readonly: true, timeout: readTimeout },
      { timestampFormat: 'unixepoch-ms' },
    );
    this.client = new PrismaClient({ adapter });
    // Connects now and not at the first query: the file could be deleted or replaced before.
    this.client.$connect().catch(() => {});
    this.#guard = lock && new DatabaseGuard(realpathSync(databaseFile), lock);
  }

  async transaction<Result>(work: (transaction: Transaction) => Promise<Result>, timeout: number): Promise<Result> {
    this.#guard?.check();
    const result = await this.#writer.transaction(
      (savepoint) => work({ savepoint, notify: () => {} }),
      timeout,
      () => this.#mark(),
    );
    // A transaction that was written to a deleted file is not acknowledged.
    this.#guard?.check();
    this.#guard?.recordCommitted();
    return result;
  }

  /** Changes the header in the open transaction, so that the database differs from its copies. */
  #mark(): void {
    if (performance.now() - this.#markedAt < markInterval) return;
    this.#incrementUserVersion();
    this.#markedAt = performance.now();
  }

  /** Increments `user_version` in the header, which has no other use, in the open transaction. */
  #incrementUserVersion(): void {
    this.#writer.run(`PRAGMA user_version = ${(this.#writer.numberOf('user_version') + 1) % userVersionLimit}`);
  }

  onUndecodable(listener: OnUndecodable): void {
    this.#undecodableListener = listener;
  }

  /** There are no replicas. */
  onNotification(): void {}

  scheduleJob(_name: string, interval: number, work: () => Promise<void>): RecurringJob {
    return new LocalRecurringJob(interval, work);
  }

  async clusterTime(): Promise<null> {
    return null;
  }

  /** Runs a checkpoint. If a concurrent reader prevents it, SQLite runs it later. */
  async checkpointLog(): Promise<void> {
    await this.#writer.checkpoint();
    if (this.#guard?.fault() === null) this.#guard.recordCommitted();
  }

  async isDurable(): Promise<boolean> {
    return this.#writer.numberOf('synchronous') === synchronousFull;
  }

  fault(): string | null {
    return this.#guard?.fault() ?? null;
  }

  /** Writes the header: an update of a row with its current values would write no page, and a full disk would go unnoticed. */
  async probe(): Promise<void> {
    this.#guard?.check();
    await this.#writer.transaction(async () => this.#incrementUserVersion(), probeTimeout);
  }

  async readRecordedMigrations(): Promise<RecordedMigration[]> {
    return this.#reader.prepare<[], RecordedMigration>(selectRecordedMigrations).all();
  }

  async close(): Promise<void> {
    const isIntact = this.#guard?.fault() === null;
    await this.client.$disconnect();
    this.#reader.close();
    this.#writer.close();
    this.#guard?.close(isIntact);
  }
}

/** Checks that no other service uses the database, and that its files are those that were opened. */
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

  /** Records what is committed, so that the next start detects its loss. Call it after `check`. */
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
    const detail = `${fault}: stop the service, restore the database, and start the service again`;
    throw new DatabaseUnavailable({ detail, retryAfterSeconds: 30, isTransient: false, isLost: true });
  }

  /** Releases the files and the lock. Call it after SQLite has closed the database. @param isIntact Whether there was no fault until then. */
  close(isIntact: boolean): void {
    this.#marker.close(isIntact);
    this.#files.close();
    this.#lock.release();
  }
}
