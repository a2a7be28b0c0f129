// PostgreSQL: one database, and any number of processes that write it, one after another.

import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import type { Connection } from '../connection.ts';
import { type Engine, maxNotificationBytes, type Transaction } from '../engine.ts';
import { PrismaClient as PostgresqlClient } from '../generated/postgresql/client.ts';
import { type RecordedMigration, selectRecordedMigrations } from '../migrations.ts';
import type { QueryClient } from '../query-client.ts';
import type { OnUnreadable } from '../readable-rows.ts';
import { toQueryClient } from '../reader.ts';
import type { RecurringJob } from '../recurring-job.ts';
import { ClusterJobs } from './cluster-jobs.ts';
import { CoalescedReads } from './coalesced-reads.ts';
import { PostgresqlConnection } from './connection.ts';
import { connectionOptions } from './connection-options.ts';
import { channel, Notifier } from './notifier.ts';
import { withServerErrors } from './server-errors.ts';
import { Writer } from './writer.ts';

/** Connections of one replica that read, and the one that writes. */
const connections = { reading: 8, writing: 2 } as const;
/** How long it may take to see whether the database takes writes, in milliseconds. */
const probeTimeout = 5_000;

export class PostgresqlEngine implements Engine {
  readonly readConnection: Connection;
  readonly client: QueryClient;
  readonly #prisma: PostgresqlClient;
  readonly #pools: Readonly<Record<keyof typeof connections, pg.Pool>>;
  readonly #writer: Writer;
  readonly #announcements: Notifier;
  readonly #work: ClusterJobs;
  #unreadableListener: OnUnreadable = () => {};

  private constructor(url: string, announcements: Notifier, work: ClusterJobs) {
    const onUnreadable: OnUnreadable = (row) => this.#unreadableListener(row);
    const readConnection = poolOf(url, { max: connections.reading }, ['default_transaction_read_only=on']);
    const writing = poolOf(url, { max: connections.writing, pipeline: true }, ['synchronous_commit=on']);
    this.#pools = { reading: readConnection, writing };
    this.#writer = new Writer(writing, onUnreadable);
    this.#prisma = new PostgresqlClient({ adapter: new PrismaPg(readConnection) });
    this.client = toQueryClient(this.#prisma);
    this.#announcements = announcements;
    this.#work = work;
    this.readConnection = new CoalescedReads(
      new PostgresqlConnection((query) => withServerErrors(() => readConnection.query(query)), onUnreadable),
    );
  }

  /** Opens a database that has all migrations. */
  static async open(url: string): Promise<PostgresqlEngine> {
    const announcements = await Notifier.start(url);
    try {
      return new PostgresqlEngine(url, announcements, await ClusterJobs.start(url));
    } catch (error) {
      await announcements.close();
      throw error;
    }
  }

  /** One writer at a time: what is decided by what was read just before holds however many replicas there are, and the audit trail is one chain. */
  transaction<Result>(work: (transaction: Transaction) => Promise<Result>, timeout: number): Promise<Result> {
    return this.#writer.withWriteLock(({ savepoint: part, sendPendingNotify: sendUnheeded }) => {
      const announce = (text: string) => {
        if (text.length > maxNotificationBytes)
          throw new RangeError(`an announcement of ${text.length} bytes is longer than ${maxNotificationBytes}`);
        sendUnheeded({ text: 'SELECT pg_notify($1, $2)', values: [channel, this.#announcements.toPayload(text)] });
      };
      return work({ savepoint: part, notify: announce });
    }, timeout);
  }

  onUnreadable(listener: OnUnreadable): void {
    this.#unreadableListener = listener;
  }

  onNotification(listener: (text: string | null) => void): void {
    this.#announcements.listen(listener);
  }

  scheduleJob(name: string, interval: number, work: () => Promise<void>): RecurringJob {
    return this.#work.schedule(name, interval, work);
  }

  async clusterTime(): Promise<number> {
    const { rows } = await withServerErrors(() =>
      this.#pools.reading.query<{ now: number }>('SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::float8 AS "now"'),
    );
    const [row] = rows;
    if (row === undefined) throw new Error('the database does not say what time it is');
    return row.now;
  }

  /** PostgreSQL keeps its log itself. */
  async checkpointLog(): Promise<void> {}

  async isDurable(): Promise<boolean> {
    const { rows } = await withServerErrors(() => this.#pools.writing.query<{ synchronous_commit: string }>('SHOW synchronous_commit'));
    return rows[0] !== undefined && rows[0].synchronous_commit !== 'off';
  }

  /** Its files are the server's. */
  fault(): null {
    return null;
  }

  /** A message in the write-ahead log that nobody reads: it is on disk when it is committed, and in no table. */
  async probe(): Promise<void> {
    await this.#writer.withoutWriteLock(
      ({ send }) => send({ text: `SELECT pg_logical_emit_message(true, 'patchbay', 'probe')` }),
      probeTimeout,
    );
  }

  async readRecordedMigrations(): Promise<RecordedMigration[]> {
    return (await withServerErrors(() => this.#pools.reading.query<RecordedMigration>(selectRecordedMigrations))).rows;
  }

  async close(): Promise<void> {
    await this.#work.stop();
    await this.#announcements.close();
    await this.#prisma.$disconnect();
    for (const pool of Object.values(this.#pools)) await pool.end();
  }
}

/** @param settings Of the server, for each connection. */
function poolOf(url: string, how: pg.PoolConfig, settings: readonly string[]): pg.Pool {
  const pool = new pg.Pool({ ...connectionOptions(url, settings), ...how });
  // One that nobody used has ended: the pool makes another.
  pool.on('error', () => {});
  return pool;
}
