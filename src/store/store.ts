// The database behind what control needs of it: records to read, and transactions in which they change together.

import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import { type Connection, openConnection } from './connection.ts';
import { applyMigrations, committedMigrations, type Migration, migrationFaults, type RecordedMigration } from './migrations.ts';
import type { Committed } from './records/committed.ts';
import { Records } from './records/records.ts';
import { Statement } from './statements.ts';

/** The driver's default of `synchronous` is NORMAL in WAL, which can lose what was acknowledged when the machine loses power. */
const writing = ['journal_mode = WAL', 'synchronous = FULL', 'foreign_keys = ON'];
const reading = ['query_only = ON'];

/** How long those that are carried out together may wait for the database, and last, in milliseconds; how many they are, and how many may wait. */
export const transactionLimits = { maxWait: 30_000, timeout: 60_000, group: 256, waiting: 20_000 };

/** Around one of several transactions that are carried out together. */
const savepoint = {
  set: new Statement('SAVEPOINT one_of_several'),
  goBack: new Statement('ROLLBACK TO one_of_several'),
  release: new Statement('RELEASE one_of_several'),
};

/** As many transactions wait as may. */
export class TooManyTransactions extends Error {
  override readonly name = 'TooManyTransactions';
  /** As what asks for it over HTTP is answered. */
  readonly statusCode = 503;

  constructor() {
    super(`${transactionLimits.waiting} transactions wait for the database, as many as may`);
  }
}

/** One that waits for its turn. */
type Transaction = {
  /** When it was asked for, by the clock of `performance`. */
  readonly asked: number;
  readonly carryOut: (records: Records) => Promise<void>;
  /** What it has changed is on disk. */
  readonly succeed: () => void;
  readonly fail: (error: unknown) => void;
};

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
  readonly #writer: Connection;
  readonly #reader: Connection;
  readonly #migrations: readonly Migration[];
  readonly #waiting: Transaction[] = [];
  #isWriting = false;
  #listener: (end: TransactionEnd) => void = () => {};

  private constructor(writer: Connection, reader: Connection, migrations: readonly Migration[]) {
    this.#writer = writer;
    this.#reader = reader;
    this.#migrations = migrations;
    this.records = new Records(reader.client, reader.statements);
  }

  /**
   * Opens a database file, made and brought to the newest migration if need be.
   * @throws {MigrationError} when the file is of another version.
   */
  static async open(databaseFile: string): Promise<Store> {
    const migrations = committedMigrations();
    applyMigrations(databaseFile, migrations);
    const writer = await openConnection(databaseFile, writing);
    const reader = await openConnection(databaseFile, reading);
    return new Store(writer, reader, migrations);
  }

  /**
   * Runs changes as one: when it resolves they are on disk, and when it rejects none of them is. Transactions are carried out one after another;
   * those that have waited together reach the disk together.
   * @throws {TooManyTransactions}
   */
  transaction<Result>(change: (records: Records) => Promise<Result>): Promise<Result> {
    if (this.#waiting.length >= transactionLimits.waiting) return Promise.reject(new TooManyTransactions());
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    let answer = () => {};
    this.#waiting.push({
      asked: performance.now(),
      carryOut: async (records) => {
        const result = await change(records);
        answer = () => resolve(result);
      },
      succeed: () => answer(),
      fail: reject,
    });
    if (!this.#isWriting) void this.#writeAll();
    return promise;
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) {
      // A transaction takes no turn of the event loop: what has arrived meanwhile was not read yet, and would be carried out one by one.
      await turnOfTheEventLoop();
      await this.#writeGroup(this.#waiting.splice(0, transactionLimits.group));
    }
    this.#isWriting = false;
  }

  /** Carries out transactions in one of the database; each fails by itself, and all of them where that one does. */
  async #writeGroup(group: readonly Transaction[]): Promise<void> {
    const carriedOut = new Map<Transaction, Committed>();
    const failures = new Map<Transaction, unknown>();
    try {
      await this.#writer.client.$transaction(async (client) => {
        for (const transaction of group) {
          const records = new Records(client, this.#writer.statements);
          try {
            await this.#carryOut(transaction, records, group.length === 1);
            carriedOut.set(transaction, records.committed);
          } catch (error) {
            failures.set(transaction, error);
          }
        }
        // Then there is nothing to be kept.
        if (carriedOut.size === 0) throw new Error('every transaction of the group has failed');
      }, transactionLimits);
    } catch (error) {
      for (const transaction of group) if (!failures.has(transaction)) failures.set(transaction, error);
      carriedOut.clear();
    }
    for (const transaction of group) {
      const milliseconds = performance.now() - transaction.asked;
      const committed = carriedOut.get(transaction);
      this.#listener(
        committed === undefined ? { result: 'rolled-back', milliseconds } : { result: 'committed', milliseconds, ...committed },
      );
      if (committed === undefined) transaction.fail(failures.get(transaction));
      else transaction.succeed();
    }
  }

  /** What one of several has changed is taken back when it fails. */
  async #carryOut(transaction: Transaction, records: Records, isAlone: boolean): Promise<void> {
    if (isAlone) return transaction.carryOut(records);
    const { statements } = this.#writer;
    await statements.each(savepoint.set, [[]]);
    try {
      await transaction.carryOut(records);
    } catch (error) {
      await statements.each(savepoint.goBack, [[]]);
      throw error;
    } finally {
      await statements.each(savepoint.release, [[]]);
    }
  }

  /** Has this one called after every transaction: what is committed is on disk by then. It must not throw. */
  onTransactionEnd(listener: (end: TransactionEnd) => void): void {
    this.#listener = listener;
  }

  /**
   * Whether the database can be written to, which is tried; 2 is `synchronous = FULL`. And why it is not the database of this version, in words.
   */
  async health(): Promise<{ readonly writable: boolean; readonly synchronous: number; readonly migrationFaults: readonly string[] }> {
    const [row] = await this.#writer.client.$queryRawUnsafe<{ synchronous: bigint | number }[]>('PRAGMA synchronous');
    const synchronous = Number(row?.synchronous ?? -1);
    return { writable: await this.#takesWrites(), synchronous, migrationFaults: await this.#migrationFaults() };
  }

  /** A row that is given the values that it has is not written, so that a full disk would not be seen; a number that nobody reads is. */
  async #takesWrites(): Promise<boolean> {
    try {
      await this.#writer.client.$transaction(async (client) => {
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
      const recorded = await this.#reader.client.$queryRawUnsafe<RecordedMigration[]>(
        'SELECT migration_name, checksum, finished_at, rolled_back_at FROM _prisma_migrations',
      );
      return migrationFaults(recorded, this.#migrations);
    } catch {
      return ['the database does not say which migrations it has'];
    }
  }

  async close(): Promise<void> {
    await this.#reader.client.$disconnect();
    await this.#writer.client.$disconnect();
  }
}
