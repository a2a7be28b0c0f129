// The connections that write: one transaction of a replica at a time, whose statements are sent without waiting for the answers to those before.

import type pg from 'pg';
import type { Transaction } from '../engine.ts';
import type { OnUnreadable } from '../readable-rows.ts';
import { TransactionClosed, withTimeout } from '../transaction-timeout.ts';
import { DatabaseUnavailable, readOnly } from '../unavailable.ts';
import { PostgresqlConnection, type Send } from './connection.ts';
import { withServerErrors } from './server-errors.ts';

/** Whether the transaction is read-only: the database is set so, or has become a standby. */
const readOnlyColumn = `current_setting('transaction_read_only') = 'on' AS "isReadOnly"`;
/** The first waits for the others of its replica; the others of the cluster are waited for in the database. */
const takeWriteLock = `SELECT pg_advisory_xact_lock(1885434979, 1), ${readOnlyColumn}`;
/** A database that is set to be read-only takes some writes all the same. */
const takeNoLock = `SELECT ${readOnlyColumn}`;

/** What may be done in an open transaction. */
export type OpenTransaction = {
  readonly savepoint: Transaction['savepoint'];
  readonly send: Send;
  /** Sends a statement without waiting for its end. If it fails, the transaction is not committed. */
  readonly sendPendingNotify: (query: pg.QueryConfig) => void;
};

export class Writer {
  readonly #pool: pg.Pool;
  readonly #onUnreadable: OnUnreadable;

  constructor(pool: pg.Pool, onUnreadable: OnUnreadable) {
    this.#pool = pool;
    this.#onUnreadable = onUnreadable;
  }

  /**
   * Runs work in a transaction that has the write lock of the database.
   * @param timeout How long the work may take, in milliseconds; the wait for the lock is limited by `statement_timeout`.
   * @throws {DatabaseUnavailable} when the work took longer, or the database cannot be written to. Then nothing of it is kept.
   */
  withWriteLock<Result>(work: (transaction: OpenTransaction) => Promise<Result>, timeout: number): Promise<Result> {
    return this.#transaction(takeWriteLock, work, timeout);
  }

  /** Runs work in a transaction beside others. */
  withoutWriteLock<Result>(work: (transaction: OpenTransaction) => Promise<Result>, timeout: number): Promise<Result> {
    return this.#transaction(takeNoLock, work, timeout);
  }

  async #transaction<Result>(begin: string, work: (transaction: OpenTransaction) => Promise<Result>, timeout: number): Promise<Result> {
    const session = new Session(await withServerErrors(() => this.#pool.connect()));
    try {
      await session.begin(begin);
      const result = await withTimeout(work(this.#openIn(session)), timeout);
      await session.commit();
      return result;
    } catch (error) {
      await session.rollback();
      throw error;
    } finally {
      session.release();
    }
  }

  #openIn(session: Session): OpenTransaction {
    let begin = 'SAVEPOINT part';
    const part = async (carryOut: Parameters<Transaction['savepoint']>[0]) => {
      let isOpen = true;
      const failures: unknown[] = [];
      const send: Send = async (query) => {
        if (!isOpen) throw new TransactionClosed();
        try {
          return await session.send(query);
        } catch (error) {
          failures.push(error);
          throw error;
        }
      };
      const isBegun = session.send({ text: begin });
      begin = 'RELEASE SAVEPOINT part; SAVEPOINT part';
      try {
        // What it sends after it has ended would be in the next part.
        const carriedOut = carryOut(new PostgresqlConnection(send, this.#onUnreadable)).finally(() => {
          isOpen = false;
        });
        await Promise.all([isBegun, carriedOut]);
        // Also if the error was caught: after a failed statement the server executes nothing more of the part.
        if (failures.length > 0) throw failures[0];
      } catch (error) {
        isOpen = false;
        await session.send({ text: 'ROLLBACK TO SAVEPOINT part' });
        throw error;
      }
    };
    return { savepoint: part, send: (query) => session.send(query), sendPendingNotify: (query) => session.sendPendingNotify(query) };
  }
}

/** One transaction on a connection of the pool. */
class Session {
  readonly #client: pg.PoolClient;
  #isOpen = true;
  #unheeded: Promise<unknown> = Promise.resolve();
  /** Whether the connection is of no use to the next transaction. */
  #isDiscarded = false;
  /** Statements on a lost connection fail by themselves; without a listener the event would end the process. */
  readonly #onError = () => {
    this.#isDiscarded = true;
  };

  constructor(client: pg.PoolClient) {
    this.#client = client;
    client.on('error', this.#onError);
  }

  readonly send: Send = async (query) => {
    if (!this.#isOpen) throw new TransactionClosed();
    return withServerErrors(() => this.#client.query(query));
  };

  sendPendingNotify(query: pg.QueryConfig): void {
    this.#unheeded = this.send(query);
    this.#unheeded.catch(() => {});
  }

  /** @param text A statement that says whether the session can write. One that cannot is replaced: it stays so when the database does not. @throws {DatabaseUnavailable} */
  async begin(text: string): Promise<void> {
    const [, { rows }] = await Promise.all([this.send({ text: 'BEGIN' }), this.send<{ isReadOnly: boolean }>({ text })]);
    if (rows[0]?.isReadOnly === false) return;
    this.#isDiscarded = true;
    throw new DatabaseUnavailable(readOnly);
  }

  /** @throws {Error} if a statement has failed, also if its error was caught: nothing is kept then. */
  async commit(): Promise<void> {
    const ended = this.send({ text: 'COMMIT' });
    this.#isOpen = false;
    // If a statement has failed, PostgreSQL answers `COMMIT` with `ROLLBACK`, without an error.
    const { command } = await ended;
    if (command === 'COMMIT') return;
    const cause = await this.#unheeded.then(() => null).catch((error: unknown) => error);
    throw new Error(`the database has answered COMMIT with ${command}`, { cause });
  }

  async rollback(): Promise<void> {
    if (!this.#isOpen) return;
    const ended = this.send({ text: 'ROLLBACK' });
    this.#isOpen = false;
    // A connection on which that fails has lost its transaction, and is not used again.
    await ended.catch(() => {
      this.#isDiscarded = true;
    });
  }

  release(): void {
    this.#client.off('error', this.#onError);
    this.#client.release(this.#isDiscarded);
  }
}
