// Databases of earlier versions keep their data after migrations.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseLabelSelector } from '../../../../src/protocol/label-selector.ts';
import { AuditQueries } from '../../../../src/service/audit/queries.ts';
import { hashStoredEvent } from '../../../../src/service/database/audit-chain.ts';
import { withoutMarks } from '../../../../src/service/database/readable-rows.ts';
import { applyMigrations, sqliteMigrations } from '../../../../src/service/database/sqlite/migrations.ts';
import { Store } from '../../../../src/service/database/store.ts';
import { DeviceQueries } from '../../../../src/service/devices/queries.ts';
import { HistoryQueries } from '../../../../src/service/history/queries.ts';
import { LoadQueries } from '../../../../src/service/loads/queries.ts';
import { OrderQueries } from '../../../../src/service/orders/queries.ts';
import { inTransaction, Records } from '../../records.ts';
import { at, event, firstPage } from '../events.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-store-'));
  file = join(folder, 'patchbay.db');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('migrates a database of an earlier version without losing data', async () => {
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
  const loadQueries = new LoadQueries(store.reader);
  const filter = { selector: parseLabelSelector('zone=north'), module: 'tcp', version: '1.0.0' };
  expect(await new DeviceQueries(store.reader).list(filter, firstPage)).toMatchObject([
    { id: 'd', labelsByOperator: false, labels: { zone: 'north' } },
  ]);
  expect(await loadQueries.list(filter, firstPage)).toMatchObject([
    { id: 'l', versionPolicy: 'newer', requestedBy: null, rollback: false },
  ]);
  const { loads } = new Records(store.readConnection);
  expect(await Promise.all(['l', 'm', 'n'].map((id) => loads.find(id)))).toMatchObject([
    { state: 'queued', report: null },
    { outcome: 'replaced', report: { steps: [{ step: 'refused', at: 'x' }] } },
    { outcome: 'failed', report: null },
  ]);
  const found = async (wanted: { state?: string; module?: string }) =>
    (await loadQueries.list(wanted, firstPage)).map(({ id }) => id).toSorted();
  expect(await Promise.all([found({}), found({ state: 'queued' }), found({ state: 'dispatched' }), found({ state: 'completed' })])).toEqual(
    [...[['l', 'm', 'n'], ['l'], [], ['m', 'n']]],
  );
  expect(await Promise.all([found({ module: 'tcp' }), found({ state: 'queued', module: 'tcp' })])).toEqual([['l'], ['l']]);
  expect(await found({ state: 'queued', module: 'udp' })).toEqual([]);
  expect(await loadQueries.countOpen()).toEqual({ queued: 1, dispatched: 0 });
  expect(await loadQueries.totals()).toEqual([
    { outcome: 'failed', loads: 1, interrupted: 0, failed: 0 },
    { outcome: 'replaced', loads: 1, interrupted: 3, failed: 1 },
  ]);
  const { orders } = new Records(store.readConnection);
  expect((await new OrderQueries(store.reader).allUnsettled('h')).map(({ id }) => id)).toEqual(['withdrawn', 'waits']);
  expect((await orders.next('h', 0, 10, 10)).map(({ id }) => id)).toEqual(['waits']);
  const unknown = { requestedBy: null, replacedByLoadId: null, invalidation: null };
  expect(await new HistoryQueries(store.reader).at('d', at, { ...firstPage, sort: 'name' })).toMatchObject([
    { version: '1.0.0', ...unknown },
  ]);
  await store.close();
});

test('builds the hash chain for audit events of an earlier version, and continues it', async () => {
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
  await inTransaction(store, (records) => records.audit.append([event('new')]));
  const events = withoutMarks(await new AuditQueries(store.reader).after(0, 2_000));
  expect(events.map(({ number }) => number)).toEqual(Array.from({ length: 1_204 }, (_, index) => index + 1));
  expect(events.slice(0, 5).map(({ outcome }) => outcome)).toEqual(['succeeded', 'refused', 'failed', 'failed', 'succeeded']);
  let previous: Uint8Array = new Uint8Array();
  for (const one of events) {
    expect(one.previous).toEqual(previous);
    expect(one.hash).toEqual(hashStoredEvent(one));
    previous = one.hash;
  }
  expect(await new Records(store.readConnection).audit.head()).toMatchObject({ number: 1_204, hash: previous, prunedThrough: 0 });
  await store.close();
});
