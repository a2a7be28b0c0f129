// The effects of a transaction that listeners are notified of after the commit.

import type { AuditOutcome } from '../../proof/audit-event.ts';
import type { JsonObject } from '../../proof/canonical-json.ts';
import type { LoadReport } from '../../protocol/load-report.ts';
import type { AuditEventModel } from './generated/models.ts';

/** An audit event before it is numbered. */
export type NewAuditEvent = Omit<AuditEventModel, 'number' | 'previous' | 'hash' | 'outcome' | 'detail'> & {
  readonly outcome: AuditOutcome;
  readonly detail: JsonObject;
};

/** A load that has an outcome. */
type EndedLoad = { readonly outcome: string; readonly requestedAt: Date; readonly completedAt: Date };

/** Collected while the transaction runs; discarded if it is rolled back. */
export type CommitEffects = {
  readonly events: NewAuditEvent[];
  readonly loads: EndedLoad[];
  /** Reports of devices, including those that arrived after the load had ended. */
  readonly reports: LoadReport[];
  /** Hosts with new orders, or with capacity for more orders in flight. */
  readonly hosts: Set<string>;
  /** Hosts whose order streams must be closed. */
  readonly endedStreams: Set<string>;
  /** Callbacks that run after the commit. They must not throw. */
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
