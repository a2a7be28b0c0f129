// `npm run bench:retention`: measures how long retention blocks the event loop and holds the write lock while it deletes data of 100,000 devices.

import console from 'node:console';
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import Database from 'better-sqlite3';
import { readInteger } from '../src/cli/option-values.ts';
import { formatTable } from '../src/cli/terminal/table.ts';
import { Checkpoints } from '../src/service/audit/checkpoints.ts';
import { systemTime } from '../src/service/clock/service-clock.ts';
import { TimeKeeper } from '../src/service/clock/time-keeper.ts';
import { Store } from '../src/service/database/store.ts';
import { type RetentionSettings, retainEverything, schedulePruning } from '../src/service/retention/retention.ts';
import { SigningKeys } from '../src/service/signing-keys/signing-keys.ts';
import { PrivateKeysInMemory } from '../test/private-keys-in-memory.ts';
import { fillPast } from './service/past.ts';

const usage = `Usage: npm run bench:retention -- [options]

Measures each part of a retention run on SQLite: with data to delete, and again with none left. Exits with 1 if a pass blocks for too long.

Options:
  --devices N      devices (100000)
  --residencies N  residencies per device, each with a load, a report and an event (5)
  --help
`;
/** Maximum duration of a transaction and of a block of the event loop, in milliseconds. */
const limit = 50;
const images = 1_000;
const year = 365 * 24 * 3_600_000;

type Part = { readonly what: string; readonly table: string; readonly settings: Partial<RetentionSettings> };
type Services = { readonly store: Store; readonly checkpoints: Checkpoints; readonly timeKeeper: TimeKeeper };
type Figures = { readonly seconds: number; readonly transactions: number; readonly longest: number; readonly block: number };

/** The order is that of a run: loads that the history names are kept. */
const parts: readonly Part[] = [
  { what: 'events', table: 'AuditEvent', settings: { events: { age: null, number: 1_000 } } },
  { what: 'reports', table: 'LoadReport', settings: { reports: { age: null, number: 1_000 } } },
  { what: 'history', table: 'HistoryEntry', settings: { history: { age: null, number: 1 }, keepVersions: 0 } },
  { what: 'loads', table: 'Load', settings: { loads: { age: null, number: 1_000 } } },
  { what: 'images', table: 'Image', settings: { keepImages: 1, keepVersions: 0 } },
];

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '100000' },
    residencies: { type: 'string', default: '5' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) console.log(usage);
else
  process.exitCode = await bench(
    readInteger('devices', values.devices, 1, 1_000_000),
    readInteger('residencies', values.residencies, 1, 1_000),
  );

/** Runs the benchmark; returns the exit code. */
async function bench(devices: number, residenciesPerDevice: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-bench-retention-'));
  const file = join(folder, 'patchbay.db');
  try {
    await fillPast(folder, { devices, residenciesPerDevice });
    addReportsAndImages(file);
    flush(file);
    const store = await Store.open(file);
    const signingKeys = await SigningKeys.open(store, { privateKeys: new PrivateKeysInMemory(), isLost: false });
    const timeKeeper = await TimeKeeper.start(store, systemTime);
    const services = { store, timeKeeper, checkpoints: new Checkpoints({ store, clock: timeKeeper.clock, signingKeys }) };
    // The first checkpoint hashes the tiles of all events, which is no part of retention.
    await services.checkpoints.create();
    const rows: string[][] = [];
    let longest = 0;
    for (const { what, table, settings } of parts)
      for (const run of [what, `${what}, none left`]) {
        const before = countRows(file, table);
        const { seconds, transactions, ...figures } = await measure(services, { ...retainEverything, ...settings });
        const deleted = before - countRows(file, table);
        if (run === what && deleted === 0) throw new Error(`retention has deleted no ${what}`);
        const worst = Math.max(figures.longest, figures.block);
        longest = Math.max(longest, worst);
        rows.push([
          run,
          deleted.toLocaleString('en'),
          seconds.toFixed(1),
          String(transactions),
          figures.longest.toFixed(0),
          figures.block.toFixed(0),
          `≤ ${limit}`,
          worst <= limit ? 'yes' : 'NO',
        ]);
      }
    await timeKeeper.stop();
    await store.close();
    const columns = [
      'part',
      'deleted',
      's',
      'transactions',
      'longest transaction, ms',
      'longest block of the event loop, ms',
      'goal',
      'holds',
    ];
    console.log(formatTable(columns, rows).join('\n'));
    return longest <= limit ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs retention once. */
async function measure({ store, ...services }: Services, settings: RetentionSettings): Promise<Figures> {
  const ends: number[] = [];
  // The first transaction of a run saves the time.
  const begun = Promise.withResolvers<void>();
  store.onTransactionEnd(({ milliseconds }) => {
    ends.push(milliseconds);
    begun.resolve();
  });
  await delay(200);
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  const began = performance.now();
  const job = schedulePruning({ store, ...services }, { ...settings, interval: 1 });
  await begun.promise;
  await job.stop();
  const seconds = (performance.now() - began) / 1_000;
  await delay(20);
  histogram.disable();
  return { seconds, transactions: ends.length, longest: Math.max(...ends), block: histogram.max / 1e6 };
}

/** Writes a file that was filled without synchronization to the disk, so that the first synchronization of the service does not. */
function flush(file: string): void {
  const descriptor = openSync(file, 'r+');
  fsyncSync(descriptor);
  closeSync(descriptor);
}

function countRows(file: string, table: string): number {
  const database = new Database(file, { readonly: true });
  const count = database.prepare<[], number>(`SELECT count(*) FROM "${table}"`).pluck().get() ?? 0;
  database.close();
  return count;
}

/** Adds a report of each load, and images that no device has. Makes all residencies of a device those of one module, one after another. */
function addReportsAndImages(file: string): void {
  const database = new Database(file);
  database.pragma('synchronous = OFF');
  database.exec(`UPDATE "HistoryEntry" SET "module" = 'tcp', "removedAt" = "installedAt" + 1, "removalCause" = 'replaced'`);
  const report = JSON.stringify({ steps: 'x'.repeat(500) });
  database.prepare('INSERT INTO "LoadReport" ("loadId", "body") SELECT "id", ? FROM "Load"').run(report);
  const addImage = database.prepare('INSERT INTO "Image" ("digest", "bytes", "createdAt") VALUES (?, ?, ?)');
  const addBuild = database.prepare(`INSERT INTO "Build" ("id", "module", "version", "language", "compiler", "sourceDigest", "imageDigest",
    "imageBytes", "interface", "createdAt", "envelope") VALUES (?, 'pager', ?, 'wat', '', '', ?, 0, '{}', ?, '{}')`);
  const createdAt = Date.now() - year;
  database.transaction(() => {
    for (let image = 0; image < images; image += 1) {
      const digest = `sha256:${String(image).padStart(64, '0')}`;
      addImage.run(digest, Buffer.alloc(10_000), createdAt);
      addBuild.run(`bld_${image}`, `9.${image}.0`, digest, createdAt + image);
    }
  })();
  database.close();
}
