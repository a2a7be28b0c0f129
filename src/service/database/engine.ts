// The interface of a database engine: SQLite or PostgreSQL.

import type { Connection } from './connection.ts';
import type { RecordedMigration } from './migrations.ts';
import type { QueryClient } from './query-client.ts';
import type { OnUndecodable } from './readable-rows.ts';
import type { RecurringJob } from './recurring-job.ts';

/** A transaction that commits several changes together, some of which may fail. */
export type Transaction = {
  /**
   * Runs a change in a savepoint and rolls the savepoint back if the change rejects.
   * @param isOnly Whether the transaction has no other savepoint and is rolled back if this one fails: then no savepoint is needed.
   */
  readonly savepoint: (change: (connection: Connection) => Promise<void>, isOnly?: boolean) => Promise<void>;
  /** Notifies the other replicas of the service after the commit, with a text of at most `maxNotificationBytes`. Does nothing without replicas. */
  readonly notify: (text: string) => void;
};

/** Maximum size of a notification, in bytes. */
export const maxNotificationBytes = 7_000;

export interface Engine {
  /** Reads committed data; rejects writes. */
  readonly readConnection: Connection;
  /** The Prisma client, which reads committed data. */
  readonly client: QueryClient;
  /**
   * Runs work in a transaction and returns its result. The transaction is durable when the promise resolves, and rolled back when it rejects. Transactions of
   * all replicas are serialized: each sees every transaction that was acknowledged before.
   * @param timeout Maximum duration of the work, in milliseconds.
   * @throws {DatabaseUnavailable} if the work timed out, or the write lock could not be acquired in time.
   */
  transaction<Result>(work: (transaction: Transaction) => Promise<Result>, timeout: number): Promise<Result>;
  /** Sets the listener for rows that a read omitted because they cannot be decoded. It must not throw. */
  onUndecodable(listener: OnUndecodable): void;
  /** Sets the listener for notifications of other replicas; it receives null if some may have been missed. */
  onNotification(listener: (text: string | null) => void): void;
  /** Runs a job at intervals (in milliseconds) in one replica at a time. A run may be repeated, so the job must be idempotent. */
  scheduleJob(name: string, interval: number, work: () => Promise<void>): RecurringJob;
  /** Returns the time that all replicas share, in milliseconds since 1970; null if there is only one process. */
  clusterTime(): Promise<number | null>;
  /** Copies the write-ahead log into the database file (a checkpoint). Does nothing on PostgreSQL. */
  checkpointLog(): Promise<void>;
  /** Returns whether commits are durable. */
  isDurable(): Promise<boolean>;
  /** Returns a sentence that describes external damage to the database files, because of which writes are rejected; null if there is none. */
  fault(): string | null;
  /** Makes a test write that leaves no data. @throws {Error} if the database accepts no writes. */
  probe(): Promise<void>;
  readRecordedMigrations(): Promise<RecordedMigration[]>;
  close(): Promise<void>;
}
