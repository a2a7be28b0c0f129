// Loads that end without their devices.

import type { LoadEnd } from '../store/records/loads.ts';
import type { Records } from '../store/records/records.ts';
import { audit, type Requester } from './context.ts';
import { auditOutcomeOf } from './load-outcomes.ts';
import { settleUnreported } from './rollouts/settlement.ts';

/** Ends loads that no device reports on: their orders are not sent any more. */
export async function endLoads(
  records: Records,
  loads: readonly { readonly id: string; readonly deviceId: string }[],
  end: LoadEnd,
  requester: Requester,
): Promise<void> {
  const ids = loads.map(({ id }) => id);
  await settleUnreported(records, await records.loads.end(ids, end), end);
  await records.orders.withdraw(ids, end.completedAt);
  const { outcome, reason } = end;
  await audit(
    records,
    requester,
    end.completedAt,
    loads.map(({ id, deviceId }) => ({
      action: 'load.completed',
      object: id,
      outcome: auditOutcomeOf(outcome),
      detail: { device: deviceId, outcome, reason },
    })),
  );
}
