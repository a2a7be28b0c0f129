// What a rollout that is ended early would still have done: devices that wait are left alone, and loads that no host has been sent are cancelled.

import type { Connection } from '../database/connection.ts';
import { endLoads } from '../loads/endings.ts';
import type { Requester } from '../requester.ts';
import { RolloutRecords } from './repository.ts';
import { settleUnreportedLoads } from './settlement.ts';

/** Has it do no more. Answers how many devices waited. */
export async function cancelRemaining(
  connection: Connection,
  id: string,
  how: 'aborted' | 'rolled back',
  requester: Requester,
  now: Date,
): Promise<number> {
  const skipped = await new RolloutRecords(connection).skipWaiting(id, `the rollout was ${how} before its turn came`);
  const end = { outcome: 'cancelled', reason: `its rollout was ${how}`, completedAt: now };
  await endLoads(connection, await new RolloutRecords(connection).queuedLoads(id), end, requester, settleUnreportedLoads);
  return skipped;
}
