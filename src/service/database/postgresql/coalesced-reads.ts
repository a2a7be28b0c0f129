// Coalesces equal reads outside transactions: concurrent requests often run the same query, for example to authenticate the same API key.

import { setImmediate as nextEventLoopTurn } from 'node:timers/promises';
import type { Compilable, Kysely } from 'kysely';
import type { CommitEffects } from '../commit-effects.ts';
import type { Connection } from '../connection.ts';
import type { Params, ParamValues, PreparedQuery, QueryParams, RowStatement } from '../prepared-statements.ts';
import type { MarkedRows } from '../readable-rows.ts';
import type { Tables } from '../tables.ts';
import type { RowKind } from '../undecodable-row.ts';

/** Sends a prepared query at the end of the current turn of the event loop, once for all equal queries of that turn: no caller gets data from before its call. */
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

  async query<Names extends QueryParams, Row>(query: PreparedQuery<Names, Row>, values: ParamValues<Names>): Promise<Row[]> {
    const pending = query.pending.get(this) ?? new Map<string, Promise<Row[]>>();
    query.pending.set(this, pending);
    const key = JSON.stringify(values, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));
    const rows = pending.get(key) ?? this.#send(query, values, () => pending.delete(key));
    pending.set(key, rows);
    // Each caller gets its own copy of the rows.
    return (await rows).map((row) => ({ ...row }));
  }

  async #send<Names extends QueryParams, Row>(
    query: PreparedQuery<Names, Row>,
    values: ParamValues<Names>,
    onSend: () => void,
  ): Promise<Row[]> {
    await nextEventLoopTurn();
    onSend();
    return this.#connection.query(query, values);
  }
}
