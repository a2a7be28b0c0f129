// The connection that writes the database file: one transaction at a time, each with the write lock of the file from its beginning.

import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import type { Transaction } from '../engine.ts';
import type { OnUnreadable } from '../readable-rows.ts';
import { TransactionClosed, withTimeout } from '../transaction-timeout.ts';
import { DatabaseUnavailable } from '../unavailable.ts';
import { type PreparedRowStatements, SqliteConnection } from './connection.ts';

/** How a transaction waits for the write lock of the file, in milliseconds. */
export type LockWait = {
  /** How long it waits before it gives up. */
  readonly limit: number;
  /** How often it tries. SQLite's own waiting would block the event loop. */
  readonly interval: number;
};

export class Writer {
  readonly #database: Database.Database;
  readonly #lockWait: LockWait;
  readonly #onUnreadable: OnUnreadable;
  readonly #rowStatements: PreparedRowStatements = new WeakMap();
  /** Resolves when the transactions that were asked for before have ended. */
  #last: Promise<unknown> = Promise.resolve();

  /** @param pragmas How the connection is to be: run before anything else. */
  constructor(
    databaseFile: string,
    {
      pragmas,
      lockWait,
      onUnreadable,
    }: { readonly pragmas: readonly string[]; readonly lockWait: LockWait; readonly onUnreadable: OnUnreadable },
  ) {
    this.#database = new Database(databaseFile, { timeout: 0 });
    for (const pragma of pragmas) this.#database.pragma(pragma);
    this.#lockWait = lockWait;
    this.#onUnreadable = onUnreadable;
  }

  /**
   * Runs work in a transaction, after those that were asked for before.
   * @param timeout How long the work may take, in milliseconds.
   * @param beforeCommit Called when the work has succeeded in time.
   * @throws {DatabaseUnavailable} when the lock was not free in time, the work took too long, or SQLite has ended the transaction by itself. Then nothing of it is kept.
   */
  transaction<Result>(
    work: (part: Transaction['savepoint']) => Promise<Result>,
    timeout: number,
    beforeCommit = () => {},
  ): Promise<Result> {
    const result = this.#last.then(() => this.#transaction(work, timeout, beforeCommit));
    this.#last = result.catch(() => {});
    return result;
  }

  async #transaction<Result>(
    work: (part: Transaction['savepoint']) => Promise<Result>,
    timeout: number,
    beforeCommit: () => void,
  ): Promise<Result> {
    await this.#begin();
    const parts = new Savepoints(this.#database, this.#onUnreadable, this.#rowStatements);
    try {
      const result = await withTimeout(
        work((carryOut, isAll) => parts.run(carryOut, isAll)),
        timeout,
      );
      if (!this.#database.inTransaction) throw transactionEnded();
      beforeCommit();
      this.#database.exec('COMMIT');
      return result;
    } finally {
      parts.close();
      // A commit that has failed may leave it open.
      if (this.#database.inTransaction) this.#database.exec('ROLLBACK');
    }
  }

  async #begin(): Promise<void> {
    const { limit, interval } = this.#lockWait;
    const deadline = performance.now() + limit;
    while (!this.#tookLock()) {
      if (performance.now() >= deadline) throw stillLocked(limit);
      await delay(interval);
    }
  }

  /** Begins a transaction with the write lock, unless another process has it. */
  #tookLock(): boolean {
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      return true;
    } catch (error) {
      if (isLocked(error)) return false;
      throw error;
    }
  }

  /** Runs a statement without parameters, in the transaction that is open or by itself. */
  run(sql: string): void {
    this.#database.exec(sql);
  }

  /** The number that a pragma returns. */
  numberOf(pragma: string): number {
    return Number(this.#database.pragma(pragma, { simple: true }));
  }

  /** Brings the write-ahead log over into the file, between two transactions. */
  async checkpoint(): Promise<void> {
    const done = this.#last.then(() => this.#database.pragma('wal_checkpoint(TRUNCATE)'));
    this.#last = done.catch(() => {});
    await done;
  }

  close(): void {
    this.#database.close();
  }
}

/** The parts of one transaction: each can be rolled back alone. */
class Savepoints {
  readonly #database: Database.Database;
  readonly #onUnreadable: OnUnreadable;
  readonly #rowStatements: PreparedRowStatements;
  /** Why SQLite has ended the transaction: nothing of it is kept, and nothing more is executed. */
  #failure: unknown = null;
  #isClosed = false;

  constructor(database: Database.Database, onUnreadable: OnUnreadable, rowStatements: PreparedRowStatements) {
    this.#database = database;
    this.#onUnreadable = onUnreadable;
    this.#rowStatements = rowStatements;
  }

  /** Nothing more is executed. */
  close(): void {
    this.#isClosed = true;
  }

  async run(carryOut: Parameters<Transaction['savepoint']>[0], isAll = false): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    // Work that has timed out may still be running, and must not change the next transaction.
    if (this.#isClosed) throw new TransactionClosed();
    const part = { isOpen: true };
    const database = () => {
      if (this.#isClosed || !part.isOpen) throw new TransactionClosed();
      if (!this.#database.inTransaction) throw transactionEnded();
      return this.#database;
    };
    // A savepoint has every page copied that is changed after it.
    if (!isAll) this.#database.exec('SAVEPOINT part');
    try {
      await carryOut(new SqliteConnection(database, this.#onUnreadable, this.#rowStatements));
    } catch (error) {
      if (!this.#database.inTransaction) this.#failure = error;
      else if (!isAll && !this.#isClosed) this.#database.exec('ROLLBACK TO part');
      throw error;
    } finally {
      part.isOpen = false;
      if (!isAll && !this.#isClosed && this.#database.inTransaction) this.#database.exec('RELEASE part');
    }
  }
}

const transactionEnded = () =>
  new DatabaseUnavailable({
    detail: 'SQLite has ended the transaction: its disk is full or fails',
    retryAfterSeconds: 5,
    isTransient: false,
    isLost: false,
  });

const stillLocked = (limit: number) =>
  new DatabaseUnavailable({
    detail: `another process has held the lock of the database file for ${limit / 1_000} s: end what locks it, as a backup or a shell`,
    retryAfterSeconds: 1,
    isTransient: true,
    isLost: false,
  });

const isLocked = (error: unknown) => error instanceof Database.SqliteError && /^SQLITE_(?:BUSY|LOCKED)/.test(error.code);
