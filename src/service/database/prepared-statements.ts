// Statements that are compiled once and run with other values each time: those that are executed for many rows at once, and frequent queries.

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

/** The types of the values that a statement is given. */
type ValueTypes = {
  readonly text: string;
  readonly integer: number;
  /** For columns of the type `BigInt`. */
  readonly bigint: bigint;
  readonly time: Date;
  readonly boolean: boolean;
  readonly json: Json;
  readonly bytes: Uint8Array<ArrayBuffer>;
};
export type ValueType = keyof ValueTypes;

/** What a statement is given, by name. A value whose type has a question mark may be null. */
export type Params = Readonly<Record<string, ValueType | `${ValueType}?`>>;
/** What a query is given: also lists of texts, and of pairs of texts. */
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
/** The values that a statement is given. */
export type ParamValues<Names extends QueryParams> = { readonly [Name in keyof Names]: ValueOf<Names[Name]> };

/** A list of texts in a query. */
export type ListExpression = { readonly includes: (column: Expression<string | null>) => Expression<SqlBool> };
/** A list of pairs in a query: a table with a row for each pair. */
export type PairsExpression = AliasableExpression<{
  /** The index of the pair in the list. */
  readonly position: number;
  readonly first: string;
  readonly second: string;
}>;
type AnyExpression = Expression<unknown> | ListExpression | PairsExpression;
/** What stands in a statement for the values that it will be given. */
export type ParamExpressions<Names extends QueryParams> = {
  readonly [Name in keyof Names]: Names[Name] extends 'list'
    ? ListExpression
    : Names[Name] extends 'pairs'
      ? PairsExpression
      : Expression<ValueOf<Names[Name]>>;
};

/** In a compiled statement: the value of that name goes here. */
export class Parameter {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

type RowNode = InsertQueryNode | UpdateQueryNode | DeleteQueryNode;

/** What compiles statements for one kind of database. */
export interface StatementCompiler {
  readonly sql: Kysely<Tables>;
  /** What stands for the value of one row, in a statement that runs for each of many. */
  rowValue(name: string, type: Params[string]): Expression<unknown>;
  /** What stands for a value, or a list, in a query. */
  value(name: string, type: Params[string]): Expression<unknown>;
  list(name: string): ListExpression;
  pairs(name: string): PairsExpression;
  /** The last number that the database gave to a row of a table, whether that row is still there or not; null or 1 where there was none. */
  lastNumber(table: keyof Tables): AliasableExpression<number | bigint | null>;
  compileForRows(node: RowNode, given: Params): CompiledQuery;
  compile(node: SelectQueryNode): CompiledQuery;
}

/** A statement that is executed for each of many rows. */
export class RowStatement<Names extends Params> {
  readonly params: Names;
  readonly #build: (sql: Kysely<Tables>, row: ParamExpressions<Names>) => { toOperationNode(): RowNode };

  /** @param build Builds an insert of one row, or an update or a delete of the rows that belong to it: two rows must not change the same. */
  constructor(given: Names, build: (sql: Kysely<Tables>, row: ParamExpressions<Names>) => { toOperationNode(): RowNode }) {
    this.params = given;
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
  /** What runs it, by the connection of the driver that has it prepared. */
  readonly prepared = new WeakMap<object, (given: ParamValues<Names>) => Promise<Row[]>>();
  /** Queries that are not sent yet, by their values, for connections on which equal queries share an answer. */
  readonly pending = new WeakMap<object, Map<string, Promise<Row[]>>>();
  readonly #build: BuildQuery<Names, Row>;

  constructor(given: Names, build: BuildQuery<Names, Row>) {
    this.params = given;
    this.#build = build;
  }

  compile(compiler: StatementCompiler): CompiledQuery {
    const given = createExpressions(this.params, compiler, 'value');
    return compiler.compile(this.#build(compiler.sql, given, compiler).toOperationNode());
  }
}

/** @param compiler For what the two kinds of databases have other words for. */
type BuildQuery<Names extends QueryParams, Row> = (
  sql: Kysely<Tables>,
  given: ParamExpressions<Names>,
  compiler: StatementCompiler,
) => SelectOf<Row>;

type SelectOf<Row> = Compilable<Row> & { toOperationNode(): SelectQueryNode };

function createExpressions<Names extends QueryParams>(
  given: Names,
  compiler: StatementCompiler,
  standIn: 'rowValue' | 'value',
): ParamExpressions<Names>;
function createExpressions(
  given: QueryParams,
  compiler: StatementCompiler,
  standIn: 'rowValue' | 'value',
): Readonly<Record<string, AnyExpression>> {
  const expressionOf = (name: string, type: QueryParams[string]): AnyExpression => {
    if (type === 'list') return compiler.list(name);
    return type === 'pairs' ? compiler.pairs(name) : compiler[standIn](name, type);
  };
  return Object.fromEntries(Object.entries(given).map(([name, type]) => [name, expressionOf(name, type)]));
}
