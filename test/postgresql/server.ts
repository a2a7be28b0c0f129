// The PostgreSQL server of the tests, from the binaries in npm; or the server of TEST_DATABASE_URL.

import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { applyMigrations } from '../../src/service/database/postgresql/migrations.ts';
import { type ServerCommand, ServerReply } from './server-messages.ts';

/** A running server; its data is removed when it stops, or when this process ends. */
export type PostgresqlServer = {
  readonly url: string;
  /** Kills the server, as a power failure would, and starts it again on the same data. */
  readonly restart: () => Promise<void>;
  readonly stop: () => Promise<void>;
};

/**
 * Starts a server on a free port.
 * @param settings Names and values as in the server's configuration file.
 */
export async function startPostgresql(settings: Readonly<Record<string, string>> = {}): Promise<PostgresqlServer> {
  // Detached: an interrupt from the terminal ends this process, and the server then shuts down properly.
  const child = fork(fileURLToPath(new URL('server-process.ts', import.meta.url)), [JSON.stringify(settings)], { detached: true });
  const started = await nextReply(child);
  if (started.kind !== 'started') throw new Error(`unexpected reply of the PostgreSQL server process: ${started.kind}`);
  return {
    url: started.url,
    restart: async () => {
      const restarted = nextReply(child);
      send(child, 'restart');
      await restarted;
    },
    stop: async () => {
      const exited = once(child, 'exit');
      send(child, 'stop');
      const [code] = await exited;
      if (code !== 0) throw new Error(`the PostgreSQL server process ended with exit code ${code}`);
    },
  };
}

function send(child: ChildProcess, command: ServerCommand): void {
  child.send(command);
}

/** Returns the next reply. @throws {Error} if the command failed, or the process has ended. */
async function nextReply(child: ChildProcess): Promise<ServerReply> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const onExit = (code: number | null) => reject(new Error(`the PostgreSQL server process ended with exit code ${code}`));
  child.once('message', resolve);
  child.once('exit', onExit);
  child.once('error', reject);
  try {
    const reply = ServerReply.parse(await promise);
    if (reply.kind === 'failed') throw new Error(`PostgreSQL does not start: ${reply.reason}`);
    return reply;
  } finally {
    child.off('message', resolve);
    child.off('exit', onExit);
    child.off('error', reject);
  }
}

/** Sets up the server for the test run, without fsync: test data need not survive a crash. */
export default async function setUp({ provide }: TestProject): Promise<() => Promise<void>> {
  const given = process.env['TEST_DATABASE_URL'];
  const server = given === undefined ? await startPostgresql({ fsync: 'off' }) : { url: given, stop: async () => {} };
  const template = `test_${randomUUID().slice(0, 8)}`;
  await makeTemplate(server.url, template);
  provide('postgresqlUrl', server.url);
  provide('postgresqlTemplate', template);
  return async () => {
    // A given server is left clean.
    if (given !== undefined) await removeDatabases(given, template);
    await server.stop();
  };
}

/** Creates the template of the test databases, with all migrations, so that not every test applies them. */
async function makeTemplate(server: string, name: string): Promise<void> {
  await applyMigrations(await createDatabase(server, name));
}

/** Creates a database on a server, and returns its URL. */
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
