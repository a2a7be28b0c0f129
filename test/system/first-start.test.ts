// The first start of a service, and the key of its administrator: made once, shown once, read by its owner only.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { bearer, until } from '../service/test-service.ts';

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

/** A start that is killed as soon as it has written a file with this end, before what belongs to the file is committed. */
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
  const child = new PatchbayProcess('the start that is killed', startArguments, { flags: ['--import', preload] });
  children.push(child);
  expect(await child.exited).toBe('SIGKILL');
}

const urlOf = async (service: PatchbayProcess) => (await service.waitForLine(/API +(http:\S+)\/v1$/))[1] ?? '';
/** A service on a slow machine may have too much to do just then. */
const statusWith = async (service: PatchbayProcess, key: string) => {
  const url = await urlOf(service);
  return until('the service has time', async () => {
    const { status } = await fetch(`${url}/v1/keys`, { headers: bearer(key) });
    return status !== 503 && status;
  });
};
const keptKey = () => readFileSync(keyFile, 'utf8').trim();

test('the first start makes the key of an administrator, shows it, and keeps it where only its owner can read it', async () => {
  const first = start();
  const [, shown = ''] = await first.waitForLine(/admin key +(patchbay_\S+) +\(shown once; kept in \S+admin-key\)$/);
  expect(keptKey()).toBe(shown);
  expect(statSync(keyFile).mode & 0o777).toBe(0o600);
  expect(await statusWith(first, shown)).toBe(200);
  await first.stop();

  const second = start();
  await second.waitForLine(/admin key +\S+admin-key$/);
  expect(second.lastLines).not.toContain('patchbay_');
  expect(keptKey()).toBe(shown);
  expect(await statusWith(second, shown)).toBe(200);
});

test('a start names no file of the key that is not there', async () => {
  const first = start();
  await urlOf(first);
  await first.stop();
  rmSync(keyFile);
  const second = start();
  const [, said = ''] = await second.waitForLine(/admin key +(.*)$/);
  expect(said).toBe(`made by an earlier start, and not in ${keyFile}; if it is lost, --new-admin-key makes another`);
});

test('another key is made where it is asked for, and the first goes on', async () => {
  const first = start();
  await urlOf(first);
  const lost = keptKey();
  await first.stop();
  const second = start('--new-admin-key');
  await second.waitForLine(/admin key +patchbay_/);
  expect(keptKey()).not.toBe(lost);
  expect(statSync(keyFile).mode & 0o777).toBe(0o600);
  expect([await statusWith(second, keptKey()), await statusWith(second, lost)]).toEqual([200, 200]);
});

test('a key that cannot be kept is not made', async () => {
  const nowhere = join(folder, 'not-there', 'admin-key');
  const first = start('--admin-key-file', nowhere);
  await first.waitForLine(/cannot write the admin key to .*not-there.*choose another file with --admin-key-file/);
  expect(await first.exited).toBe(1);
  mkdirSync(join(folder, 'not-there'));
  const second = start('--admin-key-file', nowhere);
  await second.waitForLine(/admin key +patchbay_/);
  expect(await statusWith(second, readFileSync(nowhere, 'utf8').trim())).toBe(200);
});

test('with keys it may be reached from other machines, and without them it asks nobody and makes none', async () => {
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
  'a first start that dies after writing its file %s explains at the next start what to do, and that works',
  async (end) => {
    await startKilledAfterWriting(end);
    const written = ['admin-key', 'signing-keys'].filter((name) => existsSync(join(folder, 'data', name)));
    const contents = () => readdirSync(join(folder, 'data', 'signing-keys')).concat(existsSync(keyFile) ? keptKey() : []);
    const before = contents();
    const refused = start();
    await refused.waitForLine(/first start .*was interrupted/);
    expect(await refused.exited).toBe(1);
    expect(contents()).toEqual(before);
    // As the message says, for each of the two.
    if (end !== 'admin-key') for (const name of written) renameSync(join(folder, 'data', name), join(folder, name));
    const service = start(...(end === 'admin-key' ? ['--new-admin-key'] : []));
    await urlOf(service);
    expect(await statusWith(service, keptKey())).toBe(200);
  },
);

test('a start that dies while it replaces the admin key leaves the key that was there, and the next one replaces it', async () => {
  const first = start();
  await urlOf(first);
  await first.stop();
  const known = keptKey();
  await startKilledAfterWriting('admin-key.new', '--new-admin-key');
  expect(keptKey()).toBe(known);
  const second = start();
  expect(await statusWith(second, keptKey())).toBe(200);
  await second.stop();
  const third = start('--new-admin-key');
  await urlOf(third);
  expect(keptKey()).not.toBe(known);
  expect([await statusWith(third, keptKey()), await statusWith(third, known)]).toEqual([200, 200]);
  expect(existsSync(`${keyFile}.new`)).toBe(false);
});
