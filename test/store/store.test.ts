// The database: migrations, durability settings, and transactions that keep all or nothing.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import { bindMigrationAwareSqlAdapterFactory } from '@prisma/driver-adapter-utils';
import * as engine from '@prisma/schema-engine-wasm/schema_engine_bg';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { functionOf } from '../../src/machine/processor.ts';
import { MigrationError } from '../../src/store/migrations.ts';
import { hashOfRecord } from '../../src/store/records/audit.ts';
import { applyMigrations, sqliteMigrations } from '../../src/store/sqlite/migrations.ts';
import { Store, TooManyTransactions, type TransactionEnd, transactionLimits } from '../../src/store/store.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-store-'));
  file = join(folder, 'patchbay.db');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const firstPage = { sort: 'time', order: 'asc', limit: 100, after: null } as const;
const at = new Date('2026-11-23T09:30:00.000Z');
const event = (object: string) => ({
  at,
  actor: 'test',
  action: 'test.done',
  object,
  outcome: 'succeeded' as const,
  requestId: null,
  detail: {},
});

/** Has transactions wait for one that ends when it is told to. */
async function holdUp(store: Store): Promise<() => Promise<void>> {
  const begun = Promise.withResolvers<void>();
  const { promise, resolve } = Promise.withResolvers<void>();
  const ended = store.transaction(() => {
    begun.resolve();
    return promise;
  });
  await begun.promise;
  return () => {
    resolve();
    return ended;
  };
}

test('what was acknowledged is synchronised with the disk', async () => {
  const store = await Store.open(file);
  expect(await store.health()).toEqual({ writable: true, isDurable: true, migrationFaults: [] });
  await store.close();
  const database = new Database(file, { readonly: true });
  expect(database.pragma('journal_mode', { simple: true })).toBe('wal');
  database.close();
});

test('a transaction that fails leaves nothing', async () => {
  const store = await Store.open(file);
  const failing = store.transaction(async (records) => {
    await records.audit.append([event('a')]);
    throw new Error('halfway');
  });
  await expect(failing).rejects.toThrow('halfway');
  await store.transaction((records) => records.audit.append([event('b')]));
  const kept = await store.records.audit.list({}, firstPage);
  expect(kept.map(({ object }) => object)).toEqual(['b']);
  await store.close();
});

test('what is read outside a transaction is never what it may yet take back', async () => {
  const store = await Store.open(file);
  const wrote = Promise.withResolvers<void>();
  const read = Promise.withResolvers<void>();
  const failing = store.transaction(async (records) => {
    await records.audit.append([event('a')]);
    wrote.resolve();
    await read.promise;
    throw new Error('halfway');
  });
  await wrote.promise;
  const seen = await store.records.audit.list({}, firstPage);
  read.resolve();
  await expect(failing).rejects.toThrow('halfway');
  expect(seen).toEqual([]);
  await store.close();
});

test('what was kept while another transaction fails is kept, and nothing is written outside a transaction', async () => {
  const store = await Store.open(file);
  const begun = Promise.withResolvers<void>();
  const end = Promise.withResolvers<void>();
  const failing = store.transaction(async (records) => {
    await records.audit.append([event('a')]);
    begun.resolve();
    await end.promise;
    throw new Error('halfway');
  });
  await begun.promise;
  const kept = store.transaction((records) => records.audit.append([event('b')]));
  await expect(store.records.audit.append([event('c')])).rejects.toThrow();
  end.resolve();
  await expect(failing).rejects.toThrow('halfway');
  await kept;
  const events = await store.records.audit.list({}, firstPage);
  expect(events.map(({ object }) => object)).toEqual(['b']);
  await store.close();
});

test('what was kept is there when the file is opened again', async () => {
  const first = await Store.open(file);
  await first.transaction((records) => records.audit.append([event('a')]));
  await first.close();
  const second = await Store.open(file);
  expect(await second.records.audit.list({}, firstPage)).toMatchObject([{ number: 1, at, object: 'a' }]);
  await second.close();
});

test('transactions of many at once all succeed, one after another', async () => {
  const store = await Store.open(file);
  await Promise.all(Array.from({ length: 50 }, (_, index) => store.transaction((records) => records.audit.append([event(`o${index}`)]))));
  const kept = await store.records.audit.list({}, firstPage);
  expect(kept.map(({ number }) => number)).toEqual(Array.from({ length: 50 }, (_, index) => index + 1));
  await store.close();
});

test('transactions that wait together reach the disk together; each that fails leaves nothing and is told why, and the others are kept', async () => {
  const store = await Store.open(file);
  const ends: TransactionEnd[] = [];
  store.onTransactionEnd((end) => ends.push(end));
  const outside = new Database(file, { readonly: true });
  const seenOutside: unknown[] = [];
  const goOn = await holdUp(store);
  const others = Array.from({ length: 10 }, (_, index) =>
    store.transaction(async (records) => {
      await records.audit.append([event(`o${index}`)]);
      seenOutside.push(outside.prepare('SELECT COUNT(*) FROM "AuditEvent"').pluck().get());
      if (index % 3 === 1) throw new Error(`no ${index}`);
      return { index, head: (await records.audit.head()).number };
    }),
  );
  await goOn();
  const settled = await Promise.allSettled(others);
  // None of them was on disk while the last was carried out.
  expect(seenOutside).toEqual(Array.from({ length: 10 }, () => 0));
  outside.close();
  expect(settled.map((one) => (one.status === 'fulfilled' ? one.value.head : String(one.reason)))).toEqual([
    ...[1, 'Error: no 1', 2, 3, 'Error: no 4', 4, 5, 'Error: no 7', 6, 7],
  ]);
  const kept = await store.records.audit.list({}, firstPage);
  expect(kept.map(({ object }) => object)).toEqual(['o0', 'o2', 'o3', 'o5', 'o6', 'o8', 'o9']);
  // Of one that was taken back nobody is told what it did.
  expect(ends.map((end) => (end.result === 'committed' ? end.events.map(({ object }) => object) : end.result))).toEqual([
    ...[[], ['o0'], 'rolled-back', ['o2'], ['o3'], 'rolled-back', ['o5'], ['o6'], 'rolled-back', ['o8'], ['o9']],
  ]);
  await store.close();
});

test('transactions that are asked for in one turn of the event loop are carried out together', async () => {
  const store = await Store.open(file);
  const outside = new Database(file, { readonly: true });
  const seenOutside: unknown[] = [];
  const ended: Promise<void>[] = [];
  // As requests are read: each from a socket of its own, with everything that follows at once done between them.
  for (let request = 0; request < 10; request += 1)
    setImmediate(() =>
      ended.push(
        store.transaction(async (records) => {
          await records.audit.append([event(`r${request}`)]);
          seenOutside.push(outside.prepare('SELECT COUNT(*) FROM "AuditEvent"').pluck().get());
        }),
      ),
    );
  await vi.waitUntil(() => ended.length === 10);
  await Promise.all(ended);
  expect(seenOutside).toEqual(Array.from({ length: 10 }, () => 0));
  outside.close();
  await store.close();
});

test('a group of which every transaction fails leaves nothing, and each is told its own reason', async () => {
  const store = await Store.open(file);
  const goOn = await holdUp(store);
  const failing = ['a', 'b'].map((name) =>
    store.transaction(async (records) => {
      await records.audit.append([event(name)]);
      throw new Error(`no ${name}`);
    }),
  );
  await goOn();
  expect(await Promise.allSettled(failing)).toMatchObject([{ reason: { message: 'no a' } }, { reason: { message: 'no b' } }]);
  expect(await store.records.audit.list({}, firstPage)).toEqual([]);
  await store.transaction((records) => records.audit.append([event('c')]));
  expect(await store.records.audit.list({}, firstPage)).toMatchObject([{ number: 1, object: 'c' }]);
  await store.close();
});

test('as many transactions wait as may; one more is refused and the others are carried out', async () => {
  const store = await Store.open(file);
  const goOn = await holdUp(store);
  let carriedOut = 0;
  const waiting = Array.from({ length: transactionLimits.waiting }, () =>
    store.transaction(async () => {
      carriedOut += 1;
    }),
  );
  await expect(store.transaction(async () => {})).rejects.toThrow(TooManyTransactions);
  await goOn();
  await Promise.all(waiting);
  expect(carriedOut).toBe(transactionLimits.waiting);
  await store.close();
});

test('the audit trail is in the order of its times, whatever waited for its transaction', async () => {
  const store = await Store.open(file);
  const earlier = new Date(at.getTime() - 1_000);
  const later = new Date(at.getTime() + 1_000);
  await store.transaction((records) => records.audit.append([event('a')]));
  await store.transaction((records) =>
    records.audit.append([
      { ...event('b'), at: earlier },
      { ...event('c'), at: later },
    ]),
  );
  await store.transaction((records) => records.audit.append([event('d')]));
  const kept = await store.records.audit.list({}, firstPage);
  expect(kept.map(({ number, object, at: moment }) => [number, object, moment])).toEqual([
    [1, 'a', at],
    [2, 'b', at],
    [3, 'c', later],
    [4, 'd', later],
  ]);
  await store.close();
});

test('migrations are applied once and recorded as Prisma records them', () => {
  applyMigrations(file);
  applyMigrations(file);
  const database = new Database(file);
  const rows = database
    .prepare(
      'SELECT migration_name, applied_steps_count, length(checksum) AS digits, finished_at IS NOT NULL AS finished FROM _prisma_migrations',
    )
    .all();
  expect(rows).toEqual(sqliteMigrations().map(({ name }) => ({ migration_name: name, applied_steps_count: 1, digits: 64, finished: 1 })));
  database.close();
});

test('a database with devices and loads of before is migrated with all that it has', async () => {
  const migrations = sqliteMigrations();
  const before = migrations.filter(({ name }) => name < '20261124000003');
  expect(before.length).toBeLessThan(migrations.length);
  applyMigrations(file, before);
  const database = new Database(file);
  database.exec(`
    INSERT INTO "Host" ("id", "name", "bootId", "capacity", "registeredAt") VALUES ('h', 'host', 'boot', 1, 0);
    INSERT INTO "Device" ("id", "name", "hostId", "ramPages", "createdAt") VALUES ('d', 'device', 'h', 16, 0);
    INSERT INTO "DeviceLabel" ("deviceId", "key", "value") VALUES ('d', 'zone', 'north');
    INSERT INTO "DeviceModule" ("deviceId", "module", "version", "imageDigest") VALUES ('d', 'tcp', '1.0.0', '');
    INSERT INTO "Load" ("id", "batchId", "deviceId", "buildId", "module", "version", "strategy", "invalidation", "state", "requestedAt")
      VALUES ('l', 'b', 'd', 'x', 'tcp', '1.0.0', 'inject', 'nx', 'queued', 0);
    INSERT INTO "Load" ("id", "batchId", "deviceId", "buildId", "module", "version", "strategy", "invalidation", "state", "requestedAt",
        "completedAt", "outcome", "interrupted", "failed", "report")
      VALUES ('m', 'b', 'd', 'x', 'udp', '1.0.0', 'inject', 'nx', 'completed', 0, 1, 'replaced', 3, 1, '{"steps":[{"step":"refused","at":"x"}]}'),
        ('n', 'b', 'd', 'x', 'udp', '1.1.0', 'inject', 'nx', 'completed', 0, 1, 'failed', NULL, NULL, NULL);
    INSERT INTO "HistoryEntry" ("deviceId", "module", "version", "imageDigest", "loadId", "address", "pages", "enteredAt")
      VALUES ('d', 'tcp', '1.0.0', '', 'l', '0x1000', 1, 0);
    INSERT INTO "AgentOrder" ("id", "hostId", "deviceId", "kind", "body", "loadId", "createdAt", "dispatchedAt", "withdrawnAt", "settledAt")
      VALUES ('settled', 'h', 'd', 'load', '{}', 'm', 0, 1, NULL, 2), ('withdrawn unsent', 'h', 'd', 'load', '{}', 'n', 0, NULL, 1, NULL),
        ('withdrawn', 'h', 'd', 'load', '{}', 'n', 0, 1, 2, NULL), ('waits', 'h', 'd', 'load', '{}', 'l', 0, NULL, NULL, NULL);`);
  database.close();
  const store = await Store.open(file);
  const filter = { labels: { zone: 'north' }, module: 'tcp', version: '1.0.0' };
  expect(await store.records.devices.list(filter, firstPage)).toMatchObject([
    { id: 'd', labelsByOperator: false, labels: { zone: 'north' } },
  ]);
  expect(await store.records.loads.list(filter, firstPage)).toMatchObject([
    { id: 'l', versionPolicy: 'newer', requestedBy: null, rollback: false },
  ]);
  const { loads } = store.records;
  expect(await Promise.all(['l', 'm', 'n'].map((id) => loads.find(id)))).toMatchObject([
    { state: 'queued', report: null },
    { outcome: 'replaced', report: { steps: [{ step: 'refused', at: 'x' }] } },
    { outcome: 'failed', report: null },
  ]);
  const found = async (wanted: { state?: string; module?: string }) =>
    (await loads.list({ labels: {}, ...wanted }, firstPage)).map(({ id }) => id).toSorted();
  expect(await Promise.all([found({}), found({ state: 'queued' }), found({ state: 'dispatched' }), found({ state: 'completed' })])).toEqual(
    [...[['l', 'm', 'n'], ['l'], [], ['m', 'n']]],
  );
  expect(await Promise.all([found({ module: 'tcp' }), found({ state: 'queued', module: 'tcp' })])).toEqual([['l'], ['l']]);
  expect(await found({ state: 'queued', module: 'udp' })).toEqual([]);
  expect(await loads.countOpen()).toEqual({ queued: 1, dispatched: 0 });
  expect(await loads.totals()).toEqual([
    { outcome: 'failed', loads: 1, interrupted: 0, failed: 0 },
    { outcome: 'replaced', loads: 1, interrupted: 3, failed: 1 },
  ]);
  const { orders } = store.records;
  expect((await orders.allUnsettled('h')).map(({ id }) => id)).toEqual(['withdrawn', 'waits']);
  expect((await orders.next('h', 0, 10, 10)).map(({ id }) => id)).toEqual(['waits']);
  const unknown = { requestedBy: null, leftThrough: null, invalidation: null };
  expect(await store.records.history.at('d', at, { ...firstPage, sort: 'name' })).toMatchObject([{ version: '1.0.0', ...unknown }]);
  await store.close();
});

test('the events of before the audit trail was a chain become one, and it goes on', async () => {
  applyMigrations(
    file,
    sqliteMigrations().filter(({ name }) => name < '20261124000007'),
  );
  const database = new Database(file);
  const insert = database.prepare('INSERT INTO AuditEvent (at, actor, action, object, requestId, detail) VALUES (?, ?, ?, ?, ?, ?)');
  const details = [
    { outcome: 'replaced' },
    { outcome: 'refused-image', reason: 'süß' },
    { outcome: 'expired' },
    { failure: 'none' },
    { failure: null },
  ];
  database.transaction(() => {
    for (let index = 0; index < 1_203; index += 1)
      insert.run(index, 'a', 'load.completed', `l${index}`, index % 2 === 0 ? '' : null, JSON.stringify(details[index % details.length]));
  })();
  database.close();
  const store = await Store.open(file);
  await store.transaction((records) => records.audit.append([event('new')]));
  const events = await store.records.audit.after(0, 2_000);
  expect(events.map(({ number }) => number)).toEqual(Array.from({ length: 1_204 }, (_, index) => index + 1));
  expect(events.slice(0, 5).map(({ outcome }) => outcome)).toEqual(['succeeded', 'refused', 'failed', 'failed', 'succeeded']);
  let previous: Uint8Array = new Uint8Array();
  for (const one of events) {
    expect(one.previous).toEqual(previous);
    expect(one.hash).toEqual(hashOfRecord(one));
    previous = one.hash;
  }
  expect(await store.records.audit.head()).toMatchObject({ number: 1_204, hash: previous, prunedThrough: 0 });
  await store.close();
});

test('a migration that fails leaves the database as it was', () => {
  applyMigrations(file);
  const broken = { name: '29990101000000_broken', sql: 'CREATE TABLE "half" (x INTEGER); CREATE NONSENSE;' };
  expect(() => applyMigrations(file, [...sqliteMigrations(), broken])).toThrow();
  const database = new Database(file);
  expect(database.prepare("SELECT name FROM sqlite_master WHERE name = 'half'").all()).toEqual([]);
  database.close();
  expect(() => applyMigrations(file)).not.toThrow();
});

test('a database whose migration has changed, or is of a newer version, is refused', () => {
  applyMigrations(file);
  const [first, ...rest] = sqliteMigrations();
  if (first === undefined) throw new Error('no migrations');
  expect(() => applyMigrations(file, [{ ...first, sql: `${first.sql}\n-- changed` }, ...rest])).toThrow(MigrationError);
  expect(() => applyMigrations(file, [])).toThrow(/use a newer version/);
});

test('the schema and the committed migrations agree', async () => {
  applyMigrations(file);
  const migrated = new Database(file);
  const wanted = new Database(':memory:');
  wanted.exec(await schemaScript());
  expect(structureOf(migrated)).toEqual(structureOf(wanted));
  expect(structureOf(migrated)).not.toEqual([]);
  migrated.close();
  wanted.close();
});

/** The SQL that makes an empty database into that of schema.prisma. */
async function schemaScript(): Promise<string> {
  const require = createRequire(import.meta.url);
  const binary = join(dirname(require.resolve('@prisma/schema-engine-wasm')), 'schema_engine_bg.wasm');
  const instance = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(readFileSync(binary))), {
    './schema_engine_bg.js': engine,
  });
  engine.__wbg_set_wasm(instance.exports);
  functionOf(instance.exports, '__wbindgen_start')();
  const content = readFileSync(new URL('../../prisma/schema.prisma', import.meta.url), 'utf8');
  const adapter = bindMigrationAwareSqlAdapterFactory(new PrismaBetterSqlite3({ url: ':memory:' }));
  const schemaEngine = await engine.SchemaEngine.new({ datamodels: [['schema.prisma', content]] }, () => {}, adapter);
  const { stdout } = await schemaEngine.diff({
    from: { tag: 'empty' },
    to: { tag: 'schemaDatamodel', files: [{ path: 'schema.prisma', content }] },
    script: true,
    exitCode: null,
    filters: { externalTables: [], externalEnums: [] },
  });
  return stdout ?? '';
}

/** Tables with their columns, foreign keys and indexes, however they came to be. */
function structureOf(database: Database.Database): unknown[] {
  const tables = database
    .prepare<[], { name: string }>(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite%' ORDER BY name",
    )
    .all();
  return tables.map(({ name }) => ({
    name,
    columns: database.prepare('SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?) ORDER BY name').all(name),
    foreignKeys: database
      .prepare('SELECT "table", "from", "to", on_update, on_delete FROM pragma_foreign_key_list(?) ORDER BY "from"')
      .all(name),
    indexes: database
      .prepare(
        `SELECT list.name, list."unique", group_concat(info.name) AS columns,
          (SELECT substr(sql, instr(sql, ' WHERE ')) FROM sqlite_master WHERE list.partial AND sqlite_master.name = list.name) AS condition
        FROM pragma_index_list(?) AS list, pragma_index_info(list.name) AS info GROUP BY list.name ORDER BY list.name`,
      )
      .all(name),
  }));
}

test('as many reads at once as there may be requests are each answered', async () => {
  const store = await Store.open(file);
  const { answers, builds, keys } = store.records;
  const reads = Array.from({ length: 2_000 }, (_, index) => [
    answers.find('key_1', String(index)),
    builds.find('tcp', String(index)),
    keys.find(String(index)),
  ]);
  expect(new Set(await Promise.all(reads.flat()))).toEqual(new Set([null]));
  await store.close();
});
