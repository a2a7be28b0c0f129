// The store: reads, and transactions, on SQLite or PostgreSQL.

import { existsSync } from 'node:fs';
import type { ChangeNotification } from './change-notification.ts';
import type { Connection } from './connection.ts';
import type { Engine } from './engine.ts';
import { type BeforeCreation, findMigrationFaults, type Migration } from './migrations.ts';
import { isUndecodable, type OnUndecodable } from './readable-rows.ts';
import { createReader, type Reader } from './reader.ts';
import type { RecurringJob } from './recurring-job.ts';
import { SqliteEngine } from './sqlite/engine.ts';
import { DatabaseLock } from './sqlite/lock.ts';
import { checkForLostTransactions, type OnLostTransactions } from './sqlite/log-marker.ts';
import { applyMigrations, sqliteMigrations } from './sqlite/migrations.ts';
import { createPrivateFile } from './sqlite/private-file.ts';
import { type BatchedChange, type TransactionEnd, Transactions } from './transactions.ts';
import { findUnavailability, markDatabaseError, withDatabaseErrors } from './unavailable.ts';
import type { RowLocation } from './undecodable-row.ts';

/** Returns whether a database is given as a PostgreSQL URL, and not as a file. */
export const isPostgresqlUrl = (database: string) => /^postgres(ql)?:\/\//.test(database);

export type StoreOptions = {
  readonly beforeCreation?: BeforeCreation;
  /** Whether to lock a SQLite file against other services and to guard its files. */
  readonly isExclusive?: boolean;
  /** Called if a SQLite file lost transactions while no service had it open; the store then opens without them. Without this callback, it does not open. */
  readonly onLostTransactions?: OnLostTransactions;
};

export class Store {
  /** Reads committed data outside transactions; rejects writes. */
  readonly readConnection: Connection;
  /** Reads for lists and statistics, by Prisma. */
  readonly reader: Reader;
  readonly #engine: Engine;
  readonly #migrations: readonly Migration[];
  readonly #transactions: Transactions;
  #undecodableListener: OnUndecodable = () => {};

  private constructor(engine: Engine, migrations: readonly Migration[]) {
    this.#engine = engine;
    this.#migrations = migrations;
    engine.onUndecodable((row) => this.#undecodableListener(row));
    this.reader = createReader(engine.client, (row) => this.#undecodableListener(row));
    this.readConnection = engine.readConnection;
    this.#transactions = new Transactions(engine);
  }

  /**
   * Opens a database. Creates it if it does not exist, and applies pending migrations.
   * @param database A SQLite file, or a PostgreSQL URL (`postgresql://…`), which other replicas of the service may use too.
   * @throws {MigrationError} if the database has another version. {DatabaseInUse} if another service has locked the SQLite file.
   * {TransactionsLost} if the SQLite file lost acknowledged transactions.
   */
  static open(database: string, options: StoreOptions = {}): Promise<Store> {
    return withDatabaseErrors(() => Store.#open(database, options));
  }

  static async #open(database: string, { beforeCreation = () => {}, isExclusive = false, ...options }: StoreOptions): Promise<Store> {
    if (isPostgresqlUrl(database)) {
      // Imported on demand: a service on SQLite starts without these modules.
      const { openPostgresql } = await import('./postgresql/open.ts');
      return new Store(...(await openPostgresql(database, beforeCreation)));
    }
    const migrations = sqliteMigrations();
    if (!isExclusive) {
      applyMigrations(database, migrations, beforeCreation);
      return new Store(new SqliteEngine(database), migrations);
    }
    if (!existsSync(database)) beforeCreation();
    createPrivateFile(database);
    const lock = DatabaseLock.acquire(database);
    try {
      checkForLostTransactions(database, options.onLostTransactions);
      applyMigrations(database, migrations, beforeCreation);
      return new Store(new SqliteEngine(database, lock), migrations);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * Runs a change in a transaction: it is durable when the promise resolves, and rolled back when it rejects. Transactions run one at a time;
   * queued transactions are committed together (group commit).
   * @throws {TooManyTransactions}
   */
  transaction<Result>(change: (connection: Connection) => Promise<Result>): Promise<Result> {
    return this.batched<null, Result>(async (connection) => [{ status: 'fulfilled', value: await change(connection) }])(null);
  }

  /**
   * Returns a function that runs a transaction for each request; consecutive requests in the queue are passed to one call of `change`.
   * The function resolves and rejects as `transaction` does.
   */
  batched<Request, Result>(change: BatchedChange<Request, Result>): (request: Request) => Promise<Result> {
    return this.#transactions.batched(change);
  }

  /** Sets the listener for changes by any replica of the service. It must not throw. */
  onChange(listener: (notification: ChangeNotification) => void): void {
    this.#transactions.onChange(listener);
  }

  /** Sets the listener for the end of each transaction; committed transactions are durable by then. It must not throw. */
  onTransactionEnd(listener: (end: TransactionEnd) => void): void {
    this.#transactions.onEnd(listener);
  }

  /** Returns whether a row still exists and cannot be decoded. */
  isUndecodable(location: RowLocation): Promise<boolean> {
    return isUndecodable(this.#engine.client, location);
  }

  /** Sets the listener for rows that a read omitted because they cannot be decoded. It must not throw. */
  onUndecodable(listener: OnUndecodable): void {
    this.#undecodableListener = listener;
  }

  /** Runs a job at intervals (in milliseconds) in one replica at a time. A run may be repeated, so the job must be idempotent. */
  scheduleJob(name: string, interval: number, work: () => Promise<void>): RecurringJob {
    return this.#engine.scheduleJob(name, interval, work);
  }

  /** Returns the time of the database, which all replicas share, in milliseconds since 1970; null if there are no replicas. */
  clusterTime(): Promise<number | null> {
    return withDatabaseErrors(() => this.#engine.clusterTime());
  }

  /** Copies the write-ahead log into the database file (a checkpoint), so that committed data survives the loss of the log. */
  checkpointLog(): Promise<void> {
    return this.#engine.checkpointLog();
  }

  /** Returns a sentence that describes external damage to the database files; null if there is none. */
  fault(): string | null {
    return this.#engine.fault();
  }

  /** Checks with a test write whether the database accepts writes, whether commits are durable, and whether its migrations match this version. Faults are sentences. */
  async health(): Promise<{
    readonly writeFault: string | null;
    readonly isDurable: boolean;
    readonly migrationFaults: readonly string[];
  }> {
    return {
      isDurable: await withDatabaseErrors(() => this.#engine.isDurable()),
      writeFault: await this.#writeFault(),
      migrationFaults: await this.#migrationFaults(),
    };
  }

  async #writeFault(): Promise<string | null> {
    try {
      await this.#engine.probe();
      return null;
    } catch (error) {
      const { detail } = findUnavailability(markDatabaseError(error)) ?? {};
      return detail ?? (error instanceof Error ? error.message : String(error));
    }
  }

  async #migrationFaults(): Promise<string[]> {
    try {
      return findMigrationFaults(await this.#engine.readRecordedMigrations(), this.#migrations);
    } catch {
      return ['the applied migrations cannot be read'];
    }
  }

  close(): Promise<void> {
    return this.#engine.close();
  }
}
