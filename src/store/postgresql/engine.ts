// PostgreSQL: one database, and any number of processes that write it, one after another.

import { PrismaPg } from '@prisma/adapter-pg';
import { announcementLimit, type Connection, type Engine, type Transaction, type TransactionLimits } from '../engine.ts';
import type { PrismaClient } from '../generated/client.ts';
import { getPrismaClientClass } from '../generated/internal/postgresql.ts';
import { type RecordedMigration, readRecorded } from '../migrations.ts';
import type { Repetition } from '../repetition.ts';
import { Announcements, channel } from './announcements.ts';
import { connectionTo } from './connections.ts';
import { SharedWork } from './shared-work.ts';
import { nameOfStatement, PostgresqlStatements } from './statements.ts';

/** Connections of one replica that read, and the one that writes. */
const connections = { reading: 8, writing: 2 } as const;
/** The first waits for the others of its replica; the others of the cluster are waited for in the database. */
const writerLock = 'SELECT pg_advisory_xact_lock(1885434979, 1)';
/** How long it may take to see whether the database takes writes, in milliseconds. */
const probeLimits = { maxWait: 5_000, timeout: 5_000 };

export class PostgresqlEngine implements Engine {
  readonly #writer: PrismaClient;
  readonly #reader: PrismaClient;
  readonly #announcements: Announcements;
  readonly #work: SharedWork;
  readonly reading: Connection;

  private constructor(url: string, announcements: Announcements, work: SharedWork) {
    this.#writer = clientOf(url, connections.writing, ['synchronous_commit=on']);
    this.#reader = clientOf(url, connections.reading, ['default_transaction_read_only=on']);
    this.#announcements = announcements;
    this.#work = work;
    this.reading = { client: this.#reader, statements: new PostgresqlStatements(this.#reader) };
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
   * @throws {Error} of Prisma where the database is not there, or another transaction took too long.
   */
  async transaction<Result>(work: (transaction: Transaction) => Promise<Result>, limits: TransactionLimits): Promise<Result> {
    return this.#writer.$transaction(async (client) => {
      await client.$executeRawUnsafe(writerLock);
      let begin = 'SAVEPOINT part';
      const part = async (carryOut: () => Promise<void>) => {
        await client.$executeRawUnsafe(begin);
        begin = 'RELEASE SAVEPOINT part; SAVEPOINT part';
        try {
          await carryOut();
        } catch (error) {
          await client.$executeRawUnsafe('ROLLBACK TO SAVEPOINT part');
          throw error;
        }
      };
      const announce = async (text: string) => {
        if (text.length > announcementLimit)
          throw new RangeError(`an announcement of ${text.length} bytes is longer than ${announcementLimit}`);
        await client.$executeRawUnsafe('SELECT pg_notify($1, $2)', channel, this.#announcements.signed(text));
      };
      return work({ client, statements: new PostgresqlStatements(client), part, announce });
    }, limits);
  }

  onAnnouncement(listener: (text: string | null) => void): void {
    this.#announcements.listen(listener);
  }

  repeat(name: string, interval: number, work: () => Promise<void>): Repetition {
    return this.#work.repeat(name, interval, work);
  }

  async isDurable(): Promise<boolean> {
    const [row] = await this.#writer.$queryRawUnsafe<{ synchronous_commit: string }[]>('SHOW synchronous_commit');
    return row !== undefined && row.synchronous_commit !== 'off';
  }

  /** A message in the write-ahead log that nobody reads: it is on disk when it is committed, and in no table. */
  async probe(): Promise<void> {
    await this.#writer.$transaction(async (client) => {
      // A database that is set to be read-only takes the message all the same.
      const [row] = await client.$queryRawUnsafe<{ transaction_read_only: string }[]>('SHOW transaction_read_only');
      if (row?.transaction_read_only !== 'off') throw new Error('the database is read-only');
      await client.$executeRawUnsafe(`SELECT pg_logical_emit_message(true, 'patchbay', 'probe')`);
    }, probeLimits);
  }

  recordedMigrations(): Promise<RecordedMigration[]> {
    return this.#reader.$queryRawUnsafe<RecordedMigration[]>(readRecorded);
  }

  async close(): Promise<void> {
    await this.#work.stop();
    await this.#announcements.close();
    await this.#reader.$disconnect();
    await this.#writer.$disconnect();
  }
}

/** @param settings Of the server, for each connection. */
function clientOf(url: string, max: number, settings: readonly string[]): PrismaClient {
  return new (getPrismaClientClass())({
    adapter: new PrismaPg({ ...connectionTo(url, settings), max }, { statementNameGenerator: nameOfStatement }),
  });
}
