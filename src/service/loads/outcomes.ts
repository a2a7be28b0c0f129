// What the outcome of a load means for the audit trail.

import type { AuditOutcome } from '../../proof/audit-event.ts';

/** A load that an operator cancels or replaces ends as they want it. */
export function auditOutcomeOf(loadOutcome: string): AuditOutcome {
  if (loadOutcome.startsWith('refused-')) return 'refused';
  return loadOutcome === 'failed' || loadOutcome === 'expired' ? 'failed' : 'succeeded';
}
