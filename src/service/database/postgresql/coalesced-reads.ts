// Reads outside transactions: requests that come at the same time often ask the same, as who it is that shows this key.

import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import type { Compilable, Kysely } from 'kysely';
import type { CommitEffects } from '../commit-effects.ts';
import type { Connection } from '../connection.ts';
import type { Params, ParamValues, PreparedQuery, QueryParams, RowStatement } from '../prepared-statements.ts';
import type { MarkedRows } from '../readable-rows.ts';
import type { Tables } from '../tables.ts';
import type { RowKind } from '../undecodable-row.ts';

/** Sends a prepared query when the turn of the event loop in which it was asked is over, once for all who have asked it then: none gets an answer from before it asked. */
export class CoalescedReads implements Connection {
  readonly commitEffects: CommitEffects;
  readonly sql: Kysely<Tables>;
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.commitEffects = connection.commitEffects;
    this.sql = connection.sql;
    this.#connection = connection;
  }

  executeForRows<Names extends Params>(statement: RowStatement<Names>, rows: readonly ParamValues<Names>[]): Promise<number[]> {
    return this.#connection.executeForRows(statement, rows);
  }

  queryReadable<Row extends object>(query: Compilable<Row>, rowKind: RowKind): Promise<MarkedRows<Row>> {
    return this.#connection.queryReadable(query, rowKind);
  }

  async query<Names extends QueryParams, Row>(query: PreparedQuery<Names, Row>, given: ParamValues<Names>): Promise<Row[]> {
    const asked = query.pending.get(this) ?? new Map<string, Promise<Row[]>>();
    query.pending.set(this, asked);
    const name = JSON.stringify(given, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));
    const answer = asked.get(name) ?? this.#send(query, given, () => asked.delete(name));
    asked.set(name, answer);
    // Each has rows of its own.
    return (await answer).map((row) => ({ ...row }));
  }

  async #send<Names extends QueryParams, Row>(
    query: PreparedQuery<Names, Row>,
    given: ParamValues<Names>,
    isSent: () => void,
  ): Promise<Row[]> {
    await turnOfTheEventLoop();
    isSent();
    return this.#connection.query(query, given);
  }
}
