// What a transaction does that others are told of once it is on disk.

import type { AuditOutcome } from '../../proof/audit-event.ts';
import type { JsonObject } from '../../proof/canonical-json.ts';
import type { LoadReport } from '../../protocol/load-report.ts';
import type { AuditEventModel } from './generated/models.ts';

/** An event of the audit trail, before the trail gives it its number. */
export type NewAuditEvent = Omit<AuditEventModel, 'number' | 'previous' | 'hash' | 'outcome' | 'detail'> & {
  readonly outcome: AuditOutcome;
  readonly detail: JsonObject;
};

/** A load that has got its outcome. */
type EndedLoad = { readonly outcome: string; readonly requestedAt: Date; readonly completedAt: Date };

/** Filled while the transaction runs; of one that is taken back nobody is told. */
export type CommitEffects = {
  readonly events: NewAuditEvent[];
  readonly loads: EndedLoad[];
  /** What devices have done, also where the load had ended before they reported. */
  readonly reports: LoadReport[];
  /** Hosts that have new orders, or room for more. */
  readonly hosts: Set<string>;
  /** Hosts whose streams of orders are to end. */
  readonly endedStreams: Set<string>;
  /** Run when the transaction is on disk. They must not throw. */
  readonly afterCommit: (() => void)[];
};

export const newCommitEffects = (): CommitEffects => ({
  events: [],
  loads: [],
  reports: [],
  hosts: new Set(),
  endedStreams: new Set(),
  afterCommit: [],
});
