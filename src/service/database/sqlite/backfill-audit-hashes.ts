// Computes the hashes of audit events that were stored before the audit trail had a hash chain.

import type Database from 'better-sqlite3';
import type { Json } from '../../../proof/canonical-json.ts';
import type { Hash } from '../../../proof/merkle-tree.ts';
import { hashStoredEvent } from '../audit-chain.ts';

type Row = {
  readonly number: number;
  readonly at: number;
  readonly actor: string;
  readonly action: string;
  readonly object: string;
  readonly outcome: string;
  readonly requestId: string | null;
  readonly detail: string;
};

/** Events in memory at once. */
const batchSize = 1_000;

/** Sets the hash of every audit event, and the audit head. */
export function backfillAuditHashes(database: Database.Database): void {
  const next = database.prepare<[number, number], Row>(
    'SELECT number, at, actor, action, object, outcome, requestId, detail FROM AuditEvent WHERE number > ? ORDER BY number LIMIT ?',
  );
  const setHash = database.prepare('UPDATE AuditEvent SET previous = ?, hash = ? WHERE number = ?');
  let [last, previous, newestAt]: [number, Hash, number] = [0, new Uint8Array(), 0];
  for (let rows = next.all(last, batchSize); rows.length > 0; rows = next.all(last, batchSize)) {
    for (const row of rows) {
      const detail: Json = JSON.parse(row.detail);
      const hash = hashStoredEvent({ ...row, at: new Date(row.at), detail, previous });
      setHash.run(previous, hash, row.number);
      [last, previous, newestAt] = [row.number, hash, row.at];
    }
  }
  database.prepare('UPDATE AuditHead SET number = ?, hash = ?, at = ?').run(last, previous, newestAt);
}
