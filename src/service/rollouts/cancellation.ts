// Cancels the remaining work of a rollout that ends early: waiting devices are skipped, and loads not yet sent to a host are cancelled.

import type { Connection } from '../database/connection.ts';
import { endLoads } from '../loads/endings.ts';
import type { Requester } from '../requester.ts';
import { RolloutRecords } from './repository.ts';
import { settleUnreportedLoads } from './settlement.ts';

/** Returns the number of skipped devices. */
export async function cancelRemaining(
  connection: Connection,
  id: string,
  how: 'aborted' | 'rolled back',
  requester: Requester,
  now: Date,
): Promise<number> {
  const skipped = await new RolloutRecords(connection).skipWaiting(id, `the rollout was ${how} before this device was loaded`);
  const end = { outcome: 'cancelled', reason: `the rollout was ${how}`, completedAt: now };
  await endLoads(connection, await new RolloutRecords(connection).queuedLoads(id), end, requester, settleUnreportedLoads);
  return skipped;
}
