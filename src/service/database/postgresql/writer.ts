// The write connections: a replica runs one write transaction at a time, and pipelines its statements.

import type pg from 'pg';
import type { Transaction } from '../engine.ts';
import type { OnUndecodable } from '../readable-rows.ts';
import { TransactionClosed, withTimeout } from '../transaction-timeout.ts';
import { DatabaseUnavailable, readOnly } from '../unavailable.ts';
import { PostgresqlConnection, type Send } from './connection.ts';
import { withServerErrors } from './server-errors.ts';

/** Whether the transaction is read-only, because of a setting or because the server is a standby. */
const readOnlyColumn = `current_setting('transaction_read_only') = 'on' AS "isReadOnly"`;
/** Acquires the write lock of the cluster. */
const acquireWriteLock = `SELECT pg_advisory_xact_lock(1885434979, 1), ${readOnlyColumn}`;
/** Without the lock. The read-only state is checked explicitly: some writes succeed even then. */
const checkReadOnly = `SELECT ${readOnlyColumn}`;

/** The operations in an open transaction. */
export type OpenTransaction = {
  readonly savepoint: Transaction['savepoint'];
  readonly send: Send;
  /** Sends a statement without waiting for its result. If it fails, the transaction is rolled back. */
  readonly sendPendingNotify: (query: pg.QueryConfig) => void;
};

export class Writer {
  readonly #pool: pg.Pool;
  readonly #onUndecodable: OnUndecodable;

  constructor(pool: pg.Pool, onUndecodable: OnUndecodable) {
    this.#pool = pool;
    this.#onUndecodable = onUndecodable;
  }

  /**
   * Runs work in a transaction with the write lock of the database. Rolls back if the work rejects.
   * @param timeout Maximum duration of the work, in milliseconds; `statement_timeout` limits the wait for the lock.
   * @throws {DatabaseUnavailable} if the work timed out, or the database accepts no writes.
   */
  withWriteLock<Result>(work: (transaction: OpenTransaction) => Promise<Result>, timeout: number): Promise<Result> {
    return this.#transaction(acquireWriteLock, work, timeout);
  }

  /** Runs work in a transaction without the write lock, concurrently with others. */
  withoutWriteLock<Result>(work: (transaction: OpenTransaction) => Promise<Result>, timeout: number): Promise<Result> {
    return this.#transaction(checkReadOnly, work, timeout);
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
    let begin = 'SAVEPOINT change';
    const savepoint = async (change: Parameters<Transaction['savepoint']>[0]) => {
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
      const begun = session.send({ text: begin });
      begin = 'RELEASE SAVEPOINT change; SAVEPOINT change';
      try {
        // A statement sent after the change has ended would run in the next savepoint.
        const changed = change(new PostgresqlConnection(send, this.#onUndecodable)).finally(() => {
          isOpen = false;
        });
        await Promise.all([begun, changed]);
        // Even if the error was caught: after a failed statement the server executes no further statement of the savepoint.
        if (failures.length > 0) throw failures[0];
      } catch (error) {
        isOpen = false;
        await session.send({ text: 'ROLLBACK TO SAVEPOINT change' });
        throw error;
      }
    };
    return { savepoint, send: (query) => session.send(query), sendPendingNotify: (query) => session.sendPendingNotify(query) };
  }
}

/** One transaction on a connection of the pool. */
class Session {
  readonly #client: pg.PoolClient;
  #isOpen = true;
  #pendingNotify: Promise<unknown> = Promise.resolve();
  /** Whether the connection must not be reused. */
  #isDiscarded = false;
  /** Statements on a lost connection reject; without a listener the error event would crash the process. */
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
    this.#pendingNotify = this.send(query);
    this.#pendingNotify.catch(() => {});
  }

  /**
   * Begins the transaction. A read-only session is discarded: it remains read-only when the database becomes writable.
   * @param text A statement that selects `isReadOnly`.
   * @throws {DatabaseUnavailable} if the session is read-only.
   */
  async begin(text: string): Promise<void> {
    const [, { rows }] = await Promise.all([this.send({ text: 'BEGIN' }), this.send<{ isReadOnly: boolean }>({ text })]);
    if (rows[0]?.isReadOnly === false) return;
    this.#isDiscarded = true;
    throw new DatabaseUnavailable(readOnly);
  }

  /** Commits the transaction. @throws {Error} if a statement has failed, even if its error was caught: the transaction is then rolled back. */
  async commit(): Promise<void> {
    const committed = this.send({ text: 'COMMIT' });
    this.#isOpen = false;
    // After a failed statement, PostgreSQL responds to COMMIT with ROLLBACK, without an error.
    const { command } = await committed;
    if (command === 'COMMIT') return;
    const cause = await this.#pendingNotify.then(() => null).catch((error: unknown) => error);
    throw new Error(`the database responded to COMMIT with ${command}`, { cause });
  }

  async rollback(): Promise<void> {
    if (!this.#isOpen) return;
    const rolledBack = this.send({ text: 'ROLLBACK' });
    this.#isOpen = false;
    // If the rollback fails, the connection is lost and must not be reused.
    await rolledBack.catch(() => {
      this.#isDiscarded = true;
    });
  }

  release(): void {
    this.#client.off('error', this.#onError);
    this.#client.release(this.#isDiscarded);
  }
}
