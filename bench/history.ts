// `npm run bench:history`: measures module history queries with 1,000,000 residencies against 10,000, and shows the plans of their statements.

import console from 'node:console';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { formatTable } from '../src/cli/terminal/table.ts';
import { applyMigrations } from '../src/service/database/sqlite/migrations.ts';
import { Store } from '../src/service/database/store.ts';
import { HistoryQueries } from '../src/service/history/queries.ts';
import { HistoryRecords } from '../src/service/history/repository.ts';
import { QueryPlans } from '../test/service/database/sqlite/query-plans.ts';

/** Residencies per device; the first device has as many as there are devices. */
const residenciesPerDevice = 100;
const moduleNames = ['tcp', 'udp', 'icmp', 'arp', 'dns', 'scheduler', 'pager', 'disk'];
const modulesPerDevice = 5;
const versions = 20;
/** A page of 50 items, for which 51 rows are read. */
const page = { sort: 'name', order: 'asc', limit: 51, after: null } as const;
const begin = Date.UTC(2026, 0, 1);
const year = 365 * 24 * 60 * 60 * 1_000;

type Subject = Pick<Store, 'readConnection' | 'reader'>;
type Question = { readonly what: string; readonly calls: number; readonly ask: (subject: Subject, call: number) => Promise<unknown> };
type Figures = { readonly p50: number; readonly p99: number; readonly plans: readonly (readonly string[])[] };

const folder = mkdtempSync(join(tmpdir(), 'patchbay-bench-history-'));
try {
  const [few, many] = [await measureWith(100), await measureWith(10_000)];
  const text = (milliseconds: number) => milliseconds.toFixed(2);
  const rows = [...many].map(([what, { p50, p99 }]) => {
    const before = few.get(what);
    return [what, text(before?.p50 ?? 0), text(before?.p99 ?? 0), text(p50), text(p99), (p50 / (before?.p50 ?? p50)).toFixed(1)];
  });
  console.log(formatTable(['ms', 'p50 of 10,000', 'p99', 'p50 of 1,000,000', 'p99', 'ratio of p50'], rows).join('\n'));
  for (const [what, { plans }] of many) {
    console.log(`\n${what}`);
    const statements = new Set(plans.map((steps) => steps.map((step, index) => `${index === 0 ? '-' : ' '} ${step}`).join('\n')));
    for (const statement of statements) console.log(statement);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Runs every query many times on a database with a number of devices. */
async function measureWith(devices: number): Promise<Map<string, Figures>> {
  const file = join(folder, `${devices}.db`);
  fill(file, devices);
  const store = await Store.open(file);
  const plans = new QueryPlans(file);
  const figures = new Map<string, Figures>();
  for (const { what, calls, ask } of questionsOf(devices)) {
    const times: number[] = [];
    for (let call = 0; call < calls; call += 1) {
      const began = performance.now();
      await ask(store, call);
      times.push(performance.now() - began);
    }
    times.sort((left, right) => left - right);
    const percentile = (share: number) => times[Math.min(calls - 1, Math.floor(calls * share))] ?? 0;
    figures.set(what, { p50: percentile(0.5), p99: percentile(0.99), plans: await plans.of(() => ask(plans, 0)) });
  }
  await plans.close();
  await store.close();
  return figures;
}

function deviceId(index: number): string {
  return `dev_${String(index).padStart(32, '0')}`;
}

/** Returns a deterministic pseudo-random number below the range. */
function spread(call: number, range: number): number {
  return (call * 7_919) % range;
}

function questionsOf(devices: number): Question[] {
  const build = (call: number) => ({ module: moduleNames[call % moduleNames.length] ?? '', version: versionOf(spread(call, versions)) });
  const older = (call: number) => ({ ...build(call), version: versionOf(versions - 2) });
  const newest = (call: number) => ({ ...build(call), version: versionOf(versions - 1) });
  const moment = (call: number) => new Date(begin + spread(call, 1_000) * (year / 1_000));
  const all = Array.from({ length: devices }, (_, index) => deviceId(index));
  return [
    {
      what: 'what ran on a device at a time',
      calls: 2_000,
      ask: ({ reader }, call) => new HistoryQueries(reader).at(deviceId(spread(call, devices)), moment(call), page),
    },
    {
      what: 'the same, of the device with the most stays',
      calls: 2_000,
      ask: ({ reader }, call) => new HistoryQueries(reader).at(deviceId(0), moment(call), page),
    },
    {
      what: 'which devices ever ran a build',
      calls: 1_000,
      ask: ({ reader }, call) => new HistoryQueries(reader).devicesOfBuild(build(call), page),
    },
    {
      what: 'which run a build now that few run',
      calls: 1_000,
      ask: ({ reader }, call) => new HistoryQueries(reader).devicesOfBuild({ ...older(call), isRunning: true }, page),
    },
    {
      what: 'which run a build now that most run',
      calls: 1_000,
      ask: ({ reader }, call) => new HistoryQueries(reader).devicesOfBuild({ ...newest(call), isRunning: true }, page),
    },
    {
      what: 'which ran a build that few run now',
      calls: 1_000,
      ask: ({ reader }, call) => new HistoryQueries(reader).devicesOfBuild({ ...older(call), isRunning: false }, page),
    },
    {
      what: 'which ran a build that most run now',
      calls: 200,
      ask: ({ reader }, call) => new HistoryQueries(reader).devicesOfBuild({ ...newest(call), isRunning: false }, page),
    },
    {
      what: 'what every device can roll back to (100, 10,000)',
      calls: 5,
      ask: ({ readConnection }) => new HistoryRecords(readConnection).loadedVersions(all, 'tcp', 50),
    },
  ];
}

function versionOf(index: number): string {
  return `1.${index}.0`;
}

/** Creates the database: over a year, each device gets one version of each module after another, and reboots now and then. */
function fill(file: string, devices: number): void {
  applyMigrations(file);
  const database = new Database(file);
  database.pragma('synchronous = OFF');
  const addResidency =
    database.prepare(`INSERT INTO "HistoryEntry" ("deviceId", "module", "version", "imageDigest", "loadId", "requestedBy", "address",
    "pages", "installedAt", "removedAt", "removalCause") VALUES (?, ?, ?, '', ?, 'key', '0x1000', 1, ?, ?, ?)`);
  const addLoad =
    database.prepare(`INSERT INTO "Load" ("id", "batchId", "deviceId", "buildId", "module", "version", "strategy", "invalidation", "state",
    "outcome", "requestedAt") VALUES (?, 'batch', ?, 'build', ?, ?, 'inject', 'nx', 'completed', 'replaced', ?)`);
  const addDevice = database.prepare(
    'INSERT INTO "Device" ("id", "name", "hostId", "ramPages", "createdAt") VALUES (?, ?, \'host\', 256, ?)',
  );
  const addModule = database.prepare('INSERT INTO "DeviceModule" ("deviceId", "module", "version", "imageDigest") VALUES (?, ?, ?, \'\')');
  /** Returns the residency with this number, for each module of a device. */
  const addResidencies = (device: number, step: number, steps: number) => {
    const id = deviceId(device);
    for (let place = 0; place < modulesPerDevice; place += 1) {
      const module = moduleNames[(device + place) % moduleNames.length] ?? '';
      const isPutBack = step % 10 === 5;
      // One device in twenty does not have the newest version.
      const version = versionOf(
        Math.min(Math.floor(((step - (isPutBack ? 1 : 0)) * versions) / steps), versions - (device % 20 === 19 ? 2 : 1)),
      );
      const isLast = step === steps - 1;
      const installedAt = begin + Math.floor(((step + place / 10) * year) / steps) + device;
      const removedAt = isLast ? null : installedAt + Math.floor(year / steps);
      const load = isPutBack ? null : `${id}-${module}-${step}`;
      addResidency.run(id, module, version, load, installedAt, removedAt, isLast ? null : 'replaced');
      if (load !== null && module === 'tcp') addLoad.run(load, id, module, version, installedAt);
      if (isLast) addModule.run(id, module, version);
    }
  };
  database.transaction(() => {
    database.exec(`INSERT INTO "Host" ("id", "name", "bootId", "capacity", "registeredAt") VALUES ('host', 'host', 'boot', 20000, 0)`);
    for (let device = 0; device < devices; device += 1) addDevice.run(deviceId(device), `device-${device}`, begin);
    const steps = residenciesPerDevice / modulesPerDevice;
    // In time order, so that those of one device are scattered.
    for (let step = 0; step < steps; step += 1) for (let device = 1; device < devices; device += 1) addResidencies(device, step, steps);
    const most = devices / modulesPerDevice;
    for (let step = 0; step < most; step += 1) addResidencies(0, step, most);
  })();
  database.close();
}
