// Test databases: each test has its own, of the kind of its Vitest project.

import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import pg from 'pg';
import { afterAll, inject } from 'vitest';
import { applyMigrations } from '../src/service/database/sqlite/migrations.ts';
import { isPostgresqlUrl } from '../src/service/database/store.ts';

declare module 'vitest' {
  interface ProvidedContext {
    databases: 'sqlite' | 'postgresql';
    /** URL of the server on which PostgreSQL databases are created. */
    postgresqlUrl: string;
    /** The template database with all migrations and no data; its name is the prefix of all test databases. */
    postgresqlTemplate: string;
  }
}

export const kind = inject('databases');

/** Returns a database with all migrations and no data. @param folder The folder of a SQLite file; an existing file is kept. */
export async function newDatabase(folder: string): Promise<string> {
  if (kind !== 'sqlite') return createPostgresql();
  const file = join(folder, 'patchbay.db');
  if (!existsSync(file)) writeFileSync(file, migratedFile(), { mode: 0o600 });
  return file;
}

let fileWithMigrations: Uint8Array | null = null;

/** Returns the bytes of a SQLite file with all migrations: the tests of a process apply them once. */
function migratedFile(): Uint8Array {
  if (fileWithMigrations !== null) return fileWithMigrations;
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-migrated-'));
  try {
    const file = join(folder, 'patchbay.db');
    applyMigrations(file);
    fileWithMigrations = readFileSync(file);
    return fileWithMigrations;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Returns a new database without migrations. */
export async function newEmptyDatabase(folder: string): Promise<string> {
  if (kind === 'sqlite') return join(folder, 'patchbay.db');
  return createPostgresql('template0');
}

/** Databases that the tests of this file created; they are dropped after it. */
const createdDatabases: string[] = [];
afterAll(async () => {
  if (createdDatabases.length === 0) return;
  const sql = await openSql(inject('postgresqlUrl'));
  for (const name of createdDatabases) await sql.run(`DROP DATABASE ${name} WITH (FORCE)`);
  await sql.close();
});

/** Creates a PostgreSQL database. @param template The template; by default the one with all migrations. */
export async function createPostgresql(template = inject('postgresqlTemplate')): Promise<string> {
  const name = `${inject('postgresqlTemplate')}_${randomUUID().replaceAll('-', '')}`;
  const url = new URL(inject('postgresqlUrl'));
  await runSql(url.href, `CREATE DATABASE ${name} TEMPLATE ${template}`);
  createdDatabases.push(name);
  url.pathname = `/${name}`;
  return url.href;
}

/** Alters a PostgreSQL database from outside. @param how The rest of the `ALTER DATABASE` statement. */
export async function alterPostgresql(database: string, how: string): Promise<void> {
  await runSql(inject('postgresqlUrl'), `ALTER DATABASE ${nameOf(database)} ${how}`);
}

/** Terminates the connections to a PostgreSQL database, as a server restart does, and returns their number. */
export async function endConnections(database: string): Promise<number> {
  const ended = await runSql(
    inject('postgresqlUrl'),
    'SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = ?',
    nameOf(database),
  );
  return ended.length;
}

const nameOf = (database: string) => new URL(database).pathname.slice(1);

/** A row as SQLite stores it: times are milliseconds since 1970, booleans 0 and 1, JSON is a string. */
type Row = Readonly<Record<string, unknown>>;
type Parameter = string | number | Uint8Array | null;

/** A connection to a database that bypasses the service. */
export type Sql = {
  /** Executes a statement with `?` placeholders, or several without parameters. Returns the rows of the last. */
  readonly run: (text: string, ...parameters: readonly Parameter[]) => Promise<Row[]>;
  readonly close: () => Promise<void>;
};

export async function openSql(database: string): Promise<Sql> {
  return isPostgresqlUrl(database) ? openPostgresql(database) : openFile(database);
}

/** Executes statements as `Sql.run` does, on a separate connection. */
export async function runSql(database: string, text: string, ...parameters: readonly Parameter[]): Promise<Row[]> {
  const sql = await openSql(database);
  try {
    return await sql.run(text, ...parameters);
  } finally {
    await sql.close();
  }
}

/** Returns whether a string of letters, digits, `_` and `-` occurs anywhere in a database that is not open. */
export async function isInDatabase(database: string, text: string): Promise<boolean> {
  // Includes deleted rows, and the write-ahead log.
  if (kind === 'sqlite') return [database, `${database}-wal`].filter(existsSync).some((file) => readFileSync(file).includes(text));
  const sql = await openSql(database);
  try {
    const tables = await sql.run("SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'");
    // In a row cast to text, bytes are hexadecimal.
    const words = [text, Buffer.from(text).toString('hex')];
    for (const { name } of tables) {
      const rows = await sql.run(
        `SELECT FROM ${name} AS line WHERE strpos(line::text, ?) > 0 OR strpos(line::text, ?) > 0 LIMIT 1`,
        ...words,
      );
      if (rows.length > 0) return true;
    }
    return false;
  } finally {
    await sql.close();
  }
}

/** Returns the SQL literal of a time. @param at Milliseconds since 1970. */
export function timeInSql(at: number): string {
  return kind === 'sqlite' ? String(at) : `'${new Date(at).toISOString()}'::timestamp`;
}

const { builtins } = pg.types;
/** Parsers to values as SQLite stores them: times are milliseconds since 1970, booleans 0 or 1. */
const readers = new Map<number, (text: string) => unknown>([
  [builtins.INT2, Number],
  [builtins.INT4, Number],
  [builtins.INT8, Number],
  [builtins.FLOAT8, Number],
  [builtins.BOOL, (text) => (text === 't' ? 1 : 0)],
  [builtins.TIMESTAMP, (text) => Date.parse(`${text.replace(' ', 'T')}Z`)],
  [builtins.BYTEA, (text) => Buffer.from(text.slice(2), 'hex')],
]);
const cellTypes = { getTypeParser: (type: number) => readers.get(type) ?? String };

async function openPostgresql(url: string): Promise<Sql> {
  const client = new pg.Client({ connectionString: url, types: cellTypes });
  await client.connect();
  const run: Sql['run'] = async (text, ...parameters) => {
    const [begin = '', ...rest] = parameters.length === 0 ? [text] : text.split('?');
    const numbered = begin + rest.map((part, index) => `$${index + 1}${part}`).join('');
    const result: pg.QueryResult<Row> | pg.QueryResult<Row>[] = await client.query<Row>(numbered, [...parameters]);
    return (Array.isArray(result) ? result.at(-1) : result)?.rows ?? [];
  };
  return { run, close: () => client.end() };
}

function openFile(file: string): Sql {
  const database = new Database(file);
  const run: Sql['run'] = async (text, ...parameters) => {
    if (parameters.length === 0 && text.includes(';')) {
      database.exec(text);
      return [];
    }
    const statement = database.prepare<unknown[], Row>(text);
    if (statement.reader) return statement.all(...parameters);
    statement.run(...parameters);
    return [];
  };
  return {
    run,
    close: async () => {
      database.close();
    },
  };
}
