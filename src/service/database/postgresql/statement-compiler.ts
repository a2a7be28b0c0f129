// Compiles statements for PostgreSQL. A row statement is sent once, with all rows in one parameter.

import {
  AliasNode,
  type CompiledQuery,
  createQueryId,
  DeleteQueryNode,
  DummyDriver,
  type Expression,
  IdentifierNode,
  InsertQueryNode,
  Kysely,
  type OperationNode,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  QueryNode,
  type RootOperationNode,
  SelectionNode,
  sql,
  UpdateQueryNode,
  ValueListNode,
  ValuesNode,
} from 'kysely';
import {
  type ListExpression,
  type PairsExpression,
  Parameter,
  type Params,
  type StatementCompiler,
  type ValueType,
} from '../prepared-statements.ts';
import type { Tables } from '../tables.ts';

export const postgresqlDialect = {
  createAdapter: () => new PostgresAdapter(),
  createIntrospector: (database: Kysely<unknown>) => new PostgresIntrospector(database),
  createQueryCompiler: () => new PostgresQueryCompiler(),
};

/** The name of the parameter that contains all rows, as a JSON array of arrays. */
export const allRows = ':rows';

const columnTypes = {
  text: 'text',
  integer: 'bigint',
  bigint: 'bigint',
  time: 'timestamp',
  boolean: 'boolean',
  json: 'jsonb',
  bytes: 'text',
} as const;

/** Returns the value type without the question mark. */
export function valueTypeOf(type: Params[string]): ValueType {
  if (type === 'text' || type === 'text?') return 'text';
  if (type === 'integer' || type === 'integer?') return 'integer';
  if (type === 'bigint' || type === 'bigint?') return 'bigint';
  if (type === 'time' || type === 'time?') return 'time';
  if (type === 'boolean' || type === 'boolean?') return 'boolean';
  return type === 'json' || type === 'json?' ? 'json' : 'bytes';
}

function cast(text: Expression<unknown>, type: ValueType): Expression<unknown> {
  if (type === 'bytes') return sql`decode(${text}, 'hex')`;
  return sql`(${text})::${sql.raw(columnTypes[type])}`;
}

const parameter = (name: string): Expression<unknown> => sql.val<unknown>(new Parameter(name));
const compile = (node: RootOperationNode): CompiledQuery => postgresqlDialect.createQueryCompiler().compileQuery(node, createQueryId());

/** Returns the rows as a table; a colon in its column names distinguishes them from the columns of other tables. */
function rowsOf(params: Params): Expression<unknown> {
  const columns = Object.entries(params).map(
    ([name, type], index) => sql`${cast(sql`"row" ->> ${sql.lit(index)}`, valueTypeOf(type))} as ${sql.id(`:${name}`)}`,
  );
  const rows = sql`jsonb_array_elements(${parameter(allRows)}::jsonb) with ordinality as "rows" ("row", "position")`;
  return sql`(select "position", ${sql.join(columns)} from ${rows})`;
}

const rowsNode = (params: Params) => AliasNode.create(rowsOf(params).toOperationNode(), IdentifierNode.create('given'));
const position = SelectionNode.create(sql`"given"."position"::integer`.as('position').toOperationNode());

/** Extends a statement for one row to a statement for all rows. */
function toRowsStatement(node: InsertQueryNode | UpdateQueryNode | DeleteQueryNode, params: Params): RootOperationNode {
  if (UpdateQueryNode.is(node))
    return QueryNode.cloneWithReturning(UpdateQueryNode.cloneWithFromItems(node, [rowsNode(params)]), [position]);
  if (DeleteQueryNode.is(node)) return QueryNode.cloneWithReturning(DeleteQueryNode.cloneWithUsing(node, [rowsNode(params)]), [position]);
  const values = sql.join(valuesOf(node).map((value) => ({ expressionType: undefined, toOperationNode: () => value })));
  const rows = sql`select ${values} from ${rowsOf(params)} as "given" order by "position"`;
  return InsertQueryNode.cloneWith(node, { values: rows.toOperationNode() });
}

/** Returns the values of an insert of one row, in the order of its columns. */
function valuesOf({ values }: InsertQueryNode): readonly OperationNode[] {
  const [row, ...others] = values !== undefined && ValuesNode.is(values) ? values.values : [];
  if (row === undefined || others.length > 0 || !ValueListNode.is(row)) throw new Error('a row statement must insert exactly one row');
  return row.values;
}

export const postgresqlCompiler: StatementCompiler = {
  sql: new Kysely<Tables>({ dialect: { ...postgresqlDialect, createDriver: () => new DummyDriver() } }),
  rowValue: (name) => sql.ref(`given.:${name}`),
  value: (name, type) => cast(parameter(name), valueTypeOf(type)),
  // With an array, PostgreSQL looks up each element in an index; with joined rows, it may scan the whole table.
  list: (name): ListExpression => ({
    includes: (column) => sql`${column} = any (array(select jsonb_array_elements_text(${parameter(name)}::jsonb)))`,
  }),
  pairs: (name): PairsExpression => sql`(select ("position" - 1)::integer as "position", "pair" ->> 0 as "first", "pair" ->> 1 as "second"
    from jsonb_array_elements(${parameter(name)}::jsonb) with ordinality as "pairs" ("pair", "position"))`,
  lastNumber: (table) => sql`(select "last_value" from ${sql.id(`${table}_number_seq`)})`,
  compileForRows: (node, params) => compile(toRowsStatement(node, params)),
  compile,
};
