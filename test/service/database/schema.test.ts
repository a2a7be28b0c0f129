// The Prisma schema and the migrations agree.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import { PrismaPg } from '@prisma/adapter-pg';
import { bindMigrationAwareSqlAdapterFactory } from '@prisma/driver-adapter-utils';
import * as engine from '@prisma/schema-engine-wasm/schema_engine_bg';
import { expect, test } from 'vitest';
import { getExportedFunction } from '../../../src/machine/images/instance-exports.ts';
import { applyMigrations } from '../../../src/service/database/sqlite/migrations.ts';
import { kind, newDatabase, newEmptyDatabase, openSql, runSql } from '../../databases.ts';

test('they agree', async () => {
  const folders = ['migrated', 'wanted'].map((name) => mkdtempSync(join(tmpdir(), `patchbay-${name}-`)));
  const [migrated, wanted] = [await newDatabase(folders[0] ?? ''), await newEmptyDatabase(folders[1] ?? '')];
  if (kind === 'sqlite') applyMigrations(migrated);
  await runSql(wanted, await schemaScript(wanted));
  const structure = await structureOf(migrated);
  expect(structure).not.toEqual([]);
  expect(structure).toEqual(await structureOf(wanted));
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** Returns the SQL that creates the schema in an empty database. */
async function schemaScript(emptyDatabase: string): Promise<string> {
  const require = createRequire(import.meta.url);
  const binary = join(dirname(require.resolve('@prisma/schema-engine-wasm')), 'schema_engine_bg.wasm');
  const instance = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(readFileSync(binary))), {
    './schema_engine_bg.js': engine,
  });
  engine.__wbg_set_wasm(instance.exports);
  getExportedFunction(instance.exports, '__wbindgen_start')();
  const path = { sqlite: 'schema.prisma', postgresql: 'postgresql/schema.prisma' }[kind];
  const content = readFileSync(new URL(`../../../prisma/${path}`, import.meta.url), 'utf8');
  const adapters = {
    sqlite: () => bindMigrationAwareSqlAdapterFactory(new PrismaBetterSqlite3({ url: ':memory:' })),
    postgresql: () => bindMigrationAwareSqlAdapterFactory(new PrismaPg(emptyDatabase)),
  };
  const schemaEngine = await engine.SchemaEngine.new({ datamodels: [['schema.prisma', content]] }, () => {}, adapters[kind]());
  const { stdout } = await schemaEngine.diff({
    from: { tag: 'empty' },
    to: { tag: 'schemaDatamodel', files: [{ path: 'schema.prisma', content }] },
    script: true,
    exitCode: null,
    filters: { externalTables: [], externalEnums: [] },
  });
  return stdout ?? '';
}

/** Returns the tables with their columns, keys and indexes. */
async function structureOf(database: string): Promise<unknown[]> {
  const sql = await openSql(database);
  const { tables, ...parts } = questions[kind];
  const structure: unknown[] = [];
  for (const { name } of await sql.run(tables)) {
    const found: Record<string, unknown> = { name };
    for (const [part, question] of Object.entries(parts)) found[part] = await sql.run(question, String(name));
    structure.push(found);
  }
  await sql.close();
  return structure;
}

/** Queries that describe a table, except its collations, which Prisma does not manage. */
const questions = {
  sqlite: {
    tables: `SELECT "name" FROM sqlite_master WHERE "type" = 'table' AND "name" NOT LIKE '\\_%' ESCAPE '\\' AND "name" NOT LIKE 'sqlite%' ORDER BY "name"`,
    columns: 'SELECT "name", "type", "notnull", "dflt_value", "pk" FROM pragma_table_info(?) ORDER BY "name"',
    foreignKeys: 'SELECT "table", "from", "to", "on_update", "on_delete" FROM pragma_foreign_key_list(?) ORDER BY "from"',
    indexes: `SELECT list."name", list."unique", group_concat(info."name") AS "columns",
        (SELECT substr("sql", instr("sql", ' WHERE ')) FROM sqlite_master WHERE list."partial" AND sqlite_master."name" = list."name") AS "condition"
      FROM pragma_index_list(?) AS list, pragma_index_info(list."name") AS info GROUP BY list."name" ORDER BY list."name"`,
  },
  postgresql: {
    tables: `SELECT tablename AS "name" FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_prisma_migrations' ORDER BY tablename`,
    columns: `SELECT attname, format_type(atttypid, atttypmod), attnotnull, attidentity, pg_get_expr(adbin, adrelid)
      FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
      WHERE attrelid = quote_ident(?)::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname`,
    // Without NOT NULL, which the columns show: since version 18 PostgreSQL names it after the column, and keeps the name when the column is renamed.
    constraints: `SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
      WHERE conrelid = quote_ident(?)::regclass AND contype <> 'n' ORDER BY conname`,
    indexes: `SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = quote_ident(?)::regclass ORDER BY 1`,
  },
} satisfies Record<typeof kind, Record<string, string>>;
