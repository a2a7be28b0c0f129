// The databases of the tests: each has one of its own, of the kind that its project of tests is for.

import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import pg from 'pg';
import { afterAll, inject } from 'vitest';
import { isPostgresqlUrl } from '../src/service/database/store.ts';

declare module 'vitest' {
  interface ProvidedContext {
    databases: 'sqlite' | 'postgresql';
    /** Where databases of PostgreSQL can be made. */
    postgresqlUrl: string;
    /** The database there that has all migrations and nothing else; its name begins those of the tests'. */
    postgresqlTemplate: string;
  }
}

export const kind = inject('databases');

/** Names a database that nobody has opened yet. @param folder Where it may keep a file. */
export async function newDatabase(folder: string): Promise<string> {
  if (kind === 'sqlite') return join(folder, 'patchbay.db');
  return createPostgresql();
}

/** Names one in which nothing is, no migration either. */
export async function newEmptyDatabase(folder: string): Promise<string> {
  if (kind === 'sqlite') return join(folder, 'patchbay.db');
  return createPostgresql('template0');
}

/** Those that the tests of one file have made: they go with it, most of them before they are on the disk. */
const createdDatabases: string[] = [];
afterAll(async () => {
  if (createdDatabases.length === 0) return;
  const sql = await openSql(inject('postgresqlUrl'));
  for (const name of createdDatabases) await sql.run(`DROP DATABASE ${name} WITH (FORCE)`);
  await sql.close();
});

/** Makes a database of PostgreSQL. @param template What it is a copy of: if need be another than that with all migrations. */
export async function createPostgresql(template = inject('postgresqlTemplate')): Promise<string> {
  const name = `${inject('postgresqlTemplate')}_${randomUUID().replaceAll('-', '')}`;
  const url = new URL(inject('postgresqlUrl'));
  await runSql(url.href, `CREATE DATABASE ${name} TEMPLATE ${template}`);
  createdDatabases.push(name);
  url.pathname = `/${name}`;
  return url.href;
}

/** Changes a database of PostgreSQL from outside. @param how As `ALTER DATABASE … how` has it. */
export async function alterPostgresql(database: string, how: string): Promise<void> {
  await runSql(inject('postgresqlUrl'), `ALTER DATABASE ${nameOf(database)} ${how}`);
}

/** Ends the connections to a database of PostgreSQL, as a server that is started anew does; answers how many there were. */
export async function endConnections(database: string): Promise<number> {
  const ended = await runSql(
    inject('postgresqlUrl'),
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ?',
    nameOf(database),
  );
  return ended.length;
}

const nameOf = (database: string) => new URL(database).pathname.slice(1);

/** A row by its columns, in the form that SQLite has: times are milliseconds since 1970, truth values 0 and 1, JSON is text. */
type Row = Readonly<Record<string, unknown>>;
type Parameter = string | number | Uint8Array | null;

/** A connection to a database, behind the back of the service. */
export type Sql = {
  /** Runs a statement, with a `?` for each parameter, or several without any; answers the rows of the last. */
  readonly run: (text: string, ...parameters: readonly Parameter[]) => Promise<Row[]>;
  readonly close: () => Promise<void>;
};

export async function openSql(database: string): Promise<Sql> {
  return isPostgresqlUrl(database) ? openPostgresql(database) : openFile(database);
}

/** Runs statements as `Sql` does, on a connection of their own. */
export async function runSql(database: string, text: string, ...parameters: readonly Parameter[]): Promise<Row[]> {
  const sql = await openSql(database);
  try {
    return await sql.run(text, ...parameters);
  } finally {
    await sql.close();
  }
}

/** Whether a text of letters, digits, `_` and `-` is anywhere in a database that nobody has open. */
export async function isInDatabase(database: string, text: string): Promise<boolean> {
  // Deleted rows and what is not in the file yet included.
  if (kind === 'sqlite') return [database, `${database}-wal`].filter(existsSync).some((file) => readFileSync(file).includes(text));
  const sql = await openSql(database);
  try {
    const tables = await sql.run("SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'");
    // A row as a text: bytes are hexadecimal there.
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

/** A moment, as it is written in statements. @param at Milliseconds since 1970. */
export function timeInSql(at: number): string {
  return kind === 'sqlite' ? String(at) : `'${new Date(at).toISOString()}'::timestamp`;
}

const { builtins } = pg.types;
/** Values as SQLite has them: times are milliseconds since 1970, and truth values 0 or 1. */
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
