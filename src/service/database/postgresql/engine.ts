// PostgreSQL: one database, and any number of processes that write it, one after another.

import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import type { Connection } from '../connection.ts';
import { announcementLimit, type Engine, type Transaction } from '../engine.ts';
import { PrismaClient as PostgresqlClient } from '../generated/postgresql/client.ts';
import { type RecordedMigration, readRecorded } from '../migrations.ts';
import type { QueryClient } from '../query-client.ts';
import type { OnUnreadable } from '../readable-rows.ts';
import { queryClientOf } from '../reader.ts';
import type { Repetition } from '../repetition.ts';
import { Announcements, channel } from './announcements.ts';
import { PostgresqlConnection } from './connection.ts';
import { connectionTo } from './connections.ts';
import { atServer } from './server-failures.ts';
import { SharedReads } from './shared-reads.ts';
import { SharedWork } from './shared-work.ts';
import { Writer } from './writer.ts';

/** Connections of one replica that read, and the one that writes. */
const connections = { reading: 8, writing: 2 } as const;
/** How long it may take to see whether the database takes writes, in milliseconds. */
const probeTimeout = 5_000;

export class PostgresqlEngine implements Engine {
  readonly reading: Connection;
  readonly client: QueryClient;
  readonly #prisma: PostgresqlClient;
  readonly #pools: Readonly<Record<keyof typeof connections, pg.Pool>>;
  readonly #writer: Writer;
  readonly #announcements: Announcements;
  readonly #work: SharedWork;
  #unreadableListener: OnUnreadable = () => {};

  private constructor(url: string, announcements: Announcements, work: SharedWork) {
    const onUnreadable: OnUnreadable = (row) => this.#unreadableListener(row);
    const reading = poolOf(url, { max: connections.reading }, ['default_transaction_read_only=on']);
    const writing = poolOf(url, { max: connections.writing, pipeline: true }, ['synchronous_commit=on']);
    this.#pools = { reading, writing };
    this.#writer = new Writer(writing, onUnreadable);
    this.#prisma = new PostgresqlClient({ adapter: new PrismaPg(reading) });
    this.client = queryClientOf(this.#prisma);
    this.#announcements = announcements;
    this.#work = work;
    this.reading = new SharedReads(new PostgresqlConnection((query) => atServer(() => reading.query(query)), onUnreadable));
  }

  /** Opens a database that has all migrations. */
  static async open(url: string): Promise<PostgresqlEngine> {
    const announcements = await Announcements.follow(url);
    try {
      return new PostgresqlEngine(url, announcements, await SharedWork.start(url));
    } catch (error) {
      await announcements.close();
      throw error;
    }
  }

  /** One writer at a time: what is decided by what was read just before holds however many replicas there are, and the audit trail is one chain. */
  transaction<Result>(work: (transaction: Transaction) => Promise<Result>, timeout: number): Promise<Result> {
    return this.#writer.locked(({ part, sendUnheeded }) => {
      const announce = (text: string) => {
        if (text.length > announcementLimit)
          throw new RangeError(`an announcement of ${text.length} bytes is longer than ${announcementLimit}`);
        sendUnheeded({ text: 'SELECT pg_notify($1, $2)', values: [channel, this.#announcements.signed(text)] });
      };
      return work({ part, announce });
    }, timeout);
  }

  onUnreadable(listener: OnUnreadable): void {
    this.#unreadableListener = listener;
  }

  onAnnouncement(listener: (text: string | null) => void): void {
    this.#announcements.listen(listener);
  }

  repeat(name: string, interval: number, work: () => Promise<void>): Repetition {
    return this.#work.repeat(name, interval, work);
  }

  async sharedTime(): Promise<number> {
    const { rows } = await atServer(() =>
      this.#pools.reading.query<{ now: number }>('SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::float8 AS "now"'),
    );
    const [row] = rows;
    if (row === undefined) throw new Error('the database does not say what time it is');
    return row.now;
  }

  /** PostgreSQL keeps its log itself. */
  async bringLogOver(): Promise<void> {}

  async isDurable(): Promise<boolean> {
    const { rows } = await atServer(() => this.#pools.writing.query<{ synchronous_commit: string }>('SHOW synchronous_commit'));
    return rows[0] !== undefined && rows[0].synchronous_commit !== 'off';
  }

  /** Its files are the server's. */
  fault(): null {
    return null;
  }

  /** A message in the write-ahead log that nobody reads: it is on disk when it is committed, and in no table. */
  async probe(): Promise<void> {
    await this.#writer.unlocked(({ send }) => send({ text: `SELECT pg_logical_emit_message(true, 'patchbay', 'probe')` }), probeTimeout);
  }

  async recordedMigrations(): Promise<RecordedMigration[]> {
    return (await atServer(() => this.#pools.reading.query<RecordedMigration>(readRecorded))).rows;
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
  const pool = new pg.Pool({ ...connectionTo(url, settings), ...how });
  // One that nobody used has ended: the pool makes another.
  pool.on('error', () => {});
  return pool;
}
