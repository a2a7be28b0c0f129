// What is read and written on one connection to the database file.

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
import type { MarkedRows, OnUnreadable } from '../readable-rows.ts';
import type { Tables } from '../tables.ts';
import type { RowKind } from '../undecodable-row.ts';
import { decodeOrMark } from '../undecodable-row.ts';
import { encodeCell, prepareReader } from './cells.ts';
import { sqliteCompiler, sqliteDialect } from './statement-compiler.ts';

type Values = Readonly<Record<string, unknown>>;
/** Statements for rows, as they are prepared on one connection of the driver. */
export type PreparedRowStatements = WeakMap<object, (row: Values) => number>;

export class SqliteConnection implements Connection {
  readonly commitEffects = newCommitEffects();
  readonly sql: Kysely<Tables>;
  readonly #database: () => Database.Database;
  readonly #onUnreadable: OnUnreadable;
  readonly #rowStatements: PreparedRowStatements;

  /**
   * @param database Asked for with each statement; throws where no statement may run.
   * @param rowStatements Statements that are prepared on the database.
   */
  constructor(database: () => Database.Database, onUnreadable: OnUnreadable, rowStatements: PreparedRowStatements = new WeakMap()) {
    this.#database = database;
    this.#onUnreadable = onUnreadable;
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

  async query<Names extends QueryParams, Row>(query: PreparedQuery<Names, Row>, given: ParamValues<Names>): Promise<Row[]> {
    const database = this.#database();
    const run = query.prepared.get(database) ?? prepareQuery<ParamValues<Names>, Row>(database, query.compile(sqliteCompiler));
    query.prepared.set(database, run);
    return run(given);
  }

  async queryReadable<Row extends object>(query: Compilable<Row>, rowKind: RowKind): Promise<MarkedRows<Row>> {
    const { sql, parameters } = query.compile();
    const { stored, decode } = prepareReader(this.#database().prepare<unknown[], Row>(sql));
    return stored(parameters.map(encodeCell)).map((row) => decodeOrMark(row, decode, rowKind, this.#onUnreadable));
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
): (given: Given) => Promise<Row[]> {
  const { stored, decode } = prepareReader(database.prepare<unknown[], Row>(sql));
  return async (given) => stored(valuesOf(parameters, given)).map(decode);
}

/** The values of a statement's parameters, in their order; others are constants of the statement. */
const valuesOf = (parameters: readonly unknown[], given: Values) =>
  parameters.map((parameter) => encodeCell(parameter instanceof Parameter ? given[parameter.name] : parameter));
