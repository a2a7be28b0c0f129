// The PostgreSQL engine: one database, and any number of processes whose write transactions are serialized.

import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import type { Connection } from '../connection.ts';
import { type Engine, maxNotificationBytes, type Transaction } from '../engine.ts';
import { PrismaClient as PostgresqlClient } from '../generated/postgresql/client.ts';
import { type RecordedMigration, selectRecordedMigrations } from '../migrations.ts';
import type { QueryClient } from '../query-client.ts';
import type { OnUndecodable } from '../readable-rows.ts';
import { toQueryClient } from '../reader.ts';
import type { RecurringJob } from '../recurring-job.ts';
import { ClusterJobs } from './cluster-jobs.ts';
import { CoalescedReads } from './coalesced-reads.ts';
import { PostgresqlConnection } from './connection.ts';
import { connectionOptions } from './connection-options.ts';
import { channel, Notifier } from './notifier.ts';
import { withServerErrors } from './server-errors.ts';
import { Writer } from './writer.ts';

/** Maximum connections of one replica, for reads and for writes. */
const connections = { reading: 8, writing: 2 } as const;
/** Timeout of the test write, in milliseconds. */
const probeTimeout = 5_000;

export class PostgresqlEngine implements Engine {
  readonly readConnection: Connection;
  readonly client: QueryClient;
  readonly #prisma: PostgresqlClient;
  readonly #pools: Readonly<Record<keyof typeof connections, pg.Pool>>;
  readonly #writer: Writer;
  readonly #notifier: Notifier;
  readonly #jobs: ClusterJobs;
  #undecodableListener: OnUndecodable = () => {};

  private constructor(url: string, notifier: Notifier, jobs: ClusterJobs) {
    const onUndecodable: OnUndecodable = (row) => this.#undecodableListener(row);
    const reading = createPool(url, { max: connections.reading }, ['default_transaction_read_only=on']);
    const writing = createPool(url, { max: connections.writing, pipeline: true }, ['synchronous_commit=on']);
    this.#pools = { reading, writing };
    this.#writer = new Writer(writing, onUndecodable);
    this.#prisma = new PostgresqlClient({ adapter: new PrismaPg(reading) });
    this.client = toQueryClient(this.#prisma);
    this.#notifier = notifier;
    this.#jobs = jobs;
    this.readConnection = new CoalescedReads(
      new PostgresqlConnection((query) => withServerErrors(() => reading.query(query)), onUndecodable),
    );
  }

  /** Opens a database to which all migrations are applied. */
  static async open(url: string): Promise<PostgresqlEngine> {
    const notifier = await Notifier.start(url);
    try {
      return new PostgresqlEngine(url, notifier, await ClusterJobs.start(url));
    } catch (error) {
      await notifier.close();
      throw error;
    }
  }

  /** Runs work with the write lock: decisions based on earlier reads stay valid with any number of replicas, and the audit trail is a single chain. */
  transaction<Result>(work: (transaction: Transaction) => Promise<Result>, timeout: number): Promise<Result> {
    return this.#writer.withWriteLock(({ savepoint, sendPendingNotify }) => {
      const notify = (text: string) => {
        if (text.length > maxNotificationBytes)
          throw new RangeError(`the notification has ${text.length} bytes, the limit is ${maxNotificationBytes}`);
        sendPendingNotify({ text: 'SELECT pg_notify($1, $2)', values: [channel, this.#notifier.toPayload(text)] });
      };
      return work({ savepoint, notify });
    }, timeout);
  }

  onUndecodable(listener: OnUndecodable): void {
    this.#undecodableListener = listener;
  }

  onNotification(listener: (text: string | null) => void): void {
    this.#notifier.listen(listener);
  }

  scheduleJob(name: string, interval: number, work: () => Promise<void>): RecurringJob {
    return this.#jobs.schedule(name, interval, work);
  }

  async clusterTime(): Promise<number> {
    const { rows } = await withServerErrors(() =>
      this.#pools.reading.query<{ now: number }>('SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::float8 AS "now"'),
    );
    const [row] = rows;
    if (row === undefined) throw new Error('the database returned no time');
    return row.now;
  }

  /** PostgreSQL runs checkpoints itself. */
  async checkpointLog(): Promise<void> {}

  async isDurable(): Promise<boolean> {
    const { rows } = await withServerErrors(() => this.#pools.writing.query<{ synchronous_commit: string }>('SHOW synchronous_commit'));
    return rows[0] !== undefined && rows[0].synchronous_commit !== 'off';
  }

  /** The server is responsible for its files. */
  fault(): null {
    return null;
  }

  /** Writes a logical message to the write-ahead log, which changes no table. */
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
    await this.#jobs.stop();
    await this.#notifier.close();
    await this.#prisma.$disconnect();
    for (const pool of Object.values(this.#pools)) await pool.end();
  }
}

/** Creates a connection pool. @param settings Server settings of each connection. */
function createPool(url: string, options: pg.PoolConfig, settings: readonly string[]): pg.Pool {
  const pool = new pg.Pool({ ...connectionOptions(url, settings), ...options });
  // An idle connection was lost; the pool replaces it.
  pool.on('error', () => {});
  return pool;
}
