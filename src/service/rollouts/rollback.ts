// Rollback of a rollout: a second rollout that returns each device to its previous version. Devices are added to it as their loads end.

import { newIdentifier } from '../../protocol/identifiers.ts';
import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { findEarlierVersions } from '../loads/earlier-versions.ts';
import { noUnreachableTargets } from '../loads/unreachable-targets.ts';
import { BuildRecords } from '../modules/repository.ts';
import type { PatchSetRecord } from '../patch-sets/repository.ts';
import { type Requester, systemActor } from '../requester.ts';
import { cancelRemaining } from './cancellation.ts';
import { acceptsDevices, joinableForever } from './dynamic-membership.ts';
import { readReverts } from './load-contents.ts';
import type { RolloutPlan, Thresholds } from './plan.ts';
import type { NewRolloutDevice, PatchedDevice, RolloutRecord } from './repository.ts';
import { RolloutRecords } from './repository.ts';
import type { RolloutView } from './status.ts';

/** Devices added in one transaction. */
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

/** Cancels the remaining work of a rollout and creates the rollout that rolls its devices back. */
export async function beginRollback(
  connection: Connection,
  { record, plan, rolledBackBy }: RolloutView,
  reason: string,
  requester: Requester,
  now: Date,
): Promise<void> {
  const { id, module, patchSetId } = record;
  await cancelRemaining(connection, id, 'rolled back', requester, now);
  await new RolloutRecords(connection).update(id, { state: 'rolling-back', reason, endedAt: null, acceptsDevicesUntil: null });
  const rollbackId = rolledBackBy ?? newIdentifier('rollout');
  if (rolledBackBy === null) {
    const rollback = {
      id: rollbackId,
      module,
      version: null,
      patchSetId,
      plan: createRollbackPlan(plan, reason, requester.traceparent ?? plan.traceparent),
      state: 'running',
      rollbackOf: id,
      requestedAt: now,
      requestedBy: requester.actor,
      startedAt: now,
      acceptsDevicesUntil: joinableForever,
      scope: record.scope,
    };
    await new RolloutRecords(connection).create(rollback, [{ number: 1, state: 'loading', startedAt: now }]);
  }
  await audit(connection, requester, now, [{ action: 'rollout.rolling-back', object: id, detail: { rollback: rollbackId, reason } }]);
}

/** The next step of a rollback, and the rollout that performs it. */
export type RollbackStep = { readonly rollback: RolloutRecord } & (
  | { readonly kind: 'add-devices'; readonly devices: readonly PatchedDevice[] }
  | { readonly kind: 'close-rollback' | 'end-rollback' }
);

/** Returns the next step of a rollback; null while it waits for loads. */
export async function nextRollbackStep(
  connection: Connection,
  { record, deviceCounts }: RolloutView,
  now: Date,
): Promise<RollbackStep | null> {
  const rollback = await new RolloutRecords(connection).findRollbackOf(record.id);
  if (rollback === null) throw new Error(`rollout ${record.id} is in state rolling-back, but its rollback does not exist`);
  const devices = await new RolloutRecords(connection).loadedDevicesNotIn(record.id, rollback.id, batchSize);
  if (devices.length > 0) return { kind: 'add-devices', devices, rollback };
  if (deviceCounts.loading > 0) return null;
  if (rollback.endedAt !== null) return { kind: 'end-rollback', rollback };
  return acceptsDevices(rollback, now) ? { kind: 'close-rollback', rollback } : null;
}

export async function applyRollbackStep(connection: Connection, view: RolloutView, step: RollbackStep, now: Date): Promise<void> {
  const { record } = view;
  const { rollback } = step;
  switch (step.kind) {
    case 'add-devices':
      await addDevices(connection, view, rollback, step.devices);
      if (rollback.endedAt !== null) await reopenRollback(connection, rollback);
      return;
    case 'close-rollback':
      await new RolloutRecords(connection).update(rollback.id, { acceptsDevicesUntil: now });
      return;
    case 'end-rollback':
      await new RolloutRecords(connection).update(record.id, { state: 'rolled-back', endedAt: now });
      await audit(connection, systemActor, now, [{ action: 'rollout.rolled-back', object: record.id, detail: { rollback: rollback.id } }]);
  }
}

async function addDevices(
  connection: Connection,
  { record, patchSet }: RolloutView,
  rollback: RolloutRecord,
  devices: readonly PatchedDevice[],
): Promise<void> {
  const last = await new RolloutRecords(connection).lastPosition(rollback.id);
  const resultOf = patchSet === null ? await returnToBuilds(connection, record, devices) : await revertSet(connection, patchSet, devices);
  const decommissioned = await new DeviceRecords(connection).filterDecommissioned(devices.map(({ deviceId }) => deviceId));
  const left = { version: '', previousVersion: null, state: 'skipped', reason: 'the device is decommissioned' };
  const added = devices.map((device, index): NewRolloutDevice => {
    const { deviceId } = device;
    return { deviceId, position: last + index + 1, wave: 1, ...(decommissioned.has(deviceId) ? left : resultOf(device)) };
  });
  await new RolloutRecords(connection).addDevices(rollback.id, added);
}

/** What a rollback does with a device. */
type RollbackOfDevice = Pick<NewRolloutDevice, 'version' | 'previousVersion' | 'state' | 'reason'>;

async function returnToBuilds(
  connection: Connection,
  { module, version }: RolloutRecord,
  devices: readonly PatchedDevice[],
): Promise<(device: PatchedDevice) => RollbackOfDevice> {
  const ids = devices.map(({ deviceId }) => deviceId);
  const current = await new DeviceRecords(connection).versionsOf(ids, module);
  const previous = [...new Set(devices.flatMap(({ previousVersion }) => previousVersion ?? []))];
  const builds = await new BuildRecords(connection).findMany(module, previous);
  const yanked = new Set(builds.flatMap(({ version: number, yankReason }) => (yankReason === null ? [] : [number])));
  const earlierOf = yanked.size === 0 ? null : await findEarlierVersions(connection, ids, module);
  return ({ deviceId, previousVersion }) => {
    const currentVersion = current.get(deviceId) ?? null;
    const device = { previousVersion: currentVersion };
    if (currentVersion !== version) {
      const actual = currentVersion === null ? `${module} is no longer loaded` : `the device now runs ${module}@${currentVersion}`;
      return { ...device, version: currentVersion ?? '', state: 'skipped', reason: actual };
    }
    if (previousVersion === null)
      return { ...device, version: '', state: 'failed', reason: `no previous version: ${module} was not loaded before the rollout` };
    if (previousVersion === version)
      return { ...device, version: previousVersion, state: 'skipped', reason: `the device ran ${module}@${version} before the rollout` };
    if (earlierOf === null || !yanked.has(previousVersion)) return { ...device, version: previousVersion, state: 'waiting', reason: null };
    const earlier = earlierOf(deviceId);
    return 'reason' in earlier
      ? { ...device, version: previousVersion, state: 'failed', reason: earlier.reason }
      : { ...device, version: earlier.build.version, state: 'waiting', reason: null };
  };
}

/** Devices on which the patch set cannot be reverted as a whole fail, unless they have none of its builds. */
async function revertSet(
  connection: Connection,
  patchSet: PatchSetRecord,
  devices: readonly PatchedDevice[],
): Promise<(device: PatchedDevice) => RollbackOfDevice> {
  const { name, version, members } = patchSet;
  const revertOf = await readReverts(connection, patchSet, devices);
  const ids = devices.map(({ deviceId }) => deviceId);
  const remaining = new Set<string>();
  for (const member of members)
    for (const [id, current] of await new DeviceRecords(connection).versionsOf(ids, member.module))
      if (current === member.version) remaining.add(id);
  return (device) => {
    const result = { version: '', previousVersion: version };
    if (device.previousVersion === version)
      return { ...result, version, state: 'skipped', reason: `the device had ${name}@${version} before the rollout` };
    const revert = revertOf(device);
    if ('content' in revert) return { ...result, state: 'waiting', reason: null };
    const hasNone = !remaining.has(device.deviceId);
    return hasNone
      ? { ...result, previousVersion: null, state: 'skipped', reason: `the device no longer has a build of ${name}@${version}` }
      : { ...result, state: 'failed', reason: revert.reason };
  };
}

async function reopenRollback(connection: Connection, { id }: RolloutRecord): Promise<void> {
  await new RolloutRecords(connection).updateWave(id, 1, { state: 'loading', endedAt: null, soakUntil: null });
  await new RolloutRecords(connection).update(id, { state: 'running', endedAt: null, acceptsDevicesUntil: joinableForever });
}

/**
 * Returns the plan of a rollback: one wave without thresholds, because the current version is known to be bad.
 * @param traceparent The span of the request for the rollback, or of that for the rollout.
 */
function createRollbackPlan(
  { name, terms, devicesInFlight, loadsPerMinute, rollbackDeadlineSeconds }: RolloutPlan,
  reason: string,
  traceparent: string | undefined,
): RolloutPlan {
  return {
    name,
    selector: { devices: null, labels: null, selector: null, group: null, runningVersion: null },
    waves: [{ size: { kind: 'up-to-percent', percent: 100 }, soakSeconds: 0, approval: false, thresholds: noThresholds }],
    terms: {
      ...terms,
      versionPolicy: 'downgrade',
      downgradeReason: reason.slice(0, 1_000).toWellFormed(),
      similarityPolicy: 'warn',
      linkPolicy: 'warn',
      deadlineSeconds: rollbackDeadlineSeconds,
      supersede: true,
    },
    devicesInFlight,
    loadsPerMinute,
    onFailure: 'continue',
    rollbackDeadlineSeconds,
    startAt: null,
    window: null,
    unreachable: noUnreachableTargets,
    onConflict: 'queue',
    ...(traceparent === undefined ? {} : { traceparent }),
  };
}
