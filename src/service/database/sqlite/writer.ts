// The connection that writes to the database file: one transaction at a time, each with the write lock of the file from its start.

import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import type { Transaction } from '../engine.ts';
import type { OnUndecodable } from '../readable-rows.ts';
import { TransactionClosed, withTimeout } from '../transaction-timeout.ts';
import { DatabaseUnavailable } from '../unavailable.ts';
import { type PreparedRowStatements, SqliteConnection } from './connection.ts';

/** How a transaction waits for the write lock of the file, in milliseconds. */
export type LockWait = {
  /** Maximum wait. */
  readonly limit: number;
  /** Interval between attempts. SQLite's own busy handler would block the event loop. */
  readonly interval: number;
};

export class Writer {
  readonly #database: Database.Database;
  readonly #lockWait: LockWait;
  readonly #onUndecodable: OnUndecodable;
  readonly #rowStatements: PreparedRowStatements = new WeakMap();
  /** Resolves when all earlier transactions have ended. */
  #last: Promise<unknown> = Promise.resolve();

  /** @param pragmas Pragmas that are executed first. */
  constructor(
    databaseFile: string,
    {
      pragmas,
      lockWait,
      onUndecodable,
    }: { readonly pragmas: readonly string[]; readonly lockWait: LockWait; readonly onUndecodable: OnUndecodable },
  ) {
    this.#database = new Database(databaseFile, { timeout: 0 });
    for (const pragma of pragmas) this.#database.pragma(pragma);
    this.#lockWait = lockWait;
    this.#onUndecodable = onUndecodable;
  }

  /**
   * Runs work in a transaction, after all earlier transactions. Rolls back if the work rejects.
   * @param timeout Maximum duration of the work, in milliseconds.
   * @param beforeCommit Called after the work has succeeded.
   * @throws {DatabaseUnavailable} if the write lock could not be acquired in time, the work timed out, or SQLite has ended the transaction itself.
   */
  transaction<Result>(
    work: (savepoint: Transaction['savepoint']) => Promise<Result>,
    timeout: number,
    beforeCommit = () => {},
  ): Promise<Result> {
    const result = this.#last.then(() => this.#transaction(work, timeout, beforeCommit));
    this.#last = result.catch(() => {});
    return result;
  }

  async #transaction<Result>(
    work: (savepoint: Transaction['savepoint']) => Promise<Result>,
    timeout: number,
    beforeCommit: () => void,
  ): Promise<Result> {
    await this.#begin();
    const savepoints = new Savepoints(this.#database, this.#onUndecodable, this.#rowStatements);
    try {
      const result = await withTimeout(
        work((change, isOnly) => savepoints.run(change, isOnly)),
        timeout,
      );
      if (!this.#database.inTransaction) throw transactionEnded();
      beforeCommit();
      this.#database.exec('COMMIT');
      return result;
    } finally {
      savepoints.close();
      // A failed commit may leave the transaction open.
      if (this.#database.inTransaction) this.#database.exec('ROLLBACK');
    }
  }

  async #begin(): Promise<void> {
    const { limit, interval } = this.#lockWait;
    const deadline = performance.now() + limit;
    while (!this.#tryBegin()) {
      if (performance.now() >= deadline) throw stillLocked(limit);
      await delay(interval);
    }
  }

  /** Begins a transaction with the write lock; returns false if another process holds the lock. */
  #tryBegin(): boolean {
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      return true;
    } catch (error) {
      if (isLocked(error)) return false;
      throw error;
    }
  }

  /** Executes a statement without parameters. */
  run(sql: string): void {
    this.#database.exec(sql);
  }

  /** Returns the numeric value of a pragma. */
  numberOf(pragma: string): number {
    return Number(this.#database.pragma(pragma, { simple: true }));
  }

  /** Copies the write-ahead log into the database file, between two transactions. */
  async checkpoint(): Promise<void> {
    const done = this.#last.then(() => this.#database.pragma('wal_checkpoint(TRUNCATE)'));
    this.#last = done.catch(() => {});
    await done;
  }

  close(): void {
    this.#database.close();
  }
}

/** The savepoints of one transaction; each can be rolled back separately. */
class Savepoints {
  readonly #database: Database.Database;
  readonly #onUndecodable: OnUndecodable;
  readonly #rowStatements: PreparedRowStatements;
  /** The error after which SQLite ended the transaction; no further statement is executed. */
  #failure: unknown = null;
  #isClosed = false;

  constructor(database: Database.Database, onUndecodable: OnUndecodable, rowStatements: PreparedRowStatements) {
    this.#database = database;
    this.#onUndecodable = onUndecodable;
    this.#rowStatements = rowStatements;
  }

  /** Prevents the execution of further statements. */
  close(): void {
    this.#isClosed = true;
  }

  async run(change: Parameters<Transaction['savepoint']>[0], isOnly = false): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    // Work that has timed out may still be running and must not write to the next transaction.
    if (this.#isClosed) throw new TransactionClosed();
    const savepoint = { isOpen: true };
    const database = () => {
      if (this.#isClosed || !savepoint.isOpen) throw new TransactionClosed();
      if (!this.#database.inTransaction) throw transactionEnded();
      return this.#database;
    };
    // Without a savepoint, SQLite need not copy the pages that change.
    if (!isOnly) this.#database.exec('SAVEPOINT change');
    try {
      await change(new SqliteConnection(database, this.#onUndecodable, this.#rowStatements));
    } catch (error) {
      if (!this.#database.inTransaction) this.#failure = error;
      else if (!isOnly && !this.#isClosed) this.#database.exec('ROLLBACK TO change');
      throw error;
    } finally {
      savepoint.isOpen = false;
      if (!isOnly && !this.#isClosed && this.#database.inTransaction) this.#database.exec('RELEASE change');
    }
  }
}

const transactionEnded = () =>
  new DatabaseUnavailable({
    detail: 'SQLite has ended the transaction: its disk is full or reports errors',
    retryAfterSeconds: 5,
    isTransient: false,
    isLost: false,
  });

const stillLocked = (limit: number) =>
  new DatabaseUnavailable({
    detail: `another process has held the write lock of the database file for ${limit / 1_000} s: stop it (it may be a backup or an SQL shell)`,
    retryAfterSeconds: 1,
    isTransient: true,
    isLost: false,
  });

const isLocked = (error: unknown) => error instanceof Database.SqliteError && /^SQLITE_(?:BUSY|LOCKED)/.test(error.code);
