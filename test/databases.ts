// The databases of the tests: each has one of its own, of the kind that its project of tests is for.

import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import pg from 'pg';
import { inject } from 'vitest';

declare module 'vitest' {
  interface ProvidedContext {
    databases: 'sqlite' | 'postgresql';
    /** Where databases of PostgreSQL can be made. */
    postgresqlUrl: string;
  }
}

export const kind = inject('databases');

/** Names a database that is not there yet. @param folder Where it may keep a file. */
export async function newDatabase(folder: string): Promise<string> {
  if (kind === 'sqlite') return join(folder, 'patchbay.db');
  return newPostgresql();
}

/** Makes an empty database of PostgreSQL. */
export async function newPostgresql(): Promise<string> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const url = new URL(inject('postgresqlUrl'));
  await onServer(url.href, async (client) => client.query(`CREATE DATABASE ${name}`));
  url.pathname = `/${name}`;
  return url.href;
}

/** A row by its columns, as the database's driver has them. */
type Row = Readonly<Record<string, unknown>>;

/** Runs statements behind the back of the service; answers the rows of the last. */
export async function runSql(
  database: string,
  text: string,
  ...parameters: readonly (string | number | Uint8Array | null)[]
): Promise<Row[]> {
  if (database.startsWith('postgresql:')) {
    const numbered = parameters.reduce<string>((sql, _, place) => sql.replace('?', `$${place + 1}`), text);
    return onServer(database, async (client) => (await client.query<Row>(numbered, [...parameters])).rows);
  }
  const file = new Database(database);
  try {
    if (parameters.length === 0 && text.includes(';')) {
      file.exec(text);
      return [];
    }
    const statement = file.prepare<unknown[], Row>(text);
    if (statement.reader) return statement.all(...parameters);
    statement.run(...parameters);
    return [];
  } finally {
    file.close();
  }
}

async function onServer<Result>(url: string, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
