// Turns to write: transactions of Prisma's, whose connections are used beside it. There a statement need not wait for the answer to the one before.

import { AsyncLocalStorage } from 'node:async_hooks';
import { PrismaPg } from '@prisma/adapter-pg';
import type { IsolationLevel, SqlDriverAdapter, SqlDriverAdapterFactory, Transaction } from '@prisma/driver-adapter-utils';
import type pg from 'pg';
import { asDatabaseError, atDatabase } from '../unavailable.ts';
import type { Run } from './statements.ts';

/** Runs statements from when it begins until it ends, and none after that: they would be another's. */
export class Turn {
  #run: Run | null = null;
  /** A statement whose end nobody waits for: where it fails the transaction is not committed. */
  unheeded: Promise<unknown> = Promise.resolve();

  /** Whether the session is of no use to the next transaction. */
  isDiscarded = false;

  readonly run: Run = async (query) => {
    if (this.#run === null) throw asDatabaseError(new Error('Transaction already closed'));
    return this.#run(query);
  };

  begin(run: Run): void {
    this.#run = run;
  }

  end(): void {
    this.#run = null;
  }
}

/** Prisma's adapter, which lets the connections of its transactions be used beside it, and does not take for committed what was not. */
export class TurnAdapter implements SqlDriverAdapterFactory {
  readonly provider = 'postgres';
  readonly adapterName: string;
  readonly #factory: PrismaPg;
  readonly #turns = new AsyncLocalStorage<Turn>();

  constructor(pool: pg.Pool) {
    this.#factory = new PrismaPg(pool);
    this.adapterName = this.#factory.adapterName;
  }

  /** Has Prisma begin a transaction. @param transaction Given what runs statements in it, from when it has begun until it ends. */
  take<Result>(transaction: (turn: Turn) => Promise<Result>): Promise<Result> {
    const turn = new Turn();
    return this.#turns.run(turn, () => transaction(turn));
  }

  async connect(): Promise<SqlDriverAdapter> {
    const adapter = await this.#factory.connect();
    const start = adapter.startTransaction.bind(adapter);
    return Object.assign(adapter, { startTransaction: async (level?: IsolationLevel) => this.#taken(await start(level)) });
  }

  #taken(transaction: Transaction): Transaction {
    const client = connectionOf(transaction);
    const run: Run = (query) => atDatabase(() => client.query(query));
    const turn = this.#turns.getStore();
    turn?.begin(run);
    const release = transaction.rollback.bind(transaction);
    const end = async (sql: 'COMMIT' | 'ROLLBACK') => {
      turn?.end();
      try {
        // Where a statement has failed `COMMIT` rolls back, which is no error.
        const { command } = await run({ text: sql });
        if (command === sql) return;
        const cause = await turn?.unheeded.then(() => null).catch((error: unknown) => error);
        throw new Error(`the database has answered ${sql} with ${command}`, { cause });
      } finally {
        // The pool takes no connection back that is ending, and makes another.
        if (turn?.isDiscarded === true) client.end().catch(() => {});
        await release();
      }
    };
    // So Prisma leaves it to the adapter to end the transaction.
    return Object.assign(transaction, { options: { usePhantomQuery: true }, commit: () => end('COMMIT'), rollback: () => end('ROLLBACK') });
  }
}

function connectionOf(transaction: Transaction): pg.ClientBase & { readonly end: () => Promise<void> } {
  // Prisma's adapter calls it that, and says so nowhere: a version that does not would be seen here.
  if (!('client' in transaction) || !isConnection(transaction.client)) throw new Error('a transaction of Prisma has no connection of pg');
  return transaction.client;
}

function isConnection(value: unknown): value is pg.ClientBase & { readonly end: () => Promise<void> } {
  return typeof value === 'object' && value !== null && 'query' in value && 'release' in value && 'end' in value;
}
