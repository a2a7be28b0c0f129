// `npm run bench:audit`: measures the cost of the audit hash chain per event, and of checkpoints, proofs and verification.

import console from 'node:console';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { formatTable } from '../src/cli/terminal/table.ts';
import { toHashedEvent } from '../src/proof/audit-event.ts';
import { verifyExport } from '../src/proof/audit-export.ts';
import { formatHash } from '../src/proof/merkle-tree.ts';
import { AuditTrail } from '../src/service/audit/audit-trail.ts';
import { Checkpoints } from '../src/service/audit/checkpoints.ts';
import { ServiceClock } from '../src/service/clock/service-clock.ts';
import type { NewAuditEvent } from '../src/service/database/commit-effects.ts';
import { Store } from '../src/service/database/store.ts';
import { SigningKeys } from '../src/service/signing-keys/signing-keys.ts';
import { PrivateKeysInMemory } from '../test/private-keys-in-memory.ts';
import { inTransaction } from '../test/service/records.ts';

const events = 1_000_000;
/** Events per transaction, as for a load on 10,000 devices, or on one. */
const groups = [
  { size: 5_000, rounds: 20 },
  { size: 1, rounds: 500 },
];
const proofs = 200;
/** Events written so far. */
let made = 0;

const folder = mkdtempSync(join(tmpdir(), 'patchbay-bench-audit-'));
try {
  await measure();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function measure(): Promise<void> {
  const file = join(folder, 'patchbay.db');
  const store = await Store.open(file);
  const signingKeys = await SigningKeys.open(store, { privateKeys: new PrivateKeysInMemory(), isLost: false });
  const checkpoints = new Checkpoints({ store, signingKeys, clock: new ServiceClock(() => performance.now(), Date.now()) });
  const trail = new AuditTrail(store, checkpoints);

  const writing: string[][] = [];
  for (const { size, rounds } of groups) {
    const floor = await perSecond(size * rounds, () => writePlain(size, rounds));
    const chained = await perSecond(size * rounds, () => write(store, size, rounds));
    writing.push([`${size} in a transaction`, thousands(floor), thousands(chained), (chained / floor).toFixed(2)]);
  }
  console.log(formatTable(['events/s', 'without hashes, floor', 'chained', 'ratio'], writing).join('\n'));

  await write(store, 10_000, events / 10_000);
  const lap = stopwatch();
  const { checkpoint } = await checkpoints.create();
  const first = lap();
  await write(store, 10_000, 1);
  lap();
  const { checkpoint: newest } = await checkpoints.create();
  const second = lap();
  for (let call = 0; call < proofs; call += 1) await checkpoints.proveInclusion(newest, 1 + ((call * 7_919_003) % newest.size));
  const inclusion = lap() / proofs;
  for (let call = 0; call < proofs; call += 1) await checkpoints.proveConsistency(newest, 1 + ((call * 7_919_003) % newest.size));
  const consistency = lap() / proofs;
  const verification = await verifyExport(linesOf(trail), { checkpoints: [newest.note], keys: [signingKeys.active], isPartial: false });
  const verified = lap();
  if (verification.kind !== 'intact') throw new Error(verification.reason);
  const rows = [
    [`first checkpoint of ${thousands(checkpoint.size)} events`, `${(first / 1_000).toFixed(1)} s`],
    ['checkpoint of 10,000 more', `${second.toFixed(0)} ms`],
    ['inclusion proof', `${inclusion.toFixed(1)} ms`],
    ['consistency proof', `${consistency.toFixed(1)} ms`],
    [`export and verification of ${thousands(newest.size)} events`, `${(verified / 1_000).toFixed(1)} s`],
  ];
  console.log(`\n${formatTable(['', ''], rows).join('\n')}`);
  await store.close();
}

async function write(store: Store, size: number, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round += 1) await inTransaction(store, (records) => records.audit.append(some(size)));
}

/** Writes the same rows without hashes in raw transactions, as fast as SQLite can. */
function writePlain(size: number, rounds: number): void {
  const database = new Database(join(folder, 'plain.db'));
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.exec(`
    CREATE TABLE IF NOT EXISTS event (number INTEGER PRIMARY KEY, at, actor, action, object, outcome, requestId, detail);
    CREATE INDEX IF NOT EXISTS a ON event(at); CREATE INDEX IF NOT EXISTS b ON event(action, at); CREATE INDEX IF NOT EXISTS c ON event(object, at);
    CREATE INDEX IF NOT EXISTS d ON event(actor, at); CREATE INDEX IF NOT EXISTS e ON event(requestId, at)`);
  const insert = database.prepare('INSERT INTO event VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)');
  const insertAll = database.transaction(() => {
    for (const { at, actor, action, object, outcome, requestId, detail } of some(size))
      insert.run(at.getTime(), actor, action, object, outcome, requestId, JSON.stringify(detail));
  });
  for (let round = 0; round < rounds; round += 1) insertAll();
  database.close();
}

function some(count: number): NewAuditEvent[] {
  const at = new Date();
  return Array.from({ length: count }, () => {
    made += 1;
    const id = String(made).padStart(32, '0');
    const detail = {
      device: `dev_${id}`,
      module: 'tcp',
      version: '1.1.0',
      outcome: 'replaced',
      reason: null,
      previous: '1.0.0',
      interrupted: 0,
      retried: 0,
      failed: 0,
    };
    return {
      at,
      actor: 'hst_1',
      action: 'load.completed',
      object: `lod_${id}`,
      outcome: 'succeeded',
      requestId: `req_${made % 1_000}`,
      detail,
    };
  });
}

async function* linesOf(trail: AuditTrail): AsyncGenerator<string> {
  const { start, events: exported } = await trail.export(undefined);
  yield JSON.stringify(start);
  for await (const event of exported) {
    if ('unreadable' in event) throw new Error(event.unreadable);
    yield JSON.stringify({ ...toHashedEvent(event), hash: formatHash(event.hash) });
  }
}

async function perSecond(count: number, work: () => unknown): Promise<number> {
  const began = performance.now();
  await work();
  return (count * 1_000) / (performance.now() - began);
}

function stopwatch(): () => number {
  let last = performance.now();
  return () => {
    const [before, now] = [last, performance.now()];
    last = now;
    return now - before;
  };
}

function thousands(number: number): string {
  return Math.round(number).toLocaleString('en');
}
