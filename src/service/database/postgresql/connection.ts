// Reads and writes on one PostgreSQL connection, or on a pool of connections.

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
import type { MarkedRows, OnUndecodable } from '../readable-rows.ts';
import type { Tables } from '../tables.ts';
import type { RowKind } from '../undecodable-row.ts';
import { checkDates, decodeOrMark } from '../undecodable-row.ts';
import { cellTypes, encodeCell, encodeJsonCell } from './cells.ts';
import { allRows, postgresqlCompiler, postgresqlDialect, valueTypeOf } from './statement-compiler.ts';

type Values = Readonly<Record<string, unknown>>;
/** Sends a statement after all earlier statements. */
export type Send = <Row extends pg.QueryResultRow>(query: pg.QueryConfig) => Promise<pg.QueryResult<Row>>;

/** A statement with the name under which driver connections prepare it. */
type NamedStatement = { readonly name: string; readonly text: string; readonly parameters: readonly unknown[] };
/** Each statement is compiled once for all connections. Their number is bounded: no SQL text contains a value. */
const namedStatements = new WeakMap<object, NamedStatement>();
let statementCount = 0;

function nameStatement(statement: object, compile: () => CompiledQuery): NamedStatement {
  const known = namedStatements.get(statement);
  if (known !== undefined) return known;
  statementCount += 1;
  const { sql, parameters } = compile();
  const statementWithName = { name: `prepared-${statementCount}`, text: sql, parameters };
  namedStatements.set(statement, statementWithName);
  return statementWithName;
}

export class PostgresqlConnection implements Connection {
  readonly commitEffects = newCommitEffects();
  readonly sql: Kysely<Tables>;
  readonly #send: Send;
  readonly #onUndecodable: OnUndecodable;

  constructor(send: Send, onUndecodable: OnUndecodable) {
    this.#send = send;
    this.#onUndecodable = onUndecodable;
    this.sql = createQueryBuilder(postgresqlDialect, (query) => this.#run(query));
  }

  async executeForRows<Names extends Params>(statement: RowStatement<Names>, rows: readonly ParamValues<Names>[]): Promise<number[]> {
    if (rows.length === 0) return [];
    const prepared = nameStatement(statement, () => statement.compile(postgresqlCompiler));
    const types = Object.entries(statement.params).map(([name, type]) => [name, valueTypeOf(type)] as const);
    const json = JSON.stringify(rows.map((row: Values) => types.map(([name, type]) => encodeJsonCell(row[name], type))));
    const changed = await this.#send<{ position: number }>(bindValues(prepared, { [allRows]: json }));
    if (changed.command === 'INSERT') return rows.map(() => 1);
    const counts = rows.map(() => 0);
    for (const { position } of changed.rows) counts[position - 1] = (counts[position - 1] ?? 0) + 1;
    return counts;
  }

  async query<Names extends QueryParams, Row>(query: PreparedQuery<Names, Row>, given: ParamValues<Names>): Promise<Row[]> {
    const prepared = nameStatement(query, () => query.compile(postgresqlCompiler));
    const values: Record<string, unknown> = {};
    for (const [name, type] of Object.entries(query.params))
      values[name] = type === 'list' || type === 'pairs' ? encodeCell(given[name]) : encodeJsonCell(given[name], valueTypeOf(type));
    const { rows } = await this.#send<Row & pg.QueryResultRow>(bindValues(prepared, values));
    return rows.map(checkDates);
  }

  async queryReadable<Row extends object>(query: Compilable<Row>, rowKind: RowKind): Promise<MarkedRows<Row>> {
    const { rows } = await this.#send<Row & pg.QueryResultRow>(toQueryConfig(query.compile()));
    return rows.map((row) => decodeOrMark<Row>(row, checkDates, rowKind, this.#onUndecodable));
  }

  async #run<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    const { rows, rowCount } = await this.#send<Row & pg.QueryResultRow>(toQueryConfig(query));
    return { rows: rows.map(checkDates), numAffectedRows: BigInt(rowCount ?? 0) };
  }
}

const toQueryConfig = ({ sql, parameters }: CompiledQuery): pg.QueryConfig => ({
  text: sql,
  values: parameters.map(encodeCell),
  types: cellTypes,
});

/** Binds values to a statement; parameters without a name are constants of the statement. */
function bindValues({ name, text, parameters }: NamedStatement, given: Values): pg.QueryConfig {
  const values = parameters.map((parameter) => (parameter instanceof Parameter ? given[parameter.name] : encodeCell(parameter)));
  return { name, text, values, types: cellTypes };
}
