// What the store needs of a database, of whichever kind.

import type { Connection } from './connection.ts';
import type { RecordedMigration } from './migrations.ts';
import type { QueryClient } from './query-client.ts';
import type { OnUnreadable } from './readable-rows.ts';
import type { RecurringJob } from './recurring-job.ts';

/** A transaction in which several are carried out, of which some may fail. */
export type Transaction = {
  /**
   * Carries out a part; when that rejects, nothing of it stays.
   * @param isAll Whether the transaction has no other part, and is given up where this one fails: then it need not be taken back by itself.
   */
  readonly savepoint: (carryOut: (connection: Connection) => Promise<void>, isAll?: boolean) => Promise<void>;
  /** Tells the other replicas of the service, if there are any, once this is on disk: a text of at most `announcementLimit` bytes. */
  readonly notify: (text: string) => void;
};

/** Bytes of one announcement. */
export const maxNotificationBytes = 7_000;

export interface Engine {
  /** Reads what is committed; a write is refused. */
  readonly readConnection: Connection;
  /** The same by Prisma. */
  readonly client: QueryClient;
  /**
   * Runs work in a transaction and answers what it does: when it resolves it is on disk, and when it rejects nothing of it is. There is one at a time, in all replicas of
   * the service together: each sees everything that was acknowledged before it.
   * @param timeout How long the work may take, in milliseconds.
   * @throws {DatabaseUnavailable} when the work took longer, or the database was locked for too long.
   */
  transaction<Result>(work: (transaction: Transaction) => Promise<Result>, timeout: number): Promise<Result>;
  /** Sets the listener for rows that a read left out because they cannot be decoded. It must not throw. */
  onUnreadable(listener: OnUnreadable): void;
  /** Calls back with what other replicas announce; and with null when some may have been missed. */
  onNotification(listener: (text: string | null) => void): void;
  /** Has work done at intervals of so many milliseconds, by one of the replicas at a time: what it does, it may do twice. */
  scheduleJob(name: string, interval: number, work: () => Promise<void>): RecurringJob;
  /** The time that all replicas of the service share, in milliseconds since 1970; null where there is one process, whose own time it is. */
  clusterTime(): Promise<number | null>;
  /** Brings what is in a log beside the database file into that file; where there is no such log it does nothing. */
  checkpointLog(): Promise<void>;
  /** Whether what is committed is on disk. */
  isDurable(): Promise<boolean>;
  /** What happened to the database behind the back of the service, so that nothing is written to it any more, in words; null where nothing did. */
  fault(): string | null;
  /** Writes something that stays nowhere. @throws {Error} when the database takes no writes. */
  probe(): Promise<void>;
  readRecordedMigrations(): Promise<RecordedMigration[]>;
  close(): Promise<void>;
}
