// A database that loses its write-ahead log while no service has it open: the next start detects it, without false positives.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TransactionsLost } from '../../../../src/service/database/sqlite/log-marker.ts';
import { Store } from '../../../../src/service/database/store.ts';
import { eventsIn } from '../events.ts';

let folder: string;
let file: string;
const processes: StoreProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-log-'));
  file = join(folder, 'patchbay.db');
});
afterEach(async () => {
  for (const one of processes.splice(0)) await one.kill();
  rmSync(folder, { recursive: true, force: true });
});

const log = () => `${file}-wal`;
const index = () => `${file}-shm`;
const marker = () => `${file}-marker`;

/** A script that opens the store and appends an event for each input line, or closes the store. */
const program = `
  import { createInterface } from 'node:readline';
  import { Store } from ${JSON.stringify(new URL('../../../../src/service/database/store.ts', import.meta.url).href)};
  import { inTransaction } from ${JSON.stringify(new URL('../../records.ts', import.meta.url).href)};
  import { event } from ${JSON.stringify(new URL('../events.ts', import.meta.url).href)};
  const store = await Store.open(process.argv[1], { isExclusive: true });
  console.log('open');
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'close') await store.close();
    else {
      const [name, bytes] = line.split(' ');
      await inTransaction(store, (records) => records.audit.append([{ ...event(name), detail: { bytes: 'x'.repeat(Number(bytes)) } }]));
    }
    console.log(line);
  }`;

/** A store in a separate process, which can be killed. */
class StoreProcess {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: Interface) {
    this.#process = child;
    this.#lines = lines[Symbol.asyncIterator]();
  }

  static async open(path = file): Promise<StoreProcess> {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program, path], { stdio: ['pipe', 'pipe', 'inherit'] });
    const opened = new StoreProcess(child, createInterface({ input: child.stdout }));
    processes.push(opened);
    expect(await opened.#next()).toBe('open');
    return opened;
  }

  /** Returns when the event is acknowledged. */
  async write(name: string, bytes = 0): Promise<void> {
    await this.#send(`${name} ${bytes}`);
  }

  async close(): Promise<void> {
    await this.#send('close');
    await this.kill();
  }

  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exited;
  }

  async #send(line: string): Promise<void> {
    this.#process.stdin?.write(`${line}\n`);
    expect(await this.#next()).toBe(line);
  }

  async #next(): Promise<string | undefined> {
    const { value } = await this.#lines.next();
    return value;
  }
}

/** Appends events and kills the store before a complete checkpoint. */
async function crashed(...names: readonly string[]): Promise<void> {
  const store = await StoreProcess.open();
  for (const name of names) await store.write(name);
  await store.kill();
}

/** Opens and closes a store, and returns its events. */
async function eventsAfterStart(path = file): Promise<string[]> {
  const store = await Store.open(path, { isExclusive: true });
  const events = (await eventsIn(store)).map(({ object }) => object);
  await store.close();
  return events;
}

/** Runs statements in a process other than the store's. */
function runElsewhere(sql: string, path = file): void {
  const database = new Database(path);
  database.exec(sql);
  database.close();
}

/** Copies a database with the backup API of SQLite, as `sqlite3 .backup` does. */
async function backUp(to: string): Promise<void> {
  const database = new Database(file, { readonly: true });
  await database.backup(to);
  database.close();
}

function overwrite(path: string, position: number, bytes: number): void {
  const content = readFileSync(path);
  content.fill(0, position, position + bytes);
  writeFileSync(path, content);
}

/** Returns the log of another database. */
async function foreignLog(): Promise<string> {
  const other = join(folder, 'other.db');
  const store = await StoreProcess.open(other);
  for (let count = 0; count < 20; count += 1) await store.write('foreign');
  await store.kill();
  return `${other}-wal`;
}

const losses: [string, () => void | Promise<void>, RegExp][] = [
  ['is deleted', () => unlinkSync(log()), /patchbay\.db-wal is missing or empty/],
  ['and its index are deleted', () => [log(), index()].map((path) => unlinkSync(path)), /patchbay\.db-wal is missing or empty/],
  ['is empty', () => truncateSync(log()), /patchbay\.db-wal is missing or empty/],
  ['lacks its last page', () => truncateSync(log(), statSync(log()).size - 100), /is truncated or damaged: \d+ of \d+ pages are intact/],
  ['is cut off after its header', () => truncateSync(log(), 32), /is truncated or damaged: 0 of \d+ pages are intact/],
  ['has a block of zeros in it', () => overwrite(log(), 32 + 24 + 4_096, 512), /is truncated or damaged/],
  ['has a damaged header', () => overwrite(log(), 0, 32), /is damaged at its beginning/],
  ['is that of another database', async () => copyFileSync(await foreignLog(), log()), /belongs to another database/],
];

test.each(losses)(
  'a log that %s after a crash is rejected at each start, without changes, until the loss is accepted',
  async (_what, lose, message) => {
    await crashed('a', 'b');
    await lose();
    const sizes = () => readdirSync(folder).map((name) => [name, statSync(join(folder, name)).size]);
    const before = sizes();
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const refused = eventsAfterStart();
      await expect(refused).rejects.toThrow(TransactionsLost);
      await expect(refused).rejects.toThrow(message);
    }
    expect(sizes()).toEqual(before);
    const notified: string[] = [];
    const store = await Store.open(file, { isExclusive: true, onLostTransactions: (loss) => notified.push(loss) });
    expect(notified).toEqual([expect.stringMatching(message)]);
    const events = await eventsIn(store);
    expect(['a', 'b'].slice(0, events.length)).toEqual(events.map(({ object }) => object));
    expect(events.length).toBeLessThan(2);
    await store.close();
    await expect(eventsAfterStart()).resolves.toHaveLength(events.length);
  },
);

test('a log of another database is renamed, not deleted, when the loss is accepted', async () => {
  await crashed('a');
  const foreign = await foreignLog();
  copyFileSync(foreign, log());
  const store = await Store.open(file, { isExclusive: true, onLostTransactions: () => {} });
  await store.close();
  const moved = readdirSync(folder).filter((name) => name.startsWith('patchbay.db-wal-rejected-'));
  expect(moved.map((name) => readFileSync(join(folder, name)))).toEqual([readFileSync(foreign)]);
});

test('a log that is restored is accepted with all transactions', async () => {
  await crashed('a', 'b');
  const elsewhere = join(folder, 'elsewhere');
  renameSync(log(), elsewhere);
  await expect(eventsAfterStart()).rejects.toThrow(TransactionsLost);
  renameSync(elsewhere, log());
  expect(await eventsAfterStart()).toEqual(['a', 'b']);
});

describe('is not a loss, and the store opens:', () => {
  test('a clean shutdown, which leaves neither a log nor a marker', async () => {
    const store = await StoreProcess.open();
    await store.write('a');
    await store.close();
    expect([existsSync(log()), existsSync(marker())]).toEqual([false, false]);
    expect(await eventsAfterStart()).toEqual(['a']);
  });

  test('repeated crashes that leave the log', async () => {
    for (const names of [['a'], ['b', 'c'], ['d']]) await crashed(...names);
    expect(await eventsAfterStart()).toEqual(['a', 'b', 'c', 'd']);
  });

  test('a crash of a store without writes, and without its log', async () => {
    await crashed();
    unlinkSync(log());
    expect(await eventsAfterStart()).toEqual([]);
  });

  test.each([
    ['copied completely', 'PRAGMA wal_checkpoint(PASSIVE)'],
    ['copied and emptied', 'PRAGMA wal_checkpoint(TRUNCATE)'],
  ])('a log that was %s by another program before the crash, and is deleted', async (_what, checkpoint) => {
    const store = await StoreProcess.open();
    await store.write('a');
    runElsewhere(checkpoint);
    await store.kill();
    unlinkSync(log());
    expect(await eventsAfterStart()).toEqual(['a']);
  });

  test('a database that another program has opened since the crash, which checkpoints and removes the log', async () => {
    await crashed('a', 'b');
    runElsewhere('SELECT COUNT(*) FROM "AuditEvent"');
    expect(existsSync(log())).toBe(false);
    expect(await eventsAfterStart()).toEqual(['a', 'b']);
  });

  test('a store that was closed while another program, which later removes the log, had the database open', async () => {
    const store = await StoreProcess.open();
    const other = new Database(file);
    other.exec('SELECT COUNT(*) FROM "AuditEvent"');
    await store.write('a');
    await store.close();
    expect(existsSync(log())).toBe(true);
    other.close();
    expect(await eventsAfterStart()).toEqual(['a']);
  });

  const backups: [string, (to: string) => Promise<void>][] = [
    ['that SQLite has made', backUp],
    ['that VACUUM INTO has made', async (to) => runElsewhere(`VACUUM INTO '${to}'`)],
  ];
  const restorations: [string, (from: string) => void][] = [
    ['copied over the database', (from) => copyFileSync(from, file)],
    ['moved over the database', (from) => renameSync(from, file)],
  ];
  describe.each(restorations)('a backup that is %s after a crash', (_how, restore) => {
    test.each(backups)('%s', async (_what, backUp) => {
      const store = await StoreProcess.open();
      await store.write('a');
      const backup = join(folder, 'backup');
      await backUp(backup);
      await store.write('b');
      await store.kill();
      for (const path of [log(), index()]) unlinkSync(path);
      restore(backup);
      expect(await eventsAfterStart()).toEqual(['a']);
    });

    test('with the same bytes as the database file, because it was copied while the service was down', async () => {
      const first = await StoreProcess.open();
      await first.write('a');
      await first.close();
      // The next start runs no checkpoint: the copy equals the database file of the crash byte by byte.
      await crashed();
      const backup = join(folder, 'backup');
      copyFileSync(file, backup);
      const { atime, mtime } = statSync(file);
      utimesSync(backup, atime, mtime);
      await crashed('b');
      for (const path of [log(), index()]) unlinkSync(path);
      expect(readFileSync(file).equals(readFileSync(backup))).toBe(true);
      restore(backup);
      utimesSync(file, atime, mtime);
      expect(await eventsAfterStart()).toEqual(['a']);
    });
  });

  test.each([
    ['with the marker', true],
    ['alone', false],
  ])('a database file that is copied elsewhere %s', async (_what, withMarker) => {
    await crashed('a');
    runElsewhere('PRAGMA wal_checkpoint(TRUNCATE)');
    await crashed('b');
    const elsewhere = join(folder, 'elsewhere');
    mkdirSync(elsewhere);
    for (const path of [file, ...(withMarker ? [marker()] : [])]) copyFileSync(path, path.replace(folder, elsewhere));
    expect(await eventsAfterStart(join(elsewhere, 'patchbay.db'))).toEqual(['a']);
  });

  test.each([
    ['half written', () => truncateSync(marker(), 100)],
    ['damaged', () => overwrite(marker(), 40, 8)],
    ['empty', () => truncateSync(marker())],
  ])('a marker that is %s', async (_what, damage) => {
    await crashed('a');
    damage();
    unlinkSync(log());
    expect(await eventsAfterStart()).toEqual([]);
  });
});

type Action =
  | { readonly kind: 'write'; readonly bytes: number }
  | { readonly kind: 'checkpoint'; readonly mode: string }
  | { readonly kind: 'restart' };
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('write' as const), bytes: fc.constantFrom(0, 100, 20_000) }) },
  // Longer than the log may become before a checkpoint.
  { weight: 1, arbitrary: fc.constant({ kind: 'write' as const, bytes: 40_000_000 }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('checkpoint' as const), mode: fc.constantFrom('PASSIVE', 'FULL', 'RESTART', 'TRUNCATE') }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
);

test('after any history of writes, checkpoints and restarts, a missing log is rejected exactly if events are lost, and an intact log never', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 6 }), async (actions) => {
      for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
      let store = await StoreProcess.open();
      let written = 0;
      for (const one of actions) {
        if (one.kind === 'checkpoint') runElsewhere(`PRAGMA wal_checkpoint(${one.mode})`);
        else if (one.kind === 'write') await store.write(`e${written++}`, one.bytes);
        else {
          await store.kill();
          store = await StoreProcess.open();
        }
      }
      await store.kill();
      // Reads the database file without its log, in a copy.
      const copy = join(folder, 'copy.db');
      copyFileSync(file, copy);
      const kept = (await eventsAfterStart(copy)).length;
      const elsewhere = join(folder, 'log');
      if (existsSync(log())) renameSync(log(), elsewhere);
      const outcome = await eventsAfterStart().then(
        (events) => events.length,
        (error: unknown) => (error instanceof TransactionsLost ? 'refused' : error),
      );
      expect(outcome).toBe(kept < written ? 'refused' : written);
      if (outcome !== 'refused') return;
      renameSync(elsewhere, log());
      expect(await eventsAfterStart()).toHaveLength(written);
    }),
    { numRuns: 8 },
  );
}, 180_000);
