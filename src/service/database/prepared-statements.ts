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
type Types = {
  readonly text: string;
  readonly integer: number;
  /** For columns of the type `BigInt`. */
  readonly bigint: bigint;
  readonly time: Date;
  readonly truth: boolean;
  readonly json: Json;
  readonly bytes: Uint8Array<ArrayBuffer>;
};
export type ValueType = keyof Types;

/** What a statement is given, by name. A value whose type has a question mark may be null. */
export type Given = Readonly<Record<string, ValueType | `${ValueType}?`>>;
/** What a query is given: also lists of texts, and of pairs of texts. */
export type GivenLists = Readonly<Record<string, Given[string] | 'list' | 'pairs'>>;

type ValueOf<Type> = Type extends `${infer Known extends ValueType}?`
  ? Types[Known] | null
  : Type extends ValueType
    ? Types[Type]
    : Type extends 'list'
      ? readonly string[]
      : Type extends 'pairs'
        ? readonly (readonly [first: string, second: string])[]
        : never;
/** The values that a statement is given. */
export type ValuesOf<Names extends GivenLists> = { readonly [Name in keyof Names]: ValueOf<Names[Name]> };

/** A list of texts in a query. */
export type ListExpression = { readonly includes: (column: Expression<string | null>) => Expression<SqlBool> };
/** A list of pairs in a query: a table with a row for each pair. */
export type PairsExpression = AliasableExpression<{
  /** The index of the pair in the list. */
  readonly place: number;
  readonly first: string;
  readonly second: string;
}>;
type AnyExpression = Expression<unknown> | ListExpression | PairsExpression;
/** What stands in a statement for the values that it will be given. */
export type ExpressionsOf<Names extends GivenLists> = {
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
  rowValue(name: string, type: Given[string]): Expression<unknown>;
  /** What stands for a value, or a list, in a query. */
  value(name: string, type: Given[string]): Expression<unknown>;
  list(name: string): ListExpression;
  pairs(name: string): PairsExpression;
  /** The last number that the database gave to a row of a table, whether that row is still there or not; null or 1 where there was none. */
  lastNumber(table: keyof Tables): AliasableExpression<number | bigint | null>;
  compileForRows(node: RowNode, given: Given): CompiledQuery;
  compile(node: SelectQueryNode): CompiledQuery;
}

/** A statement that is executed for each of many rows. */
export class RowStatement<Names extends Given> {
  readonly given: Names;
  readonly #build: (sql: Kysely<Tables>, row: ExpressionsOf<Names>) => { toOperationNode(): RowNode };

  /** @param build Builds an insert of one row, or an update or a delete of the rows that belong to it: two rows must not change the same. */
  constructor(given: Names, build: (sql: Kysely<Tables>, row: ExpressionsOf<Names>) => { toOperationNode(): RowNode }) {
    this.given = given;
    this.#build = build;
  }

  compile(compiler: StatementCompiler): CompiledQuery {
    const row = expressionsOf(this.given, compiler, 'rowValue');
    return compiler.compileForRows(this.#build(compiler.sql, row).toOperationNode(), this.given);
  }
}

/** A query that is compiled once. */
export class PreparedQuery<Names extends GivenLists, Row> {
  readonly given: Names;
  /** What runs it, by the connection of the driver that has it prepared. */
  readonly prepared = new WeakMap<object, (given: ValuesOf<Names>) => Promise<Row[]>>();
  /** Queries that are not sent yet, by their values, for connections on which equal queries share an answer. */
  readonly asked = new WeakMap<object, Map<string, Promise<Row[]>>>();
  readonly #build: BuildQuery<Names, Row>;

  constructor(given: Names, build: BuildQuery<Names, Row>) {
    this.given = given;
    this.#build = build;
  }

  compile(compiler: StatementCompiler): CompiledQuery {
    const given = expressionsOf(this.given, compiler, 'value');
    return compiler.compile(this.#build(compiler.sql, given, compiler).toOperationNode());
  }
}

/** @param compiler For what the two kinds of databases have other words for. */
type BuildQuery<Names extends GivenLists, Row> = (
  sql: Kysely<Tables>,
  given: ExpressionsOf<Names>,
  compiler: StatementCompiler,
) => SelectOf<Row>;

type SelectOf<Row> = Compilable<Row> & { toOperationNode(): SelectQueryNode };

function expressionsOf<Names extends GivenLists>(
  given: Names,
  compiler: StatementCompiler,
  standIn: 'rowValue' | 'value',
): ExpressionsOf<Names>;
function expressionsOf(
  given: GivenLists,
  compiler: StatementCompiler,
  standIn: 'rowValue' | 'value',
): Readonly<Record<string, AnyExpression>> {
  const expressionOf = (name: string, type: GivenLists[string]): AnyExpression => {
    if (type === 'list') return compiler.list(name);
    return type === 'pairs' ? compiler.pairs(name) : compiler[standIn](name, type);
  };
  return Object.fromEntries(Object.entries(given).map(([name, type]) => [name, expressionOf(name, type)]));
}
