// A database file that is locked, full or read-only: writes are rejected with the reason, change nothing, and succeed once the file is writable.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { Transaction } from '../../../../src/service/database/engine.ts';
import { createReader } from '../../../../src/service/database/reader.ts';
import { SqliteEngine } from '../../../../src/service/database/sqlite/engine.ts';
import { applyMigrations } from '../../../../src/service/database/sqlite/migrations.ts';
import { Store } from '../../../../src/service/database/store.ts';
import {
  classifyErrorCode,
  DatabaseUnavailable,
  findUnavailability,
  markDatabaseError,
} from '../../../../src/service/database/unavailable.ts';
import { inTransaction, Records } from '../../records.ts';
import { event, eventsIn } from '../events.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-store-'));
  file = join(folder, 'patchbay.db');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const timeout = 60_000;

async function openStore(): Promise<Store> {
  const store = await Store.open(file, { isExclusive: true });
  onTestFinished(() => store.close());
  return store;
}

async function openEngine(wait?: { limit: number; interval: number }): Promise<SqliteEngine> {
  applyMigrations(file);
  const engine = new SqliteEngine(file, null, wait);
  onTestFinished(() => engine.close());
  return engine;
}

const readingOf = ({ client }: SqliteEngine) => ({ reader: createReader(client, () => {}) });
const write = (store: Store, name: string, bytes = '') =>
  inTransaction(store, (records) => records.audit.append([{ ...event(name), detail: { bytes } }]));
const objectsIn = async (store: Store) => (await eventsIn(store)).map(({ object }) => object);

/** Another process that holds the write lock. */
function lockFile(): { readonly release: () => void } {
  const other = new Database(file);
  other.exec('BEGIN IMMEDIATE');
  onTestFinished(() => void other.close());
  return { release: () => void other.exec('ROLLBACK') };
}

describe('while another process holds the lock', () => {
  test('writes wait, and reads do not', async () => {
    const store = await openStore();
    const { release } = lockFile();
    const states: string[] = [];
    const written = Promise.all(['a', 'b'].map((name) => write(store, name))).then(() => states.push('written'));
    // Many turns of the event loop, in which the write was attempted.
    for (let turn = 0; turn < 50; turn += 1) {
      await setImmediate();
      expect(await objectsIn(store)).toEqual([]);
    }
    states.push('read');
    release();
    await written;
    expect(states).toEqual(['read', 'written']);
    expect(await objectsIn(store)).toEqual(['a', 'b']);
  });

  test('a write is rejected after the timeout and changes nothing; the next succeeds', async () => {
    const engine = await openEngine({ limit: 50, interval: 5 });
    const append = ({ savepoint }: Transaction, name: string) =>
      savepoint((connection) => new Records(connection).audit.append([event(name)]));
    const { release } = lockFile();
    let began = false;
    const refused = engine.transaction(async (transaction) => {
      began = true;
      await append(transaction, 'a');
    }, timeout);
    const error: unknown = await refused.catch((reason: unknown) => reason);
    expect(findUnavailability(error)).toMatchObject({
      isTransient: true,
      detail: expect.stringContaining('another process has held the write lock'),
    });
    expect(began).toBe(false);
    release();
    await engine.transaction((transaction) => append(transaction, 'b'), timeout);
    expect(await eventsIn(readingOf(engine))).toMatchObject([{ number: 1, object: 'b' }]);
  });
});

test('a disk that becomes full during a transaction rolls back all its savepoints and rejects later ones', async () => {
  const engine = await openEngine();
  const fill = 'x'.repeat(100_000);
  const append = (savepoint: Transaction['savepoint'], name: string, bytes: string) =>
    savepoint((connection) => new Records(connection).audit.append([{ ...event(name), detail: { bytes } }]));
  const setLimit = (pages: number) =>
    engine.transaction(
      ({ savepoint }) =>
        savepoint(async (connection) => void (await sql`PRAGMA max_page_count = ${sql.lit(pages)}`.execute(connection.sql))),
      timeout,
    );
  const { rows } = await sql<{ page_count: number }>`PRAGMA page_count`.execute(engine.readConnection.sql);
  await setLimit((rows[0]?.page_count ?? 0) + 5);
  const failures: unknown[] = [];
  const failed = engine.transaction(async ({ savepoint }) => {
    await append(savepoint, 'small', '');
    for (const [name, bytes] of [...[['large', fill] as const], ...[['late', ''] as const]])
      await append(savepoint, name, bytes).catch((error: unknown) => failures.push(error));
  }, timeout);
  await expect(failed).rejects.toThrow();
  expect(failures.map((error) => findUnavailability(error)?.detail)).toEqual(failures.map(() => expect.stringContaining('full')));
  const events = () => eventsIn(readingOf(engine));
  expect(await events()).toEqual([]);
  await setLimit(1_000_000);
  await engine.transaction(({ savepoint }) => append(savepoint, 'after', fill), timeout);
  expect(await events()).toMatchObject([{ number: 1, object: 'after' }]);
});

/** Mounts a file system of a few megabytes on a folder. Returns whether this process is permitted to. */
function mountSmallDisk(place: string): boolean {
  return spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', place], { stdio: 'ignore' }).status === 0;
}

function unmount(place: string): void {
  execFileSync('umount', ['--lazy', place]);
}

function mayMount(): boolean {
  const place = mkdtempSync(join(tmpdir(), 'patchbay-disk-'));
  const isMounted = mountSmallDisk(place);
  if (isMounted) unmount(place);
  rmSync(place, { recursive: true });
  return isMounted;
}

test.runIf(mayMount())('a full disk rejects writes and accepts them when space is free again; acknowledged writes are kept', async () => {
  expect(mountSmallDisk(folder)).toBe(true);
  try {
    const store = await Store.open(file, { isExclusive: true });
    const kept = ['first'];
    await write(store, 'first');
    const ballast = join(folder, 'ballast');
    expect(() => writeFileSync(ballast, Buffer.alloc(16_000_000))).toThrow(/ENOSPC/);
    let refused = 0;
    // Some writes may still fit into existing pages of the log.
    for (let attempt = 0; refused < 3 && attempt < 100; attempt += 1) {
      const names = [`a${attempt}`, `b${attempt}`, `c${attempt}`];
      const results = await Promise.allSettled(names.map((name) => write(store, name, 'x'.repeat(50_000))));
      refused = results.filter(({ status }) => status === 'rejected').length;
      for (const [position, result] of results.entries()) {
        if (result.status === 'fulfilled') kept.push(names[position] ?? '');
        else expect(findUnavailability(result.reason)?.detail).toMatch(/full|SQLite has ended/);
      }
    }
    expect(refused).toBe(3);
    expect((await store.health()).writeFault).toMatch(/full/);
    expect(await objectsIn(store)).toEqual(kept);
    unlinkSync(ballast);
    await write(store, 'after');
    expect((await store.health()).writeFault).toBeNull();
    await store.close();
    const again = await Store.open(file);
    expect(await objectsIn(again)).toEqual([...kept, 'after']);
    await again.close();
  } finally {
    unmount(folder);
  }
});

test('a database that becomes read-only rejects writes with that reason, and is still readable', async () => {
  const engine = await openEngine();
  const setReadOnly = engine.transaction(
    ({ savepoint }) => savepoint(async (connection) => void (await sql`PRAGMA query_only = ON`.execute(connection.sql))),
    timeout,
  );
  // It has written nothing but its mark in the header.
  await expect(setReadOnly).rejects.toThrow();
  const append = ({ savepoint }: Transaction) => savepoint((connection) => new Records(connection).audit.append([event('a')]));
  const error: unknown = await engine.transaction(append, timeout).catch((reason: unknown) => reason);
  expect(findUnavailability(error)?.detail).toMatch(/read-only/);
  expect(await eventsIn(readingOf(engine))).toEqual([]);
});

test.each([
  ...['SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT', 'SQLITE_BUSY_RECOVERY', 'SQLITE_BUSY_TIMEOUT', 'SQLITE_LOCKED', 'SQLITE_LOCKED_SHAREDCACHE'],
  ...['SQLITE_PROTOCOL', 'SQLITE_NOMEM', 'SQLITE_IOERR_NOMEM', 'SQLITE_INTERRUPT'],
])('%s is transient', (code) => {
  expect(classifyErrorCode(code)).toMatchObject({ isTransient: true });
});

test.each([
  ...['SQLITE_FULL', 'SQLITE_READONLY', 'SQLITE_READONLY_DBMOVED', 'SQLITE_READONLY_DIRECTORY', 'SQLITE_READONLY_CANTLOCK', 'SQLITE_NOLFS'],
  ...['SQLITE_IOERR', 'SQLITE_IOERR_WRITE', 'SQLITE_IOERR_FSYNC', 'SQLITE_IOERR_SHORT_READ', 'SQLITE_IOERR_TRUNCATE', 'SQLITE_PERM'],
  ...['SQLITE_CANTOPEN', 'SQLITE_CANTOPEN_ISDIR', 'SQLITE_CORRUPT', 'SQLITE_CORRUPT_INDEX', 'SQLITE_NOTADB'],
])('%s requires an operator', (code) => {
  expect(classifyErrorCode(code)).toMatchObject({ isTransient: false });
});

test.each(['SQLITE_ERROR', 'SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_MISMATCH', 'SQLITE_RANGE', 'SQLITE_TOOBIG', 'SQLITE_MISUSE'])(
  '%s is not an unavailable database',
  (code) => {
    expect(classifyErrorCode(code)).toBeNull();
  },
);

test('classifies an error by its causes at any depth', () => {
  const own = new DatabaseUnavailable({ detail: 'lost', retryAfterSeconds: 30, isTransient: false, isLost: true });
  expect(findUnavailability(new Error('outer', { cause: new Error('inner', { cause: own }) }))).toMatchObject({
    detail: 'lost',
    isLost: true,
  });
  const driver = Object.assign(new Error('SocketTimeout'), { cause: { originalCode: 'SQLITE_FULL' } });
  expect(
    findUnavailability(Object.assign(new Error('raw query failed'), { code: 'P1008', meta: { driverAdapterError: driver } })),
  ).toMatchObject({
    detail: expect.stringContaining('full'),
  });
  const refused = () => new AggregateError([Object.assign(new Error('a'), { code: 'ECONNREFUSED' })]);
  expect(findUnavailability(markDatabaseError(refused()))).toMatchObject({ isTransient: true });
  // An error that does not come from the database.
  for (const other of [refused(), Object.assign(new Error('aborted'), { code: 'ECONNRESET' }), new Error('too many connections')])
    expect(findUnavailability(other)).toBeNull();
  for (const other of [null, 'text', new Error('a mistake'), new TypeError('undefined is not a function')])
    expect(findUnavailability(other)).toBeNull();
});
