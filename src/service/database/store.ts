// The database behind what the service needs of it: reads, and transactions that change it.

import { existsSync } from 'node:fs';
import type { ChangeNotification } from './change-notification.ts';
import type { Connection } from './connection.ts';
import type { Engine } from './engine.ts';
import { type BeforeCreation, findMigrationFaults, type Migration } from './migrations.ts';
import { isUndecodable, type OnUnreadable } from './readable-rows.ts';
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

/** Whether a database is named by where PostgreSQL is, and not by a file. */
export const isPostgresqlUrl = (database: string) => /^postgres(ql)?:\/\//.test(database);

export type StoreOptions = {
  readonly beforeCreation?: BeforeCreation;
  /** Whether no other service may have a SQLite file open, and its files are watched. */
  readonly isExclusive?: boolean;
  /** Called where a SQLite file lost transactions while no service had it open; the store opens without them. By default it does not open. */
  readonly onLostTransactions?: OnLostTransactions;
};

export class Store {
  /** Reads outside a transaction, of what is committed; a write is refused. */
  readonly readConnection: Connection;
  /** Reads for lists and figures, by Prisma. */
  readonly reader: Reader;
  readonly #engine: Engine;
  readonly #migrations: readonly Migration[];
  readonly #transactions: Transactions;
  #unreadableListener: OnUnreadable = () => {};

  private constructor(engine: Engine, migrations: readonly Migration[]) {
    this.#engine = engine;
    this.#migrations = migrations;
    engine.onUnreadable((row) => this.#unreadableListener(row));
    this.reader = createReader(engine.client, (row) => this.#unreadableListener(row));
    this.readConnection = engine.readConnection;
    this.#transactions = new Transactions(engine);
  }

  /**
   * Opens a database, made and brought to the newest migration if need be.
   * @param database A SQLite file; or the address of a database of PostgreSQL, `postgresql://…`, which other replicas of the service may have open too.
   * @throws {MigrationError} when it is of another version. {DatabaseInUse} where a SQLite file is to be for this store only, and is another's.
   * {TransactionsLost} where such a file lost transactions that were acknowledged.
   */
  static open(database: string, options: StoreOptions = {}): Promise<Store> {
    return withDatabaseErrors(() => Store.#open(database, options));
  }

  static async #open(database: string, { beforeCreation = () => {}, isExclusive = false, ...options }: StoreOptions): Promise<Store> {
    if (isPostgresqlUrl(database)) {
      // Here, for a service on a file starts without all that this takes.
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
   * Runs changes as one: when it resolves they are on disk, and when it rejects none of them is. Transactions are carried out one after another;
   * those that have waited together reach the disk together.
   * @throws {TooManyTransactions}
   */
  transaction<Result>(change: (connection: Connection) => Promise<Result>): Promise<Result> {
    return this.batched<null, Result>(async (connection) => [{ status: 'fulfilled', value: await change(connection) }])(null);
  }

  /**
   * Makes a transaction for each request of one kind; neighbours in the queue are made by one call.
   * @returns What takes a request, and answers as `transaction` does.
   */
  batched<Request, Result>(change: BatchedChange<Request, Result>): (request: Request) => Promise<Result> {
    return this.#transactions.batched(change);
  }

  /** Sets the listener for news, whichever replica of the service has written it. It must not throw. */
  onChange(listener: (news: ChangeNotification) => void): void {
    this.#transactions.onChange(listener);
  }

  /** Sets the listener for the end of each transaction: what is committed is on disk by then. It must not throw. */
  onTransactionEnd(listener: (end: TransactionEnd) => void): void {
    this.#transactions.onEnd(listener);
  }

  /** Whether a row that a read left out is still there, and still cannot be decoded. */
  isUndecodable(place: RowLocation): Promise<boolean> {
    return isUndecodable(this.#engine.client, place);
  }

  /** Sets the listener for rows that a read left out because they cannot be decoded. It must not throw. */
  onUnreadable(listener: OnUnreadable): void {
    this.#unreadableListener = listener;
  }

  /** Has work done at intervals of so many milliseconds, once in the whole installation at a time. What it does, it may do twice. */
  scheduleJob(name: string, interval: number, work: () => Promise<void>): RecurringJob {
    return this.#engine.scheduleJob(name, interval, work);
  }

  /** The time of the database, which all replicas of the service share, in milliseconds since 1970; null where there are no replicas. */
  clusterTime(): Promise<number | null> {
    return withDatabaseErrors(() => this.#engine.clusterTime());
  }

  /** Brings all that is committed into the main file of the database, so that it stays where the log beside that file is lost. */
  checkpointLog(): Promise<void> {
    return this.#engine.checkpointLog();
  }

  /** What happened to the files of the database behind the back of the service, in words; null where nothing did. */
  fault(): string | null {
    return this.#engine.fault();
  }

  /** Why the database takes no writes, which is tried; whether what is acknowledged is on disk; and why it is not the database of this version, in words. */
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
      return ['the database does not say which migrations it has'];
    }
  }

  close(): Promise<void> {
    return this.#engine.close();
  }
}
