// Reads outside transactions: requests that come at the same time often ask the same, as who it is that shows this key.

import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import type { Compilable, Kysely } from 'kysely';
import type { Committed } from '../committed.ts';
import type { Connection } from '../connection.ts';
import type { Given, GivenLists, PreparedQuery, RowStatement, ValuesOf } from '../prepared-statements.ts';
import type { MarkedRows } from '../readable-rows.ts';
import type { Tables } from '../tables.ts';
import type { RowKind } from '../unreadable.ts';

/** Sends a prepared query when the turn of the event loop in which it was asked is over, once for all who have asked it then: none gets an answer from before it asked. */
export class SharedReads implements Connection {
  readonly committed: Committed;
  readonly sql: Kysely<Tables>;
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.committed = connection.committed;
    this.sql = connection.sql;
    this.#connection = connection;
  }

  each<Names extends Given>(statement: RowStatement<Names>, rows: readonly ValuesOf<Names>[]): Promise<number[]> {
    return this.#connection.each(statement, rows);
  }

  readableRows<Row extends object>(query: Compilable<Row>, rowKind: RowKind): Promise<MarkedRows<Row>> {
    return this.#connection.readableRows(query, rowKind);
  }

  async all<Names extends GivenLists, Row>(query: PreparedQuery<Names, Row>, given: ValuesOf<Names>): Promise<Row[]> {
    const asked = query.asked.get(this) ?? new Map<string, Promise<Row[]>>();
    query.asked.set(this, asked);
    const name = JSON.stringify(given, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));
    const answer = asked.get(name) ?? this.#send(query, given, () => asked.delete(name));
    asked.set(name, answer);
    // Each has rows of its own.
    return (await answer).map((row) => ({ ...row }));
  }

  async #send<Names extends GivenLists, Row>(query: PreparedQuery<Names, Row>, given: ValuesOf<Names>, isSent: () => void): Promise<Row[]> {
    await turnOfTheEventLoop();
    isSent();
    return this.#connection.all(query, given);
  }
}
