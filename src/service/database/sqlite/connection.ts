// Reads and writes on one connection to the database file.

import type Database from 'better-sqlite3';
import type { Compilable, CompiledQuery, Kysely, QueryResult } from 'kysely';
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
import { decodeOrMark } from '../undecodable-row.ts';
import { encodeCell, prepareReader } from './cells.ts';
import { sqliteCompiler, sqliteDialect } from './statement-compiler.ts';

type Values = Readonly<Record<string, unknown>>;
/** Row statements that are prepared on one connection of the driver. */
export type PreparedRowStatements = WeakMap<object, (row: Values) => number>;

export class SqliteConnection implements Connection {
  readonly commitEffects = newCommitEffects();
  readonly sql: Kysely<Tables>;
  readonly #database: () => Database.Database;
  readonly #onUndecodable: OnUndecodable;
  readonly #rowStatements: PreparedRowStatements;

  /**
   * @param database Returns the driver connection for each statement; throws if no statement may run.
   * @param rowStatements The row statements that are prepared on the driver connection.
   */
  constructor(database: () => Database.Database, onUndecodable: OnUndecodable, rowStatements: PreparedRowStatements = new WeakMap()) {
    this.#database = database;
    this.#onUndecodable = onUndecodable;
    this.#rowStatements = rowStatements;
    this.sql = createQueryBuilder(sqliteDialect, (query) => this.#run(query));
  }

  async executeForRows<Names extends Params>(statement: RowStatement<Names>, rows: readonly ParamValues<Names>[]): Promise<number[]> {
    if (rows.length === 0) return [];
    const database = this.#database();
    const run = this.#rowStatements.get(statement) ?? prepareForRows(database, statement.compile(sqliteCompiler));
    this.#rowStatements.set(statement, run);
    return rows.map((row) => run(row));
  }

  async query<Names extends QueryParams, Row>(query: PreparedQuery<Names, Row>, values: ParamValues<Names>): Promise<Row[]> {
    const database = this.#database();
    const run = query.prepared.get(database) ?? prepareQuery<ParamValues<Names>, Row>(database, query.compile(sqliteCompiler));
    query.prepared.set(database, run);
    return run(values);
  }

  async queryReadable<Row extends object>(query: Compilable<Row>, rowKind: RowKind): Promise<MarkedRows<Row>> {
    const { sql, parameters } = query.compile();
    const { stored, decode } = prepareReader(this.#database().prepare<unknown[], Row>(sql));
    return stored(parameters.map(encodeCell)).map((row) => decodeOrMark(row, decode, rowKind, this.#onUndecodable));
  }

  async #run<Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
    const statement = this.#database().prepare<unknown[], Row>(sql);
    const values = parameters.map(encodeCell);
    if (!statement.reader) return { rows: [], numAffectedRows: BigInt(statement.run(...values).changes) };
    const { stored, decode } = prepareReader(statement);
    return { rows: stored(values).map(decode) };
  }
}

function prepareForRows(database: Database.Database, { sql, parameters }: CompiledQuery): (row: Values) => number {
  const statement = database.prepare(sql);
  return (row) => statement.run(...valuesOf(parameters, row)).changes;
}

function prepareQuery<Given extends Values, Row>(
  database: Database.Database,
  { sql, parameters }: CompiledQuery,
): (values: Given) => Promise<Row[]> {
  const { stored, decode } = prepareReader(database.prepare<unknown[], Row>(sql));
  return async (values) => stored(valuesOf(parameters, values)).map(decode);
}

/** Returns the parameter values of a statement, in order; parameters without a name are constants of the statement. */
const valuesOf = (parameters: readonly unknown[], values: Values) =>
  parameters.map((parameter) => encodeCell(parameter instanceof Parameter ? values[parameter.name] : parameter));
