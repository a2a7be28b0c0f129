// Entries of the audit trail, as every domain writes them in the transaction of what they tell.

import type { AuditOutcome } from '../../proof/audit-event.ts';
import type { NewAuditEvent } from '../database/commit-effects.ts';
import type { Connection } from '../database/connection.ts';
import type { Requester } from '../requester.ts';
import { AuditRecords } from './repository.ts';

/** One line of the audit trail. */
export type AuditEntry = {
  readonly action: string;
  /** Identifier of the object, or its path where it has none. */
  readonly object: string;
  /** How it ended; `succeeded` where it is not said. */
  readonly outcome?: AuditOutcome;
  readonly detail: Record<string, string | number | boolean | null | readonly string[] | Readonly<Record<string, string>>>;
};

/** Writes what was done into the audit trail, in the transaction that does it. */
export async function audit(connection: Connection, requester: Requester, at: Date, entries: readonly AuditEntry[]): Promise<void> {
  await new AuditRecords(connection).append(entries.map((entry) => toNewAuditEvent(requester, at, entry)));
}

/** A line of the audit trail as it is kept. */
export function toNewAuditEvent({ actor, requestId }: Requester, at: Date, entry: AuditEntry): NewAuditEvent {
  return { at, actor, requestId, outcome: 'succeeded', ...entry };
}
