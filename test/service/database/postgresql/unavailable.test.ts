// A PostgreSQL database that temporarily rejects writes: read-only, without free connections, or full. Later writes succeed.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Store } from '../../../../src/service/database/store.ts';
import { classifyErrorCode, findUnavailability, PoolerError } from '../../../../src/service/database/unavailable.ts';
import { alterPostgresql, endConnections, newDatabase, newEmptyDatabase, runSql } from '../../../databases.ts';
import { inTransaction } from '../../records.ts';
import { event, eventsIn } from '../events.ts';

const patience = { timeout: 60_000 } as const;

async function openStore(database: string): Promise<Store> {
  const store = await Store.open(database);
  onTestFinished(() => store.close());
  return store;
}

const write = (store: Store, name: string) => inTransaction(store, (records) => records.audit.append([event(name)]));
const reasonOf = (work: Promise<unknown>) =>
  work.then(
    () => null,
    (error: unknown) => findUnavailability(error)?.detail ?? String(error),
  );

test('read-only sessions are replaced once the database is writable', async () => {
  const database = await newDatabase('');
  const store = await openStore(database);
  await write(store, 'a');
  await alterPostgresql(database, 'SET default_transaction_read_only = on');
  await endConnections(database);
  // A pooled connection may learn only from this query that the server has ended it.
  const writeFault = () =>
    store.health().then(
      (health) => health.writeFault ?? '',
      (error: unknown) => findUnavailability(error)?.detail ?? '',
    );
  await vi.waitUntil(async () => /is read-only/.test(await writeFault()), patience);
  expect(await reasonOf(write(store, 'refused'))).toMatch(/is read-only/);
  await alterPostgresql(database, 'RESET default_transaction_read_only');
  await write(store, 'b');
  expect((await store.health()).writeFault).toBeNull();
  expect((await eventsIn(store)).map(({ object }) => object)).toEqual(['a', 'b']);
});

test('reports a database without a free connection, and continues when there is one', async () => {
  const database = await newDatabase('');
  const store = await openStore(database);
  await write(store, 'a');
  await alterPostgresql(database, 'CONNECTION LIMIT 0');
  // Connection limits apply to ordinary users only.
  const user = new URL(database);
  const name = `limited_${process.pid}`;
  await runSql(database, `CREATE ROLE ${name} LOGIN PASSWORD 'test'`);
  onTestFinished(async () => void (await runSql(database, `DROP OWNED BY ${name}; DROP ROLE ${name}`)));
  user.username = name;
  user.password = 'test';
  const error: unknown = await Store.open(user.href).catch((reason: unknown) => reason);
  expect(findUnavailability(error)).toMatchObject({ isTransient: true, detail: expect.stringContaining('no free connection') });
  await alterPostgresql(database, 'CONNECTION LIMIT -1');
  await write(store, 'b');
});

test.each([
  ...['08000', '08003', '08006', '08P01', '40001', '40P01', '53000', '53200', '53300', '53400', '55P03', '55006'],
  ...['57014', '57P01', '57P02', '57P03', '57P05', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'P1001', 'P1017', 'P2024', 'P2034', 'P2037'],
])('%s is transient', (code) => {
  expect(classifyErrorCode(code)).toMatchObject({ isTransient: true });
});

test.each(['25006', '53100', '58030', '58P01', '28000', '28P01', '3D000', '42501', 'XX001', 'XX002', 'ENOSPC', 'EROFS'])(
  '%s requires an operator',
  (code) => {
    expect(classifyErrorCode(code)).toMatchObject({ isTransient: false });
  },
);

test.each(['23505', '22P02', '42601', '42P01', '26000', '42P05', 'P2002', 'P2010', 'XX000', 'ENOENT'])(
  '%s is not an unavailable database',
  (code) => {
    expect(classifyErrorCode(code)).toBeNull();
  },
);

test('calls back before it creates a database, and not for one with migrations', async () => {
  const database = await newEmptyDatabase('');
  const refuse = () => {
    throw new Error('no');
  };
  for (let attempt = 0; attempt < 2; attempt += 1) await expect(Store.open(database, { beforeCreation: refuse })).rejects.toThrow('no');
  await (await Store.open(database)).close();
  await (await Store.open(database, { beforeCreation: refuse })).close();
});

/** Without PgBouncer, the tests of poolers are skipped. */
const isPgbouncerInstalled = spawnSync('pgbouncer', ['--version']).status === 0;

/** Starts PgBouncer in front of the database, as an unprivileged user. Returns its URL. */
async function startPooler(database: string, settings: Readonly<Record<string, string>>): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-pooler-'));
  chmodSync(folder, 0o755);
  const { hostname, port, username, password, pathname } = new URL(database);
  const listen = await freePort();
  const name = pathname.slice(1);
  const configuration = {
    listen_addr: '127.0.0.1',
    listen_port: String(listen),
    auth_type: 'any',
    unix_socket_dir: '',
    ...settings,
  };
  const lines = Object.entries(configuration).map(([key, value]) => `${key} = ${value}`);
  const file = join(folder, 'pgbouncer.ini');
  writeFileSync(
    file,
    `[databases]\n${name} = host=${hostname} port=${port} dbname=${name} user=${username} password=${password}\n[pgbouncer]\n${lines.join('\n')}\n`,
  );
  chmodSync(file, 0o644);
  // PgBouncer does not run as root.
  const as = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const pooler = spawn('pgbouncer', [...as, file], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise<void>((resolve) => {
    pooler.once('error', () => resolve());
    pooler.once('exit', () => resolve());
  });
  onTestFinished(async () => {
    pooler.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true });
  });
  await once(pooler, 'spawn');
  const url = `postgresql://any:any@127.0.0.1:${listen}/${name}`;
  await vi.waitUntil(() => canConnect(url), patience);
  return url;
}

async function canConnect(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

test.runIf(isPgbouncerInstalled).each([
  [
    'drops the settings of sessions',
    { pool_mode: 'transaction', ignore_startup_parameters: 'options' },
    /settings .* do not reach .*ignore_startup_parameters/,
  ],
  ['drops them, and keeps sessions', { pool_mode: 'session', ignore_startup_parameters: 'options' }, /settings .* do not reach/],
  ['refuses the settings of sessions', { pool_mode: 'transaction' }, /refuses the settings .*unsupported startup parameter/],
])('rejects a pooler that %s before it creates anything', { timeout: 300_000 }, async (_what, settings, message) => {
  const database = await newEmptyDatabase('');
  const url = await startPooler(database, settings);
  const refused = Store.open(url);
  await expect(refused).rejects.toThrow(PoolerError);
  await expect(refused).rejects.toThrow(message);
  expect(await runSql(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).toEqual([]);
});

test.runIf(isPgbouncerInstalled)('rejects a pooler in transaction mode, with any handling of settings', { timeout: 300_000 }, async () => {
  const database = await newEmptyDatabase('');
  // So the settings still apply.
  await alterPostgresql(database, "SET statement_timeout = '20s'");
  const url = await startPooler(database, { pool_mode: 'transaction', ignore_startup_parameters: 'options' });
  await expect(Store.open(url)).rejects.toThrow(/each other's sessions/);
});
