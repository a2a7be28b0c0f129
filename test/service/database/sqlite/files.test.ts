// The files of an open database: a service that loses them, or shares them with another, reports it and acknowledges nothing that would be lost.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DatabaseInUse } from '../../../../src/service/database/sqlite/lock.ts';
import { Store } from '../../../../src/service/database/store.ts';
import { DatabaseUnavailable } from '../../../../src/service/database/unavailable.ts';
import { inTransaction } from '../../records.ts';
import { event, eventsIn } from '../events.ts';

let folder: string;
let file: string;
const opened: Store[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-store-'));
  file = join(folder, 'patchbay.db');
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  rmSync(folder, { recursive: true, force: true });
});

async function open(path = file): Promise<Store> {
  const store = await Store.open(path, { isExclusive: true });
  opened.push(store);
  return store;
}

async function close(store: Store): Promise<void> {
  opened.splice(opened.indexOf(store), 1);
  await store.close();
}

const write = (store: Store, name: string) => inTransaction(store, (records) => records.audit.append([event(name)]));
const objectsIn = async (store: Store) => (await eventsIn(store)).map(({ object }) => object);
const log = () => `${file}-wal`;
const index = () => `${file}-shm`;

/** Copies a database with the backup API of SQLite, as `sqlite3 .backup` does. */
async function backUp(to: string): Promise<void> {
  const database = new Database(file, { readonly: true });
  await database.backup(to);
  database.close();
}

/** Runs statements in another process. */
async function runElsewhere(sql: string): Promise<void> {
  const program = `import Database from ${JSON.stringify(import.meta.resolve('better-sqlite3'))}; const database = new Database(${JSON.stringify(file)}); database.exec(${JSON.stringify(sql)}); database.close();`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'inherit' });
  const [code] = await once(child, 'exit');
  expect(code).toBe(0);
}

test.each([
  ['the database is deleted', () => unlinkSync(file), /patchbay\.db was deleted or moved/],
  ['the database is moved', () => renameSync(file, `${file}.old`), /patchbay\.db was deleted or moved/],
  ['the log is deleted', () => unlinkSync(log()), /patchbay\.db-wal was deleted or moved/],
  ['the index of the log is deleted', () => unlinkSync(index()), /patchbay\.db-shm was deleted or moved/],
  ['the database is truncated', () => truncateSync(file), /patchbay\.db was truncated|patchbay\.db was overwritten/],
  ['half of the database is gone', () => truncateSync(file, statSync(file).size / 2), /patchbay\.db was truncated/],
  ['the log is truncated', () => truncateSync(log()), /patchbay\.db-wal was truncated/],
  ['the end of the log is gone', () => truncateSync(log(), statSync(log()).size - 100), /patchbay\.db-wal was truncated/],
  [
    'the log is overwritten',
    () => writeFileSync(log(), Buffer.alloc(statSync(log()).size), { flag: 'r+' }),
    /patchbay\.db-wal was (?:truncated|overwritten)/,
  ],
  [
    'everything is deleted',
    () => {
      for (const end of ['', '-wal', '-shm', '-lock']) unlinkSync(`${file}${end}`);
    },
    /was deleted/,
  ],
  [
    'the database is replaced',
    () => {
      copyFileSync(file, `${file}.other`);
      renameSync(`${file}.other`, file);
    },
    /patchbay\.db was replaced/,
  ],
])('when %s while the database is open, reports it and acknowledges no further writes', async (_what, harm, message) => {
  const store = await open();
  await write(store, 'before');
  expect(store.fault()).toBeNull();
  harm();
  expect(store.fault()).toMatch(message);
  const failed = write(store, 'after');
  await expect(failed).rejects.toThrow(DatabaseUnavailable);
  await expect(failed).rejects.toThrow(message);
  expect((await store.health()).writeFault).toMatch(message);
});

test('reports a backup that is copied over the database, of an earlier or the current state', async () => {
  const store = await open();
  await write(store, 'a');
  const before = join(folder, 'before.db');
  await backUp(before);
  copyFileSync(before, file);
  expect(store.fault()).toMatch(/patchbay\.db was overwritten/);
  await expect(write(store, 'b')).rejects.toThrow(/overwritten/);
});

test('does not acknowledge a write to a file that is deleted meanwhile', async () => {
  const store = await open();
  const failed = inTransaction(store, async (records) => {
    await records.audit.append([event('a')]);
    unlinkSync(log());
  });
  await expect(failed).rejects.toThrow(/patchbay\.db-wal was deleted/);
});

test('a file that is moved away and back is accepted again', async () => {
  const store = await open();
  await write(store, 'a');
  renameSync(file, `${file}.moved`);
  await expect(write(store, 'b')).rejects.toThrow(/deleted or moved/);
  renameSync(`${file}.moved`, file);
  await write(store, 'c');
  expect(await objectsIn(store)).toEqual(['a', 'c']);
});

test('other SQLite programs can read, back up, write, vacuum and checkpoint the database', async () => {
  const store = await open();
  await write(store, 'a');
  await backUp(join(folder, 'backup.db'));
  for (const sql of ['SELECT * FROM "AuditEvent"', 'CREATE TABLE "Other" (x)', 'PRAGMA wal_checkpoint(TRUNCATE)', 'VACUUM']) {
    await runElsewhere(sql);
    expect([sql, store.fault()]).toEqual([sql, null]);
    await write(store, sql);
    await runElsewhere('PRAGMA wal_checkpoint(PASSIVE)');
    expect([sql, store.fault()]).toEqual([sql, null]);
  }
  expect(await objectsIn(store)).toHaveLength(5);
  const backup = await Store.open(join(folder, 'backup.db'));
  expect(await objectsIn(backup)).toEqual(['a']);
  await backup.close();
});

test('a checkpoint and a restart of the log by SQLite are not reported', async () => {
  const store = await open();
  const bytes = 'x'.repeat(1_000_000);
  for (let round = 0; round < 40; round += 1) {
    await inTransaction(store, (records) => records.audit.append([{ ...event(`o${round}`), detail: { bytes } }]));
    expect(store.fault()).toBeNull();
  }
  // There was at least one checkpoint: more was written than the log may contain.
  expect(statSync(file).size).toBeGreaterThan(10_000_000);
});

describe('a second service', () => {
  test('is rejected with the holder of the lock, through any path to the file; the first continues', async () => {
    const store = await open();
    const alias = join(folder, 'alias.db');
    symlinkSync(file, alias);
    for (const path of [file, alias]) {
      const refused = Store.open(path, { isExclusive: true });
      await expect(refused).rejects.toThrow(DatabaseInUse);
      await expect(refused).rejects.toThrow(new RegExp(`in use by process ${process.pid} on `));
    }
    await write(store, 'a');
    expect(await objectsIn(store)).toEqual(['a']);
  });

  test('is rejected while the database has another hard link', async () => {
    const store = await open();
    const other = join(folder, 'other');
    mkdirSync(other);
    const link = join(other, 'hard.db');
    linkSync(file, link);
    await expect(open(link)).rejects.toThrow(DatabaseInUse);
    await expect(open(link)).rejects.toThrow(/hard\.db has 2 hard links, expected 1: .*Remove the other links/);
    expect(readdirSync(other)).toEqual(['hard.db']);
    await close(store);
    await expect(open()).rejects.toThrow(/patchbay\.db has 2 hard links/);
    unlinkSync(link);
    await write(await open(), 'a');
  });

  test('acquires the database after the first has ended or crashed', async () => {
    await close(await open());
    const program = `
      import { Store } from ${JSON.stringify(new URL('../../../../src/service/database/store.ts', import.meta.url).href)};
      await Store.open(${JSON.stringify(file)}, { isExclusive: true });
      console.log('open');
      setInterval(() => {}, 1_000);`;
    const first = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(first.stdout, 'data');
    await expect(open()).rejects.toThrow(new RegExp(`in use by process ${first.pid} `));
    first.kill('SIGKILL');
    await once(first, 'exit');
    await write(await open(), 'a');
  });

  test('is rejected after the lock file was deleted, because the first creates it again', async () => {
    const store = await open();
    unlinkSync(`${file}-lock`);
    expect(store.fault()).toBeNull();
    expect(existsSync(`${file}-lock`)).toBe(true);
    await expect(Store.open(file, { isExclusive: true })).rejects.toThrow(DatabaseInUse);
    await write(store, 'a');
  });

  test('that acquires a deleted lock makes the first reject writes', async () => {
    const store = await open();
    await write(store, 'a');
    unlinkSync(`${file}-lock`);
    const second = await open();
    expect(store.fault()).toMatch(/lock file .* was replaced/);
    await expect(write(store, 'b')).rejects.toThrow(/lock file .* was replaced/);
    await close(second);
  });
});

test.runIf(process.platform !== 'win32').each([0o000, 0o022, 0o777])(
  'with umask %o, only the owner can read the created files',
  async (umask) => {
    const before = process.umask(umask);
    try {
      await write(await open(), 'a');
    } finally {
      process.umask(before);
    }
    const modes = readdirSync(folder).map((name) => [name, statSync(join(folder, name)).mode & 0o777]);
    expect(Object.fromEntries(modes)).toEqual({
      'patchbay.db': 0o600,
      'patchbay.db-wal': 0o600,
      'patchbay.db-shm': 0o600,
      'patchbay.db-lock': 0o600,
      'patchbay.db-marker': 0o600,
    });
  },
);

test('does not create a database if the callback rejects it', async () => {
  const refuse = () => {
    throw new Error('no');
  };
  const options = { isExclusive: true, beforeCreation: refuse };
  await expect(Store.open(file, options)).rejects.toThrow('no');
  expect(readdirSync(folder)).toEqual([]);
  writeFileSync(file, '');
  for (let attempt = 0; attempt < 2; attempt += 1) await expect(Store.open(file, options)).rejects.toThrow('no');
  rmSync(file);
  await close(await open());
  opened.push(await Store.open(file, options));
});
