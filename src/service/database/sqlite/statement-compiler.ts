// Compiles statements for SQLite. A row statement is prepared once and executed for each row.

import {
  type CompiledQuery,
  createQueryId,
  DummyDriver,
  type Expression,
  Kysely,
  type RootOperationNode,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
} from 'kysely';
import { type ListExpression, type PairsExpression, Parameter, type StatementCompiler } from '../prepared-statements.ts';
import type { Tables } from '../tables.ts';

export const sqliteDialect = {
  createAdapter: () => new SqliteAdapter(),
  createIntrospector: (database: Kysely<unknown>) => new SqliteIntrospector(database),
  createQueryCompiler: () => new SqliteQueryCompiler(),
};

const parameter = (name: string): Expression<unknown> => sql.val<unknown>(new Parameter(name));
const compile = (node: RootOperationNode): CompiledQuery => sqliteDialect.createQueryCompiler().compileQuery(node, createQueryId());

export const sqliteCompiler: StatementCompiler = {
  sql: new Kysely<Tables>({ dialect: { ...sqliteDialect, createDriver: () => new DummyDriver() } }),
  rowValue: parameter,
  value: parameter,
  list: (name): ListExpression => ({ includes: (column) => sql`${column} in (select "value" from json_each(${parameter(name)}))` }),
  pairs: (name): PairsExpression => sql`(select "key" as "position", "value" ->> 0 as "first", "value" ->> 1 as "second"
    from json_each(${parameter(name)}))`,
  lastNumber: (table) => sql`(select "seq" from "sqlite_sequence" where "name" = ${sql.lit(table)})`,
  compileForRows: compile,
  compile,
};
