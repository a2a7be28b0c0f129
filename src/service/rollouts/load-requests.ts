// Creates the loads of a rollout, within its limits.

import type { Span } from '../../tracing/tracer.ts';
import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { createLoads, devicesWithFullQueue, queueFullMessage } from '../loads/batches.ts';
import { type Requester, systemActor } from '../requester.ts';
import { readContents } from './load-contents.ts';
import { nextLoadTime } from './load-rate.ts';
import { RolloutRecords } from './repository.ts';
import { settleUnreportedLoads } from './settlement.ts';
import type { RolloutView } from './status.ts';

/** Loads created in one transaction. */
const batchSize = 250;

/**
 * Creates the next loads of a wave and returns the hosts that have new orders. A device for which no load can be created is set to `failed`.
 * @param span The span that the orders continue, if there is a tracer.
 */
export async function requestLoads(
  connection: Connection,
  view: RolloutView,
  { wave, count }: { readonly wave: number; readonly count: number },
  now: Date,
  span: Span | null = null,
): Promise<string[]> {
  const { record, plan, patchSet } = view;
  const { id, module, version, rollbackOf, requestedBy } = record;
  const waiting = await new RolloutRecords(connection).waitingDevices(id, wave, Math.min(count, batchSize));
  const contentOf = await readContents(connection, view, waiting);
  const ids = waiting.map(({ deviceId }) => deviceId);
  const full = new Set(await devicesWithFullQueue(connection, ids, { module, isPatchSet: patchSet !== null }, plan.terms));
  const found = waiting.map((device) => {
    const { deviceId, hostId } = device;
    return { device: { id: deviceId, hostId }, ...(full.has(deviceId) ? { reason: queueFullMessage(deviceId) } : contentOf(device)) };
  });
  const targets = found.flatMap((target) => ('content' in target ? [target] : []));
  const failed = found.flatMap((target) => ('reason' in target ? [{ deviceId: target.device.id, reason: target.reason }] : []));
  await new RolloutRecords(connection).setFailed(id, failed);
  if (targets.length > 0) {
    const isRollback = rollbackOf !== null;
    const facts = { rollout: id, wave, ...(version === null ? {} : { version }) };
    const requester: Requester = { actor: requestedBy, requestId: '', ...(span === null ? {} : { traceparent: span.traceparent }) };
    const batch = { targets, module, terms: plan.terms, isRollback, rolloutId: id, deadlineFromRelease: true, facts, requester };
    const { loads } = await createLoads(connection, batch, now, settleUnreportedLoads);
    await new RolloutRecords(connection).setLoading(id, loads);
    if (isRollback && patchSet === null) await new RolloutRecords(connection).setVersions(id, loads);
  }
  if (failed.length > 0) {
    const detail = { wave, devices: failed.length };
    await audit(connection, systemActor, now, [{ action: 'rollout.devices-failed', object: id, outcome: 'failed', detail }]);
  }
  await new RolloutRecords(connection).update(id, {
    nextLoadAt: nextLoadTime(waiting.length, plan.loadsPerMinute, record.nextLoadAt, now),
  });
  return targets.map(({ device }) => device.hostId);
}
