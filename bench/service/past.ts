// Fills a database with the history of a year: devices, loads, residencies and events, in large transactions.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { NewAuditEvent } from '../../src/service/database/commit-effects.ts';
import { applyMigrations } from '../../src/service/database/sqlite/migrations.ts';
import { Store } from '../../src/service/database/store.ts';
import { inTransaction } from '../../test/service/records.ts';

export type Past = {
  readonly devices: number;
  /** Residencies per device, each with one load and one event. */
  readonly residenciesPerDevice: number;
};

const moduleNames = ['tcp', 'udp', 'icmp', 'arp', 'dns', 'scheduler', 'pager', 'disk'];
const versions = 20;
/** Residencies of the first device, the same in each database, so that its lists are equally long. */
const residenciesOfFirst = 80;
const begin = Date.UTC(2025, 10, 1);
const year = 365 * 24 * 3_600_000;
/** Events per transaction. */
const eventsAtOnce = 10_000;
const tables = ['Load', 'HistoryEntry', 'AuditEvent'];

/** Returns the identifier of a past device by its number. */
export function pastDevice(index: number): string {
  return `dev_${String(index).padStart(32, '0')}`;
}

/** Creates the database before the service starts. */
export async function fillPast(folder: string, past: Past): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'patchbay.db');
  applyMigrations(file);
  const database = new Database(file);
  database.pragma('synchronous = OFF');
  database.pragma('cache_size = -500000');
  // Indexes are created last, which is faster.
  const indexes = database
    .prepare<[], { name: string; sql: string }>(`SELECT "name", "sql" FROM sqlite_master WHERE "type" = 'index' AND "sql" IS NOT NULL`)
    .all()
    .filter(({ sql }) => tables.some((table) => sql.includes(` ON "${table}"`)));
  for (const { name } of indexes) database.exec(`DROP INDEX "${name}"`);
  database.transaction(() => {
    addDevices(database, past);
    addResidencies(database, past);
  })();
  await addEvents(file, past);
  for (const { sql } of indexes) database.exec(sql);
  database.close();
}

function addDevices(database: Database.Database, { devices }: Past): void {
  const addDevice = database.prepare('INSERT INTO "Device" ("id", "name", "hostId", "ramPages", "createdAt") VALUES (?, ?, ?, 256, ?)');
  const addLabel = database.prepare('INSERT INTO "DeviceLabel" ("deviceId", "key", "value") VALUES (?, ?, ?)');
  const addModule = database.prepare('INSERT INTO "DeviceModule" ("deviceId", "module", "version", "imageDigest") VALUES (?, ?, ?, ?)');
  database.exec(
    `INSERT INTO "Host" ("id", "name", "bootId", "capacity", "registeredAt") VALUES ('hst_past', 'past', 'boot-of-the-past', 20000, ${begin})`,
  );
  for (let device = 0; device < devices; device += 1) {
    addDevice.run(pastDevice(device), `past-${device}`, 'hst_past', begin + device);
    addLabel.run(pastDevice(device), 'host', 'past');
    addLabel.run(pastDevice(device), 'zone', String(device % 20));
    addModule.run(pastDevice(device), 'tcp', `1.${device % versions}.0`, '');
  }
}

/** Writes each residency with its load, in time order, so that those of one device are scattered. */
function addResidencies(database: Database.Database, past: Past): void {
  const addResidency =
    database.prepare(`INSERT INTO "HistoryEntry" ("deviceId", "module", "version", "imageDigest", "loadId", "requestedBy",
    "address", "pages", "installedAt", "removedAt", "removalCause") VALUES (?, ?, ?, '', ?, 'past', '0x1000', 1, ?, ?, ?)`);
  const addLoad = database.prepare(`INSERT INTO "Load" ("id", "batchId", "deviceId", "buildId", "module", "version", "strategy",
    "invalidation", "state", "outcome", "interrupted", "retried", "failed", "requestedAt", "dispatchedAt", "completedAt")
    VALUES (?, ?, ?, 'build', ?, ?, 'inject', 'nx', 'completed', ?, 0, 0, 0, ?, ?, ?)`);
  const addBatch = database.prepare(`INSERT INTO "LoadBatch" ("id", "kind", "module", "version", "loads", "rollback", "requestedAt")
    VALUES (?, 'build', ?, ?, 10, 0, ?)`);
  for (const { device, step, steps } of stepsOf(past)) {
    const id = pastDevice(device);
    const load = `lod_${String(step).padStart(16, '0')}${String(device).padStart(16, '0')}`;
    const module = moduleNames[(step + device) % moduleNames.length];
    const version = `1.${Math.floor((step + device) / moduleNames.length) % versions}.0`;
    const installedAt = begin + Math.floor((step * year) / steps) + device;
    const isLast = step >= steps - moduleNames.length;
    const removedAt = isLast ? null : installedAt + Math.floor((moduleNames.length * year) / steps);
    const outcome = (step + device) % 20 === 0 ? 'failed' : 'replaced';
    addResidency.run(id, module, version, load, installedAt, removedAt, isLast ? null : 'replaced');
    if (device % 10 === 0) addBatch.run(`bat_past_${load}`, module, version, installedAt);
    addLoad.run(load, `bat_${step}`, id, module, version, outcome, installedAt, installedAt + 5, installedAt + 10);
  }
}

async function addEvents(file: string, past: Past): Promise<void> {
  const store = await Store.open(file);
  let events: NewAuditEvent[] = [];
  const write = async () => {
    await inTransaction(store, (records) => records.audit.append(events));
    events = [];
  };
  for (const { device, step, steps } of stepsOf(past)) {
    const at = new Date(begin + Math.floor((step * year) / steps) + device);
    const detail = { device: pastDevice(device), module: 'tcp', version: '1.1.0', outcome: 'replaced', reason: null, interrupted: 0 };
    const facts = { actor: 'past', action: 'load.completed', object: pastDevice(device), outcome: 'succeeded', requestId: null } as const;
    events.push({ at, ...facts, detail });
    if (events.length === eventsAtOnce) await write();
  }
  await write();
  await store.close();
}

/** Iterates over the residencies of all devices in time order. */
function* stepsOf({
  devices,
  residenciesPerDevice,
}: Past): Generator<{ readonly device: number; readonly step: number; readonly steps: number }> {
  const most = Math.max(residenciesOfFirst, residenciesPerDevice);
  for (let step = 0; step < most; step += 1) {
    if (step < residenciesOfFirst) yield { device: 0, step, steps: residenciesOfFirst };
    if (step < residenciesPerDevice)
      for (let device = 1; device < devices; device += 1) yield { device, step, steps: residenciesPerDevice };
  }
}
