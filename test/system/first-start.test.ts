// The first start of a service, and its administrator key: created once, shown once, readable only by its owner.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { bearer } from '../service/test-service.ts';
import { retryingFetch } from './retrying-client.ts';

let folder: string;
let keyFile: string;
const children: PatchbayProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-first-start-'));
  keyFile = join(folder, 'data', 'admin-key');
});
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.stop('SIGKILL')));
  rmSync(folder, { recursive: true, force: true });
});

function start(...args: string[]): PatchbayProcess {
  const child = new PatchbayProcess('the service', [
    'serve',
    '--no-embedded-host',
    '--port',
    '0',
    '--database',
    join(folder, 'data', 'patchbay.db'),
    ...args,
  ]);
  children.push(child);
  return child;
}

/** Starts a service that is killed as soon as it has written a file with this suffix, before the database commits. */
async function startKilledAfterWriting(end: string, ...args: string[]): Promise<void> {
  const preload = join(folder, 'kill.mjs');
  writeFileSync(
    preload,
    `import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const write = fs.writeFileSync;
    fs.writeFileSync = (file, ...rest) => {
      write(file, ...rest);
      if (String(file).endsWith(${JSON.stringify(end)})) process.kill(process.pid, 'SIGKILL');
    };
    syncBuiltinESMExports();`,
  );
  const database = join(folder, 'data', 'patchbay.db');
  const startArguments = ['serve', '--no-embedded-host', '--port', '0', '--database', database, ...args];
  const child = new PatchbayProcess('the killed start', startArguments, { flags: ['--import', preload] });
  children.push(child);
  expect(await child.exited).toBe('SIGKILL');
}

const urlOf = async (service: PatchbayProcess) => (await service.waitForLine(/API +(http:\S+)\/v1$/))[1] ?? '';
const statusWith = async (service: PatchbayProcess, key: string) => {
  const request = new Request(`${await urlOf(service)}/v1/keys`, { headers: bearer(key) });
  return (await retryingFetch(request)).status;
};
const storedKey = () => readFileSync(keyFile, 'utf8').trim();

test('the first start creates an administrator key, prints it, and stores it in a file that only its owner can read', async () => {
  const first = start();
  const [, shown = ''] = await first.waitForLine(/admin key +(patchbay_\S+) +\(shown only once; stored in \S+admin-key\)$/);
  expect(storedKey()).toBe(shown);
  expect(statSync(keyFile).mode & 0o777).toBe(0o600);
  expect(await statusWith(first, shown)).toBe(200);
  await first.stop();

  const second = start();
  await second.waitForLine(/admin key +\S+admin-key$/);
  expect(second.lastLines).not.toContain('patchbay_');
  expect(storedKey()).toBe(shown);
  expect(await statusWith(second, shown)).toBe(200);
});

test('a start without the key file prints how to create another key', async () => {
  const first = start();
  await urlOf(first);
  await first.stop();
  rmSync(keyFile);
  const second = start();
  const [, text = ''] = await second.waitForLine(/admin key +(.*)$/);
  expect(text).toBe(`created by an earlier start, not in ${keyFile}; if it is lost, create another with --new-admin-key`);
});

test('--new-admin-key creates another key, and the first key remains valid', async () => {
  const first = start();
  await urlOf(first);
  const lost = storedKey();
  await first.stop();
  const second = start('--new-admin-key');
  await second.waitForLine(/admin key +patchbay_/);
  expect(storedKey()).not.toBe(lost);
  expect(statSync(keyFile).mode & 0o777).toBe(0o600);
  expect([await statusWith(second, storedKey()), await statusWith(second, lost)]).toEqual([200, 200]);
});

test('a key whose file cannot be written is not created', async () => {
  const file = join(folder, 'missing', 'admin-key');
  const first = start('--admin-key-file', file);
  await first.waitForLine(/cannot write the administrator key to .*missing.*choose another file with --admin-key-file/);
  expect(await first.exited).toBe(1);
  mkdirSync(join(folder, 'missing'));
  const second = start('--admin-key-file', file);
  await second.waitForLine(/admin key +patchbay_/);
  expect(await statusWith(second, readFileSync(file, 'utf8').trim())).toBe(200);
});

test('with keys the service accepts other addresses; with --no-keys it requires and creates no key', async () => {
  const open = start('--address', '0.0.0.0');
  expect(await statusWith(open, 'not a key')).toBe(401);
  rmSync(keyFile);
  await open.stop();
  rmSync(join(folder, 'data'), { recursive: true });
  const local = start('--no-keys');
  await local.waitForLine(/keys +authentication disabled/);
  expect(await statusWith(local, 'not a key')).toBe(200);
  expect(existsSync(keyFile)).toBe(false);
});

test.each(['.pem', 'admin-key'])(
  'after a first start that was killed when it wrote its file %s, the next start prints what to do, which works',
  async (end) => {
    await startKilledAfterWriting(end);
    const written = ['admin-key', 'signing-keys'].filter((name) => existsSync(join(folder, 'data', name)));
    const contents = () => readdirSync(join(folder, 'data', 'signing-keys')).concat(existsSync(keyFile) ? storedKey() : []);
    const before = contents();
    const refused = start();
    await refused.waitForLine(/interrupted first start|first start .*was interrupted/);
    expect(await refused.exited).toBe(1);
    expect(contents()).toEqual(before);
    // Follow the message for each case.
    if (end !== 'admin-key') for (const name of written) renameSync(join(folder, 'data', name), join(folder, name));
    const service = start(...(end === 'admin-key' ? ['--new-admin-key'] : []));
    await urlOf(service);
    expect(await statusWith(service, storedKey())).toBe(200);
  },
);

test('a start that is killed while it replaces the administrator key leaves the old key, and the next start replaces it', async () => {
  const first = start();
  await urlOf(first);
  await first.stop();
  const known = storedKey();
  await startKilledAfterWriting('admin-key.new', '--new-admin-key');
  expect(storedKey()).toBe(known);
  const second = start();
  expect(await statusWith(second, storedKey())).toBe(200);
  await second.stop();
  const third = start('--new-admin-key');
  await urlOf(third);
  expect(storedKey()).not.toBe(known);
  expect([await statusWith(third, storedKey()), await statusWith(third, known)]).toEqual([200, 200]);
  expect(existsSync(`${keyFile}.new`)).toBe(false);
});
