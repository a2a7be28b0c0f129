// What is read and written on one connection to PostgreSQL, or on a pool of them.

import type { Compilable, CompiledQuery, Kysely, QueryResult } from 'kysely';
import type pg from 'pg';
import { newCommitted } from '../committed.ts';
import { builderOn, type Connection } from '../connection.ts';
import { type Given, type GivenLists, Parameter, type PreparedQuery, type RowStatement, type ValuesOf } from '../prepared-statements.ts';
import type { MarkedRows, OnUnreadable } from '../readable-rows.ts';
import type { Tables } from '../tables.ts';
import type { RowKind } from '../unreadable.ts';
import { checkDates, rowOrMark } from '../unreadable.ts';
import { cellInJson, cellTypes, sentCell } from './cells.ts';
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
  readonly committed = newCommitted();
  readonly sql: Kysely<Tables>;
  readonly #send: Send;
  readonly #onUnreadable: OnUnreadable;

  constructor(send: Send, onUnreadable: OnUnreadable) {
    this.#send = send;
    this.#onUnreadable = onUnreadable;
    this.sql = builderOn(postgresqlDialect, (query) => this.#run(query));
  }

  async each<Names extends Given>(statement: RowStatement<Names>, rows: readonly ValuesOf<Names>[]): Promise<number[]> {
    if (rows.length === 0) return [];
    const prepared = namedOf(statement, () => statement.compile(postgresqlCompiler));
    const types = Object.entries(statement.given).map(([name, type]) => [name, valueTypeOf(type)] as const);
    const given = JSON.stringify(rows.map((row: Values) => types.map(([name, type]) => cellInJson(row[name], type))));
    const changed = await this.#send<{ place: number }>(queryOf(prepared, { [allRows]: given }));
    if (changed.command === 'INSERT') return rows.map(() => 1);
    const counts = rows.map(() => 0);
    for (const { place } of changed.rows) counts[place - 1] = (counts[place - 1] ?? 0) + 1;
    return counts;
  }

  async all<Names extends GivenLists, Row>(query: PreparedQuery<Names, Row>, given: ValuesOf<Names>): Promise<Row[]> {
    const prepared = namedOf(query, () => query.compile(postgresqlCompiler));
    const values: Record<string, unknown> = {};
    for (const [name, type] of Object.entries(query.given))
      values[name] = type === 'list' || type === 'pairs' ? sentCell(given[name]) : cellInJson(given[name], valueTypeOf(type));
    const { rows } = await this.#send<Row & pg.QueryResultRow>(queryOf(prepared, values));
    return rows.map(checkDates);
  }

  async readableRows<Row extends object>(query: Compilable<Row>, rowKind: RowKind): Promise<MarkedRows<Row>> {
    const { rows } = await this.#send<Row & pg.QueryResultRow>(unnamed(query.compile()));
    return rows.map((row) => rowOrMark<Row>(row, checkDates, rowKind, this.#onUnreadable));
  }

  async #run<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    const { rows, rowCount } = await this.#send<Row & pg.QueryResultRow>(unnamed(query));
    return { rows: rows.map(checkDates), numAffectedRows: BigInt(rowCount ?? 0) };
  }
}

const unnamed = ({ sql, parameters }: CompiledQuery): pg.QueryConfig => ({
  text: sql,
  values: parameters.map(sentCell),
  types: cellTypes,
});

/** The statement with its values; parameters that have no name are constants of the statement. */
function queryOf({ name, text, parameters }: Named, given: Values): pg.QueryConfig {
  const values = parameters.map((parameter) => (parameter instanceof Parameter ? given[parameter.name] : sentCell(parameter)));
  return { name, text, values, types: cellTypes };
}
