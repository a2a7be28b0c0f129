// Creates the loads of a rollout, within its limits.

import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { createLoads, devicesWithFullQueue, queueFullMessage } from '../loads/batches.ts';
import type { BuildRecord } from '../modules/repository.ts';
import { BuildRecords } from '../modules/repository.ts';
import { type Requester, systemActor } from '../requester.ts';
import { nextLoadTime } from './load-rate.ts';
import { RolloutRecords } from './repository.ts';
import { settleUnreportedLoads } from './settlement.ts';
import type { RolloutView } from './status.ts';

/** Loads created in one transaction. */
const batchSize = 250;

/** Creates the next loads of a wave and returns the hosts that have new orders. A device for which no load can be created is set to `failed`. */
export async function requestLoads(
  connection: Connection,
  { record, plan }: RolloutView,
  { wave, count }: { readonly wave: number; readonly count: number },
  now: Date,
): Promise<string[]> {
  const { id, module, version, rollbackOf, requestedBy } = record;
  const waiting = await new RolloutRecords(connection).waitingDevices(id, wave, Math.min(count, batchSize));
  const builds = new Map<string, BuildRecord>();
  for (const build of await new BuildRecords(connection).findMany(module, [...new Set(waiting.map((device) => device.version))]))
    builds.set(build.version, build);
  const full = new Set(
    await devicesWithFullQueue(
      connection,
      waiting.map(({ deviceId }) => deviceId),
      module,
      plan.terms,
    ),
  );
  const targets = waiting.flatMap(({ deviceId, hostId, version: wanted }) => {
    const build = builds.get(wanted);
    if (full.has(deviceId) || build === undefined || build.imagePrunedAt !== null) return [];
    return [{ device: { id: deviceId, hostId }, content: { kind: 'build' as const, build } }];
  });
  const isTarget = new Set(targets.map(({ device }) => device.id));
  const failed = waiting.filter(({ deviceId }) => !isTarget.has(deviceId));
  const pruned = (wanted: string) => `the image of ${module}@${wanted} was pruned: push the same source again`;
  await new RolloutRecords(connection).setFailed(
    id,
    failed.map(({ deviceId, version: wanted }) => ({ deviceId, reason: full.has(deviceId) ? queueFullMessage(deviceId) : pruned(wanted) })),
  );
  if (targets.length > 0) {
    const isRollback = rollbackOf !== null;
    const facts = { rollout: id, wave, ...(version === null ? {} : { version }) };
    const requester: Requester = { actor: requestedBy, requestId: '' };
    const batch = { targets, module, terms: plan.terms, isRollback, rolloutId: id, facts, requester };
    const { loads } = await createLoads(connection, batch, now, settleUnreportedLoads);
    await new RolloutRecords(connection).setLoading(id, loads);
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
