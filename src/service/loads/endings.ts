// Ends loads without a report from their devices.

import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { HeldOrderRecords } from '../orders/held-orders.ts';
import { OrderRecords } from '../orders/repository.ts';
import type { Requester } from '../requester.ts';
import { auditOutcomeOf } from './outcomes.ts';
import type { EndedLoad, LoadEnd } from './repository.ts';
import { LoadRecords } from './repository.ts';

/** Called in the transaction that ends loads without a report, with the loads that belong to rollouts. */
export type OnLoadsEnded = (connection: Connection, loadIds: readonly string[], end: LoadEnd) => Promise<void>;

/**
 * Ends loads without a report from their devices, and stops the dispatch of their orders.
 * @returns The number of ended loads. A load with a damaged row does not end.
 */
export async function endLoads(
  connection: Connection,
  loads: readonly { readonly id: string; readonly deviceId: string }[],
  end: LoadEnd,
  requester: Requester,
  onEnded: OnLoadsEnded,
): Promise<number> {
  const ended = await new LoadRecords(connection).end(
    loads.map(({ id }) => id),
    end,
  );
  const idsOf = (endedLoads: readonly EndedLoad[]) => endedLoads.map(({ id }) => id);
  const ofRollouts = ended.filter(({ rolloutId }) => rolloutId !== null);
  if (ofRollouts.length > 0) await onEnded(connection, idsOf(ofRollouts), end);
  const [sent, unsent] = [
    ended.filter(({ dispatchedAt }) => dispatchedAt !== null),
    ended.filter(({ dispatchedAt }) => dispatchedAt === null),
  ];
  await new HeldOrderRecords(connection).remove(idsOf(ended.filter(({ heldSince }) => heldSince !== null)));
  await new OrderRecords(connection).cancel({ sent: idsOf(sent), unsent: idsOf(unsent) }, end.completedAt);
  const { outcome, reason } = end;
  const hasEnded = new Set(idsOf(ended));
  await audit(
    connection,
    requester,
    end.completedAt,
    loads
      .filter(({ id }) => hasEnded.has(id))
      .map(({ id, deviceId }) => ({
        action: 'load.completed',
        object: id,
        outcome: auditOutcomeOf(outcome),
        detail: { device: deviceId, outcome, reason },
      })),
  );
  return ended.length;
}
