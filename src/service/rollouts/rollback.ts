// The way back: the devices that have got a rollout's build go back to what they had, by a rollout of its own, which is fed as their loads end.

import { newIdentifier } from '../../protocol/identifiers.ts';
import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { type Requester, systemActor } from '../requester.ts';
import { cancelRemaining } from './cancellation.ts';
import { acceptsDevices, joinableForever } from './dynamic-membership.ts';
import type { RolloutPlan, Thresholds } from './plan.ts';
import type { NewRolloutDevice, PatchedDevice, RolloutRecord } from './repository.ts';
import { RolloutRecords } from './repository.ts';
import type { RolloutView } from './status.ts';

/** Devices that are taken over in one transaction. */
const batchSize = 500;

const noThresholds: Thresholds = {
  failedLoadsPercent: null,
  interruptedAccesses: null,
  failedCallsPercent: null,
  abiViolations: null,
  latencyIncreasePercent: null,
  minimumCalls: 0,
  requireCalls: false,
};

/** Ends what the rollout would still do, and begins to take its devices back. */
export async function beginRollback(
  connection: Connection,
  { record, plan, rolledBackBy }: RolloutView,
  reason: string,
  requester: Requester,
  now: Date,
): Promise<void> {
  const { id, module } = record;
  await cancelRemaining(connection, id, 'rolled back', requester, now);
  await new RolloutRecords(connection).update(id, { state: 'rolling-back', reason, endedAt: null, acceptsDevicesUntil: null });
  const back = rolledBackBy ?? newIdentifier('rollout');
  if (rolledBackBy === null) {
    const rollback = {
      id: back,
      module,
      version: null,
      plan: createRollbackPlan(plan, reason),
      state: 'running',
      rollbackOf: id,
      requestedAt: now,
      requestedBy: requester.actor,
      startedAt: now,
      acceptsDevicesUntil: joinableForever,
    };
    await new RolloutRecords(connection).create(rollback, [{ number: 1, state: 'loading', startedAt: now }]);
  }
  await audit(connection, requester, now, [{ action: 'rollout.rolling-back', object: id, detail: { rollback: back, reason } }]);
}

/** What is next of a rollback: devices are taken over, no more come, or it is over; and the rollout that does it. */
export type RollbackStep = { readonly back: RolloutRecord } & (
  | { readonly kind: 'take-over'; readonly devices: readonly PatchedDevice[] }
  | { readonly kind: 'close-to-devices' | 'end-rollback' }
);

/** What is next of a rollout that is being rolled back; null where that waits for loads. */
export async function nextRollbackStep(
  connection: Connection,
  { record, deviceCounts }: RolloutView,
  now: Date,
): Promise<RollbackStep | null> {
  const back = await new RolloutRecords(connection).findRollbackOf(record.id);
  if (back === null) throw new Error(`the rollout ${record.id} is being rolled back, and there is no rollout that does it`);
  const devices = await new RolloutRecords(connection).loadedDevicesNotIn(record.id, back.id, batchSize);
  if (devices.length > 0) return { kind: 'take-over', devices, back };
  if (deviceCounts.loading > 0) return null;
  if (back.endedAt !== null) return { kind: 'end-rollback', back };
  return acceptsDevices(back, now) ? { kind: 'close-to-devices', back } : null;
}

/** Has the next devices go back that have got the build; ends when all have, and none can get it any more. */
export async function applyRollbackStep(connection: Connection, { record }: RolloutView, next: RollbackStep, now: Date): Promise<void> {
  const { back } = next;
  switch (next.kind) {
    case 'take-over':
      await addDevices(connection, record, back, next.devices);
      if (back.endedAt !== null) await reopenRollback(connection, back);
      return;
    case 'close-to-devices':
      await new RolloutRecords(connection).update(back.id, { acceptsDevicesUntil: now });
      return;
    case 'end-rollback':
      await new RolloutRecords(connection).update(record.id, { state: 'rolled-back', endedAt: now });
      await audit(connection, systemActor, now, [{ action: 'rollout.rolled-back', object: record.id, detail: { rollback: back.id } }]);
  }
}

async function addDevices(
  connection: Connection,
  { module, version }: RolloutRecord,
  back: RolloutRecord,
  devices: readonly PatchedDevice[],
) {
  const last = await new RolloutRecords(connection).lastPosition(back.id);
  const current = await new DeviceRecords(connection).versionsOf(
    devices.map(({ deviceId }) => deviceId),
    module,
  );
  const added = devices.map(({ deviceId, previousVersion }, index): NewRolloutDevice => {
    const now = current.get(deviceId) ?? null;
    const place = { deviceId, position: last + index + 1, wave: 1, previousVersion: now };
    if (now !== version) return { ...place, version: now ?? '', state: 'skipped', reason: `it has ${module}@${now} by now` };
    if (previousVersion === null)
      return { ...place, version: '', state: 'failed', reason: `it had no ${module} before: there is nothing to go back to` };
    if (previousVersion === version)
      return { ...place, version: previousVersion, state: 'skipped', reason: `it had ${module}@${version} before` };
    return { ...place, version: previousVersion, state: 'waiting', reason: null };
  });
  await new RolloutRecords(connection).addDevices(back.id, added);
}

async function reopenRollback(connection: Connection, { id }: RolloutRecord): Promise<void> {
  await new RolloutRecords(connection).updateWave(id, 1, { state: 'loading', endedAt: null, soakUntil: null });
  await new RolloutRecords(connection).update(id, { state: 'running', endedAt: null, acceptsDevicesUntil: joinableForever });
}

/** All at once, whatever comes of it: what is there is known to be bad. */
function createRollbackPlan(
  { name, terms, devicesInFlight, loadsPerMinute, rollbackDeadlineSeconds }: RolloutPlan,
  reason: string,
): RolloutPlan {
  return {
    name,
    selector: { devices: null, labels: null, runningVersion: null },
    waves: [{ size: { kind: 'up-to-percent', percent: 100 }, soakSeconds: 0, approval: false, thresholds: noThresholds }],
    terms: {
      ...terms,
      versionPolicy: 'downgrade',
      downgradeReason: reason.slice(0, 1_000),
      similarityPolicy: 'warn',
      deadlineSeconds: rollbackDeadlineSeconds,
      supersede: true,
    },
    devicesInFlight,
    loadsPerMinute,
    onFailure: 'continue',
    rollbackDeadlineSeconds,
    startAt: null,
    window: null,
    onConflict: 'queue',
  };
}
