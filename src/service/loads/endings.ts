// Loads that end without their devices.

import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { OrderRecords } from '../orders/repository.ts';
import type { Requester } from '../requester.ts';
import { auditOutcomeOf } from './outcomes.ts';
import type { EndedLoad, LoadEnd } from './repository.ts';
import { LoadRecords } from './repository.ts';

/** Called in the transaction in which loads end without a report of their devices, with those that belong to a rollout. */
export type OnLoadsEnded = (connection: Connection, loadIds: readonly string[], end: LoadEnd) => Promise<void>;

/**
 * Ends loads that no device reports on: their orders are not sent any more.
 * @returns How many have ended: those whose rows are damaged do not.
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
  const idsOf = (some: readonly EndedLoad[]) => some.map(({ id }) => id);
  const ofRollouts = ended.filter(({ rolloutId }) => rolloutId !== null);
  if (ofRollouts.length > 0) await onEnded(connection, idsOf(ofRollouts), end);
  const [sent, unsent] = [
    ended.filter(({ dispatchedAt }) => dispatchedAt !== null),
    ended.filter(({ dispatchedAt }) => dispatchedAt === null),
  ];
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
