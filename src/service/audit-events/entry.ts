// Appends entries to the audit trail, in the transaction of the change that they record.

import type { AuditOutcome } from '../../proof/audit-event.ts';
import type { NewAuditEvent } from '../database/commit-effects.ts';
import type { Connection } from '../database/connection.ts';
import type { Requester } from '../requester.ts';
import { AuditRecords } from './repository.ts';

/** An entry of the audit trail. */
export type AuditEntry = {
  readonly action: string;
  /** Identifier of the object, or its path if it has no identifier. */
  readonly object: string;
  /** Default: `succeeded`. */
  readonly outcome?: AuditOutcome;
  readonly detail: Record<string, string | number | boolean | null | readonly string[] | Readonly<Record<string, string>>>;
};

/** Appends entries to the audit trail in the current transaction. */
export async function audit(connection: Connection, requester: Requester, at: Date, entries: readonly AuditEntry[]): Promise<void> {
  await new AuditRecords(connection).append(entries.map((entry) => toNewAuditEvent(requester, at, entry)));
}

/** Returns an entry as a new row of the audit trail. */
export function toNewAuditEvent({ actor, requestId }: Requester, at: Date, entry: AuditEntry): NewAuditEvent {
  return { at, actor, requestId, outcome: 'succeeded', ...entry };
}
