// Devices that join a rollout after it was requested: they match what it selects, and were not there then, or not so.

import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { systemActor } from '../requester.ts';
import { type Member, selectMembers, toWaitingDevice, withoutVersion } from './membership.ts';
import { RolloutPlan, rolloutLimits } from './plan.ts';
import type { RolloutRecord } from './repository.ts';
import { RolloutRecords } from './repository.ts';

/** Longer than any rollout: devices join until it is said that no more do. */
export const joinableForever = new Date('9999-12-31T00:00:00Z');

/** Devices that join in one transaction. */
const batchSize = 1_000;

/** Whether devices may join it now. */
export function acceptsDevices({ acceptsDevicesUntil }: Pick<RolloutRecord, 'acceptsDevicesUntil'>, now: Date): boolean {
  return acceptsDevicesUntil !== null && acceptsDevicesUntil > now;
}

/** The devices that are to join a rollout; those that another rollout has wait until it has ended. */
export async function findJoiningDevices(connection: Connection, id: string): Promise<Member[]> {
  const record = await new RolloutRecords(connection).find(id);
  if (record === null || record.version === null || record.state !== 'running') return [];
  const { module, version } = record;
  const { selector } = RolloutPlan.parse(record.plan);
  const members = withoutVersion(await selectMembers(connection, { module, version }, selector, null), version);
  const known = await new RolloutRecords(connection).findMembers(
    id,
    members.map((member) => member.id),
  );
  const fresh = members.filter((member) => !known.has(member.id));
  const others = await new RolloutRecords(connection).findDevicesInOtherRollouts(
    record,
    fresh.map((member) => member.id),
  );
  return fresh.filter((member) => [...others.values()].every((taken) => !taken.has(member.id)));
}

/** Adds the devices to the last wave. */
export async function addJoiningDevices(connection: Connection, id: string, now: Date): Promise<void> {
  const record = await new RolloutRecords(connection).find(id);
  const found = await findJoiningDevices(connection, id);
  if (record === null || record.version === null || found.length === 0) return;
  const { version } = record;
  const { waves } = RolloutPlan.parse(record.plan);
  const last = await new RolloutRecords(connection).lastPosition(id);
  const joining = found.slice(0, Math.min(batchSize, rolloutLimits.devices - last));
  if (joining.length === 0) return;
  await new RolloutRecords(connection).addDevices(
    id,
    joining.map((member, index) => toWaitingDevice(member, { version, position: last + index + 1, wave: waves.length })),
  );
  await audit(connection, systemActor, now, [{ action: 'rollout.devices-joined', object: id, detail: { devices: joining.length } }]);
}
