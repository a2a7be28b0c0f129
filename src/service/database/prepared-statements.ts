// Prepared statements: compiled once and executed with different values. There are statements for many rows, and queries.

import type {
  AliasableExpression,
  Compilable,
  CompiledQuery,
  DeleteQueryNode,
  Expression,
  InsertQueryNode,
  Kysely,
  SelectQueryNode,
  SqlBool,
  UpdateQueryNode,
} from 'kysely';
import type { Json } from './json.ts';
import type { Tables } from './tables.ts';

/** The parameter types of statements. */
type ValueTypes = {
  readonly text: string;
  readonly integer: number;
  /** For `BigInt` columns. */
  readonly bigint: bigint;
  readonly time: Date;
  readonly boolean: boolean;
  readonly json: Json;
  readonly bytes: Uint8Array<ArrayBuffer>;
};
export type ValueType = keyof ValueTypes;

/** The parameters of a statement: their types by name. A type with a question mark is nullable. */
export type Params = Readonly<Record<string, ValueType | `${ValueType}?`>>;
/** The parameters of a query, which may also be lists of strings or of pairs of strings. */
export type QueryParams = Readonly<Record<string, Params[string] | 'list' | 'pairs'>>;

type ValueOf<Type> = Type extends `${infer Known extends ValueType}?`
  ? ValueTypes[Known] | null
  : Type extends ValueType
    ? ValueTypes[Type]
    : Type extends 'list'
      ? readonly string[]
      : Type extends 'pairs'
        ? readonly (readonly [first: string, second: string])[]
        : never;
/** The values of the parameters. */
export type ParamValues<Names extends QueryParams> = { readonly [Name in keyof Names]: ValueOf<Names[Name]> };

/** A list of strings in a query. */
export type ListExpression = { readonly includes: (column: Expression<string | null>) => Expression<SqlBool> };
/** A list of pairs in a query: a table with one row per pair. */
export type PairsExpression = AliasableExpression<{
  /** The index of the pair in the list. */
  readonly position: number;
  readonly first: string;
  readonly second: string;
}>;
type AnyExpression = Expression<unknown> | ListExpression | PairsExpression;
/** The SQL expressions of the parameters. */
export type ParamExpressions<Names extends QueryParams> = {
  readonly [Name in keyof Names]: Names[Name] extends 'list'
    ? ListExpression
    : Names[Name] extends 'pairs'
      ? PairsExpression
      : Expression<ValueOf<Names[Name]>>;
};

/** A named placeholder in a compiled statement. */
export class Parameter {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

type RowNode = InsertQueryNode | UpdateQueryNode | DeleteQueryNode;

/** Compiles statements for one database engine. */
export interface StatementCompiler {
  readonly sql: Kysely<Tables>;
  /** Returns the expression of a row's value, in a statement for many rows. */
  rowValue(name: string, type: Params[string]): Expression<unknown>;
  /** Returns the expression of a value in a query. */
  value(name: string, type: Params[string]): Expression<unknown>;
  list(name: string): ListExpression;
  pairs(name: string): PairsExpression;
  /** Returns the expression of the last number assigned to a row of a table, even if that row was deleted; null or 1 if none was. */
  lastNumber(table: keyof Tables): AliasableExpression<number | bigint | null>;
  compileForRows(node: RowNode, params: Params): CompiledQuery;
  compile(node: SelectQueryNode): CompiledQuery;
}

/** A statement that is executed for each of many rows. */
export class RowStatement<Names extends Params> {
  readonly params: Names;
  readonly #build: (sql: Kysely<Tables>, row: ParamExpressions<Names>) => { toOperationNode(): RowNode };

  /** @param build Builds an insert of one row, or an update or delete of the table rows that match it. Two rows must not match the same table row. */
  constructor(params: Names, build: (sql: Kysely<Tables>, row: ParamExpressions<Names>) => { toOperationNode(): RowNode }) {
    this.params = params;
    this.#build = build;
  }

  compile(compiler: StatementCompiler): CompiledQuery {
    const row = createExpressions(this.params, compiler, 'rowValue');
    return compiler.compileForRows(this.#build(compiler.sql, row).toOperationNode(), this.params);
  }
}

/** A query that is compiled once. */
export class PreparedQuery<Names extends QueryParams, Row> {
  readonly params: Names;
  /** The prepared query, by driver connection. */
  readonly prepared = new WeakMap<object, (values: ParamValues<Names>) => Promise<Row[]>>();
  /** Queries that are not sent yet, by their values, for connections that coalesce equal queries. */
  readonly pending = new WeakMap<object, Map<string, Promise<Row[]>>>();
  readonly #build: BuildQuery<Names, Row>;

  constructor(params: Names, build: BuildQuery<Names, Row>) {
    this.params = params;
    this.#build = build;
  }

  compile(compiler: StatementCompiler): CompiledQuery {
    const params = createExpressions(this.params, compiler, 'value');
    return compiler.compile(this.#build(compiler.sql, params, compiler).toOperationNode());
  }
}

/** @param compiler For expressions that differ between the databases. */
type BuildQuery<Names extends QueryParams, Row> = (
  sql: Kysely<Tables>,
  params: ParamExpressions<Names>,
  compiler: StatementCompiler,
) => SelectOf<Row>;

type SelectOf<Row> = Compilable<Row> & { toOperationNode(): SelectQueryNode };

function createExpressions<Names extends QueryParams>(
  params: Names,
  compiler: StatementCompiler,
  placeholder: 'rowValue' | 'value',
): ParamExpressions<Names>;
function createExpressions(
  params: QueryParams,
  compiler: StatementCompiler,
  placeholder: 'rowValue' | 'value',
): Readonly<Record<string, AnyExpression>> {
  const expressionOf = (name: string, type: QueryParams[string]): AnyExpression => {
    if (type === 'list') return compiler.list(name);
    return type === 'pairs' ? compiler.pairs(name) : compiler[placeholder](name, type);
  };
  return Object.fromEntries(Object.entries(params).map(([name, type]) => [name, expressionOf(name, type)]));
}
