// What is read and written on one connection to PostgreSQL, or on a pool of them.

import type { Compilable, CompiledQuery, Kysely, QueryResult } from 'kysely';
import type pg from 'pg';
import { newCommitEffects } from '../commit-effects.ts';
import { type Connection, createQueryBuilder } from '../connection.ts';
import {
  Parameter,
  type Params,
  type ParamValues,
  type PreparedQuery,
  type QueryParams,
  type RowStatement,
} from '../prepared-statements.ts';
import type { MarkedRows, OnUnreadable } from '../readable-rows.ts';
import type { Tables } from '../tables.ts';
import type { RowKind } from '../undecodable-row.ts';
import { checkDates, decodeOrMark } from '../undecodable-row.ts';
import { cellTypes, encodeCell, encodeJsonCell } from './cells.ts';
import { allRows, postgresqlCompiler, postgresqlDialect, valueTypeOf } from './statement-compiler.ts';

type Values = Readonly<Record<string, unknown>>;
/** Sends a statement after those that were sent before it. */
export type Send = <Row extends pg.QueryResultRow>(query: pg.QueryConfig) => Promise<pg.QueryResult<Row>>;

/** A statement, and the name under which a connection of the driver keeps it prepared. */
type Named = { readonly name: string; readonly text: string; readonly parameters: readonly unknown[] };
/** Each is compiled once for all connections. There are as many as the program has, and no text has a value in it. */
const named = new WeakMap<object, Named>();
let count = 0;

function namedOf(statement: object, compile: () => CompiledQuery): Named {
  const known = named.get(statement);
  if (known !== undefined) return known;
  count += 1;
  const { sql, parameters } = compile();
  const made = { name: `prepared-${count}`, text: sql, parameters };
  named.set(statement, made);
  return made;
}

export class PostgresqlConnection implements Connection {
  readonly commitEffects = newCommitEffects();
  readonly sql: Kysely<Tables>;
  readonly #send: Send;
  readonly #onUnreadable: OnUnreadable;

  constructor(send: Send, onUnreadable: OnUnreadable) {
    this.#send = send;
    this.#onUnreadable = onUnreadable;
    this.sql = createQueryBuilder(postgresqlDialect, (query) => this.#run(query));
  }

  async executeForRows<Names extends Params>(statement: RowStatement<Names>, rows: readonly ParamValues<Names>[]): Promise<number[]> {
    if (rows.length === 0) return [];
    const prepared = namedOf(statement, () => statement.compile(postgresqlCompiler));
    const types = Object.entries(statement.params).map(([name, type]) => [name, valueTypeOf(type)] as const);
    const given = JSON.stringify(rows.map((row: Values) => types.map(([name, type]) => encodeJsonCell(row[name], type))));
    const changed = await this.#send<{ position: number }>(queryOf(prepared, { [allRows]: given }));
    if (changed.command === 'INSERT') return rows.map(() => 1);
    const counts = rows.map(() => 0);
    for (const { position } of changed.rows) counts[position - 1] = (counts[position - 1] ?? 0) + 1;
    return counts;
  }

  async query<Names extends QueryParams, Row>(query: PreparedQuery<Names, Row>, given: ParamValues<Names>): Promise<Row[]> {
    const prepared = namedOf(query, () => query.compile(postgresqlCompiler));
    const values: Record<string, unknown> = {};
    for (const [name, type] of Object.entries(query.params))
      values[name] = type === 'list' || type === 'pairs' ? encodeCell(given[name]) : encodeJsonCell(given[name], valueTypeOf(type));
    const { rows } = await this.#send<Row & pg.QueryResultRow>(queryOf(prepared, values));
    return rows.map(checkDates);
  }

  async queryReadable<Row extends object>(query: Compilable<Row>, rowKind: RowKind): Promise<MarkedRows<Row>> {
    const { rows } = await this.#send<Row & pg.QueryResultRow>(unnamed(query.compile()));
    return rows.map((row) => decodeOrMark<Row>(row, checkDates, rowKind, this.#onUnreadable));
  }

  async #run<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    const { rows, rowCount } = await this.#send<Row & pg.QueryResultRow>(unnamed(query));
    return { rows: rows.map(checkDates), numAffectedRows: BigInt(rowCount ?? 0) };
  }
}

const unnamed = ({ sql, parameters }: CompiledQuery): pg.QueryConfig => ({
  text: sql,
  values: parameters.map(encodeCell),
  types: cellTypes,
});

/** The statement with its values; parameters that have no name are constants of the statement. */
function queryOf({ name, text, parameters }: Named, given: Values): pg.QueryConfig {
  const values = parameters.map((parameter) => (parameter instanceof Parameter ? given[parameter.name] : encodeCell(parameter)));
  return { name, text, values, types: cellTypes };
}
