// Converts outcomes of loads to outcomes of the audit trail.

import type { AuditOutcome } from '../../proof/audit-event.ts';

/** Returns the audit outcome. `cancelled` and `superseded` count as succeeded: an operator requested them. */
export function auditOutcomeOf(loadOutcome: string): AuditOutcome {
  if (loadOutcome.startsWith('refused-')) return 'refused';
  return loadOutcome === 'failed' || loadOutcome === 'expired' ? 'failed' : 'succeeded';
}
