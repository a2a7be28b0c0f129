// The files of a service: it locks its database, creates no database next to existing keys, makes its files private, and continues when its log
// cannot be written.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { applyMigrations as applyToPostgresql } from '../../src/service/database/postgresql/migrations.ts';
import { applyMigrations } from '../../src/service/database/sqlite/migrations.ts';
import { createPostgresql, runSql } from '../databases.ts';
import { bearer, until } from '../service/test-service.ts';
import { retryingFetch } from './retrying-client.ts';

let folder: string;
const children: PatchbayProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-files-'));
});
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.stop('SIGKILL')));
  rmSync(folder, { recursive: true, force: true });
});

const database = () => join(folder, 'data', 'patchbay.db');
const keyFile = () => join(folder, 'data', 'admin-key');
const keysFolder = () => join(folder, 'data', 'signing-keys');

function start(...args: string[]): PatchbayProcess {
  const child = new PatchbayProcess('the service', ['serve', '--no-embedded-host', '--port', '0', '--database', database(), ...args]);
  children.push(child);
  return child;
}

const urlOf = async (service: PatchbayProcess) => (await service.waitForLine(/API +(http:\S+)\/v1$/))[1] ?? '';
const adminKey = () => readFileSync(keyFile(), 'utf8').trim();
/** Returns the body of a response 200. */
const read = async (url: string, key = adminKey()): Promise<unknown> => {
  const response = await retryingFetch(new Request(url, { headers: bearer(key) }));
  expect(response.status).toBe(200);
  return response.json();
};
const health = (url: string) => read(`${url}/v1/health`);

test('a second service on the same file exits and names the process that uses it; after a kill the file is free', async () => {
  const first = start();
  const url = await urlOf(first);
  const second = start();
  await second.waitForLine(
    new RegExp(`^error: the database ${database()} is in use by process ${first.pid} on .*: stop that service first`),
  );
  expect(await second.exited).toBe(1);
  expect((await fetch(`${url}/health/ready`)).status).toBe(200);
  await first.stop('SIGKILL');
  expect((await fetch(`${await urlOf(start())}/health/ready`)).status).toBe(200);
});

test('a database that is deleted while the service runs is reported in readiness, health and log, and not created again', async () => {
  const service = start();
  const url = await urlOf(service);
  for (const end of ['', '-wal', '-shm']) rmSync(`${database()}${end}`);
  await service.waitForLine(/patchbay\.db was deleted or moved while the service was running: writes are rejected/);
  await until('the service is not ready', async () => (await fetch(`${url}/health/ready`)).status === 503);
  expect(await health(url)).toMatchObject({ reasons: expect.arrayContaining([expect.stringContaining('was deleted or moved')]) });
  await service.stop();
  const again = start();
  await again.waitForLine(
    /^error: the database .*patchbay\.db is missing or empty, but .*admin-key and .*signing-keys contain keys of an installation/,
  );
  expect(await again.exited).toBe(1);
  expect(existsSync(database())).toBe(false);
});

test.each([
  ['the database is missing', () => rmSync(database())],
  ['the database is empty', () => truncateSync(database())],
  ['only signing keys are left', () => [database(), keyFile()].map((file) => rmSync(file))],
  ['only the key of an administrator is left', () => [database(), keysFolder()].map((file) => rmSync(file, { recursive: true }))],
])('if %s, a start exits with what to do, and succeeds after the keys were moved', async (_what, lose) => {
  const first = start();
  await urlOf(first);
  await first.stop();
  lose();
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const refused = start();
    await refused.waitForLine(
      /is missing or empty.*restore the database from a backup.*For a new installation, .*first move .* to another place/,
    );
    expect(await refused.exited).toBe(1);
  }
  const moved = join(folder, 'moved');
  mkdirSync(moved);
  for (const name of ['admin-key', 'signing-keys'])
    if (existsSync(join(folder, 'data', name))) renameSync(join(folder, 'data', name), join(moved, name));
  expect(await urlOf(start())).not.toBe('');
});

test('a service with an empty, migrated database does not start with the keys of an installation', async () => {
  const first = start();
  await urlOf(first);
  await first.stop('SIGKILL');
  const [key, pems] = [adminKey(), readdirSync(keysFolder())];
  for (const end of ['', '-wal', '-shm']) rmSync(`${database()}${end}`, { force: true });
  applyMigrations(database());
  const before = readFileSync(database());
  for (const option of [[], ['--no-keys'], ['--new-admin-key'], ['--new-signing-key']]) {
    const refused = start(...option);
    await refused.waitForLine(
      /^error: the database .* is missing or empty, but .*admin-key and .*signing-keys contain keys of an installation/,
    );
    expect(await refused.exited).toBe(1);
  }
  expect([adminKey(), readdirSync(keysFolder())]).toEqual([key, pems]);
  expect(readFileSync(database())).toEqual(before);
});

test('a service with an empty PostgreSQL database does not start with the keys of an installation', async () => {
  const postgresql = await createPostgresql();
  await applyToPostgresql(postgresql);
  const first = start();
  await urlOf(first);
  await first.stop();
  const keys = ['--admin-key-file', keyFile(), '--signing-keys', keysFolder(), '--token-file', join(folder, 'join-token')];
  const key = adminKey();
  const refused = start('--database', postgresql, ...keys);
  await refused.waitForLine(
    /^error: the database .* is missing or empty, but .*admin-key and .*signing-keys contain keys of an installation/,
  );
  expect(await refused.exited).toBe(1);
  expect(adminKey()).toBe(key);
});

test('the next start completes a first start that was killed between the migrations and the creation of keys', async () => {
  mkdirSync(join(folder, 'data'));
  applyMigrations(database());
  expect((await fetch(`${await urlOf(start())}/v1/keys`, { headers: bearer(adminKey()) })).status).toBe(200);
});

test('replicas that start concurrently on PostgreSQL with a shared folder create one signing key and one administrator key', async () => {
  const postgresql = await createPostgresql();
  const keys = [
    '--admin-key-file',
    join(folder, 'admin-key'),
    '--signing-keys',
    join(folder, 'keys'),
    '--token-file',
    join(folder, 'token'),
  ];
  const replicas = [1, 2, 3].map(() => start('--database', postgresql, ...keys));
  const urls = await Promise.all(replicas.map(urlOf));
  expect(readdirSync(join(folder, 'keys'))).toHaveLength(1);
  const key = readFileSync(join(folder, 'admin-key'), 'utf8').trim();
  for (const url of urls) await read(`${url}/v1/keys`, key);
});

test('a killed service without its -wal file exits with what to do; with --accept-lost-transactions the installation continues', async () => {
  const first = start();
  const url = await urlOf(first);
  const key = adminKey();
  const headers = { ...bearer(key), 'content-type': 'application/json' };
  const body = '{"name":"lost","role":"viewer"}';
  await until('a key is created', async () => (await fetch(`${url}/v1/keys`, { method: 'POST', headers, body })).status === 201);
  await first.stop('SIGKILL');
  for (const end of ['-wal', '-shm']) rmSync(`${database()}${end}`, { force: true });
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const refused = start();
    await refused.waitForLine(
      /^error: the database .*patchbay\.db lost transactions: the file .*patchbay\.db-wal is missing or empty\. .*Restore that file, or restore a backup .*--accept-lost-transactions$/,
    );
    expect(await refused.exited).toBe(1);
  }
  const second = start('--accept-lost-transactions');
  expect(await read(`${await urlOf(second)}/v1/keys`, key)).toMatchObject({ items: [{ role: 'admin' }] });
  await second.waitForLine(/is missing or empty.*the service starts without them/);
  // The first keys are in the main file of the database.
  expect([adminKey(), readdirSync(keysFolder()).length]).toEqual([key, 1]);
  await second.stop('SIGKILL');
  await urlOf(start());
});

test('an existing administrator key is not overwritten if the database lost its API keys, except with --new-admin-key', async () => {
  const first = start();
  await urlOf(first);
  await first.stop();
  const key = adminKey();
  const opened = new Database(database());
  opened.exec('DELETE FROM "ApiKey"');
  opened.close();
  const refused = start();
  await refused.waitForLine(
    /^error: the database has no API key, but .*admin-key contains an administrator key and is not overwritten: .*--new-admin-key/,
  );
  expect(await refused.exited).toBe(1);
  expect(adminKey()).toBe(key);
  await urlOf(start('--new-admin-key'));
  expect(adminKey()).not.toBe(key);
});

test('a database of a newer version is rejected, on SQLite and PostgreSQL', async () => {
  const first = start();
  await urlOf(first);
  await first.stop();
  const newer = `INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, started_at, applied_steps_count)
    VALUES ('x', 'x', CURRENT_TIMESTAMP, '29991231000000_later', CURRENT_TIMESTAMP, 1)`;
  const postgresql = await createPostgresql();
  for (const target of [database(), postgresql]) {
    await runSql(target, newer);
    const refused = start('--database', target);
    await refused.waitForLine(
      /^error: cannot use the database .*29991231000000_later, which this version does not know: use the newer version/,
    );
    expect(refused.lastLines).not.toMatch(/^ +at /m);
    expect(refused.lastLines).not.toContain('test@');
    expect(await refused.exited).toBe(1);
  }
});

test.runIf(process.platform !== 'win32').each([0o000, 0o777])('with the umask %o, only the owner can access the files', async (umask) => {
  const before = process.umask(umask);
  try {
    await urlOf(start());
  } finally {
    process.umask(before);
  }
  const modes = (path: string) =>
    readdirSync(path, { recursive: true, withFileTypes: true }).map((entry) => [
      entry.name,
      entry.isDirectory() ? 'folder' : 'file',
      (statSync(join(entry.parentPath, entry.name)).mode & 0o777).toString(8),
    ]);
  const found = modes(folder);
  expect(found.map(([name]) => name)).toEqual(
    expect.arrayContaining(['data', 'patchbay.db', 'patchbay.db-wal', 'patchbay.db-lock', 'join-token', 'admin-key', 'signing-keys']),
  );
  expect(found.filter(([, what, mode]) => mode !== (what === 'folder' ? '700' : '600'))).toEqual([]);
});

test.runIf(process.platform !== 'win32')(
  'files with secrets that others can read are reported at the start and in health, until they are private',
  async () => {
    const first = start();
    await urlOf(first);
    await first.stop();
    const [pem = ''] = readdirSync(keysFolder());
    const exposed = [join(folder, 'data', 'join-token'), join(keysFolder(), pem), database()];
    for (const file of exposed) chmodSync(file, 0o644);
    const service = start();
    const url = await urlOf(service);
    for (const file of exposed) {
      const reason = `other users can read or write ${file} (mode 0644): chmod 600 ${file}`;
      await service.waitForLine(new RegExp(`^warning: ${reason.replaceAll(/[().]/g, '\\$&')}$`));
      expect(await health(url)).toMatchObject({ reasons: expect.arrayContaining([reason]) });
      chmodSync(file, 0o600);
      expect(await health(url)).not.toMatchObject({ reasons: expect.arrayContaining([reason]) });
    }
  },
);

test.runIf(process.platform !== 'win32')(
  'folders that others can write to are reported at the start and in health, until they are private',
  async () => {
    const first = start();
    await urlOf(first);
    await first.stop();
    const exposed = [keysFolder(), join(folder, 'data')];
    chmodSync(keysFolder(), 0o777);
    chmodSync(join(folder, 'data'), 0o770);
    const service = start();
    const url = await urlOf(service);
    for (const path of exposed) {
      const mode = path === keysFolder() ? '0777' : '0770';
      const reason = `other users can replace the files in ${path} (mode ${mode}): chmod go-w ${path}`;
      await service.waitForLine(new RegExp(`^warning: ${reason.replaceAll(/[().]/g, '\\$&')}$`));
      expect(await health(url)).toMatchObject({ reasons: expect.arrayContaining([reason]) });
      chmodSync(path, 0o755);
      expect(await health(url)).not.toMatchObject({ reasons: expect.arrayContaining([reason]) });
    }
  },
);

test.each(['file:', 'file://', 'FILE:'])(
  'a database given as %s and a path is rejected with the correct option, and no folder is created',
  async (prefix) => {
    const refused = start('--database', `${prefix}${database()}?connection_limit=1`);
    await refused.waitForLine(new RegExp(`--database: expected a path, received the URL "${prefix}.*": use --database ${database()}$`));
    expect(await refused.exited).not.toBe(0);
    const copied = new PatchbayProcess('the copy', [
      'db',
      'copy',
      '--from',
      `${prefix}${database()}`,
      '--to',
      'postgresql://user@127.0.0.1/none',
    ]);
    children.push(copied);
    await copied.waitForLine(new RegExp(`--from: expected a path, received the URL "${prefix}.*": use --from ${database()}$`));
    expect(await copied.exited).not.toBe(0);
    expect(existsSync('file:')).toBe(false);
    expect(readdirSync(folder)).toEqual([]);
  },
);

test.runIf(existsSync('/dev/full'))('a service and its embedded host continue when their logs cannot be written', async () => {
  const full = openSync('/dev/full', 'w');
  const bin = new URL('../../bin/patchbay.js', import.meta.url).pathname;
  const args = ['serve', '--port', '0', '--database', database(), '--embedded-devices', '1', '--log-level', 'debug'];
  const quiet = spawn(process.execPath, [bin, ...args], { stdio: ['ignore', 'pipe', full] });
  closeSync(full);
  onTestFinished(async () => {
    if (quiet.exitCode === null && quiet.signalCode === null) {
      quiet.kill('SIGKILL');
      await once(quiet, 'exit');
    }
  });
  let url = '';
  if (quiet.stdout === null) throw new Error('the service has no standard output');
  for await (const line of createInterface(quiet.stdout)) {
    url = /API +(http:\S+)\/v1$/.exec(line)?.[1] ?? '';
    if (url !== '') break;
  }
  await until('the embedded device is connected', async () => {
    const response = await fetch(`${url}/v1/devices`, { headers: bearer(adminKey()) });
    return (await response.text()).includes('"connected"');
  });
  for (let time = 0; time < 20; time += 1) expect((await fetch(`${url}/health/live`)).status).toBe(200);
  quiet.kill('SIGTERM');
  expect((await once(quiet, 'exit'))[0]).toBe(0);
});
