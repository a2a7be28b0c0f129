// PostgreSQL: one database, and any number of processes that write it, one after another.

import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { announcementLimit, type Connection, type Engine, type Transaction, type TransactionLimits } from '../engine.ts';
import type { Prisma, PrismaClient } from '../generated/client.ts';
import { getPrismaClientClass } from '../generated/internal/postgresql.ts';
import { type RecordedMigration, readRecorded } from '../migrations.ts';
import type { Repetition } from '../repetition.ts';
import { atDatabase, DatabaseUnavailable, readOnly } from '../unavailable.ts';
import { Announcements, channel } from './announcements.ts';
import { connectionTo } from './connections.ts';
import { SharedReads } from './shared-reads.ts';
import { SharedWork } from './shared-work.ts';
import { PostgresqlStatements } from './statements.ts';
import { Turn, TurnAdapter } from './turns.ts';

/** Connections of one replica that read, and the one that writes. */
const connections = { reading: 8, writing: 2 } as const;
/** Whether the transaction is read-only: the database is set so, or has become a standby. */
const readOnlyColumn = `current_setting('transaction_read_only') = 'on' AS "isReadOnly"`;
/** The first waits for the others of its replica; the others of the cluster are waited for in the database. */
const writerLock = `SELECT pg_advisory_xact_lock(1885434979, 1), ${readOnlyColumn}`;
/** How long it may take to see whether the database takes writes, in milliseconds. */
const probeLimits = { maxWait: 5_000, timeout: 5_000 };

export class PostgresqlEngine implements Engine {
  readonly #pools: Readonly<Record<keyof typeof connections, pg.Pool>>;
  readonly #turns: TurnAdapter;
  readonly #writer: PrismaClient;
  readonly #reader: PrismaClient;
  readonly #announcements: Announcements;
  readonly #work: SharedWork;
  readonly reading: Connection;

  private constructor(url: string, announcements: Announcements, work: SharedWork) {
    const reading = poolOf(url, { max: connections.reading }, ['default_transaction_read_only=on']);
    const writing = poolOf(url, { max: connections.writing, pipeline: true }, ['synchronous_commit=on']);
    this.#pools = { reading, writing };
    this.#turns = new TurnAdapter(writing);
    this.#writer = new (getPrismaClientClass())({ adapter: this.#turns });
    this.#reader = new (getPrismaClientClass())({ adapter: new PrismaPg(reading) });
    this.#announcements = announcements;
    this.#work = work;
    this.reading = {
      client: this.#reader,
      statements: new SharedReads(new PostgresqlStatements((query) => atDatabase(() => reading.query(query)))),
    };
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

  /**
   * Writers take turns: what is decided by what was read just before holds however many replicas there are, and the audit trail is one chain.
   * @throws {Error} of Prisma or the driver where the database is not there, or another transaction took too long.
   */
  async transaction<Result>(work: (transaction: Transaction) => Promise<Result>, limits: TransactionLimits): Promise<Result> {
    return this.#turns.take((turn) =>
      this.#writer.$transaction(async (client) => {
        await takeSession(turn, writerLock);
        return work(this.#transactionIn(turn, client));
      }, limits),
    );
  }

  /** What is sent here waits for no answer, unless whoever sends it does: the database carries it out one after another. */
  #transactionIn(turn: Turn, client: Prisma.TransactionClient): Transaction {
    let begin = 'SAVEPOINT part';
    const part = async (carryOut: (connection: Connection) => Promise<void>) => {
      const attempt = new Turn();
      attempt.begin(turn.run);
      const isBegun = turn.run({ text: begin });
      begin = 'RELEASE SAVEPOINT part; SAVEPOINT part';
      try {
        // What it sends after it has ended would be in the next part.
        const carriedOut = carryOut({ client, statements: new PostgresqlStatements(attempt.run) }).finally(() => attempt.end());
        await Promise.all([isBegun, carriedOut]);
      } catch (error) {
        await turn.run({ text: 'ROLLBACK TO SAVEPOINT part' });
        throw error;
      }
    };
    const announce = (text: string) => {
      if (text.length > announcementLimit)
        throw new RangeError(`an announcement of ${text.length} bytes is longer than ${announcementLimit}`);
      turn.unheeded = turn.run({ text: 'SELECT pg_notify($1, $2)', values: [channel, this.#announcements.signed(text)] });
      turn.unheeded.catch(() => {});
    };
    return { part, announce };
  }

  onAnnouncement(listener: (text: string | null) => void): void {
    this.#announcements.listen(listener);
  }

  repeat(name: string, interval: number, work: () => Promise<void>): Repetition {
    return this.#work.repeat(name, interval, work);
  }

  async sharedTime(): Promise<number> {
    const { rows } = await this.#pools.reading.query<{ now: number }>(
      'SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::float8 AS "now"',
    );
    const [row] = rows;
    if (row === undefined) throw new Error('the database does not say what time it is');
    return row.now;
  }

  /** PostgreSQL keeps its log itself. */
  async bringLogOver(): Promise<void> {}

  async isDurable(): Promise<boolean> {
    const [row] = await this.#writer.$queryRawUnsafe<{ synchronous_commit: string }[]>('SHOW synchronous_commit');
    return row !== undefined && row.synchronous_commit !== 'off';
  }

  /** Its files are the server's. */
  fault(): null {
    return null;
  }

  /** A message in the write-ahead log that nobody reads: it is on disk when it is committed, and in no table. */
  async probe(): Promise<void> {
    await this.#turns.take((turn) =>
      this.#writer.$transaction(async () => {
        // A database that is set to be read-only takes the message all the same.
        await takeSession(turn, `SELECT ${readOnlyColumn}`);
        await turn.run({ text: `SELECT pg_logical_emit_message(true, 'patchbay', 'probe')` });
      }, probeLimits),
    );
  }

  recordedMigrations(): Promise<RecordedMigration[]> {
    return this.#reader.$queryRawUnsafe<RecordedMigration[]>(readRecorded);
  }

  async close(): Promise<void> {
    await this.#work.stop();
    await this.#announcements.close();
    for (const client of [this.#reader, this.#writer]) await client.$disconnect();
    for (const pool of Object.values(this.#pools)) await pool.end();
  }
}

/** Begins with a statement that says whether the session can write. One that cannot is replaced: it stays so when the database does not. @throws {DatabaseUnavailable} */
async function takeSession(turn: Turn, text: string): Promise<void> {
  const { rows } = await turn.run<{ isReadOnly: boolean }>({ text });
  if (rows[0]?.isReadOnly === false) return;
  turn.isDiscarded = true;
  throw new DatabaseUnavailable(readOnly);
}

/** @param settings Of the server, for each connection. */
function poolOf(url: string, how: pg.PoolConfig, settings: readonly string[]): pg.Pool {
  const pool = new pg.Pool({ ...connectionTo(url, settings), ...how });
  // One that nobody used has ended: the pool makes another.
  pool.on('error', () => {});
  return pool;
}
