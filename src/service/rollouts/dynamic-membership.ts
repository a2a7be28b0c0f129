// Devices that join a dynamic rollout after its creation because they match its selector now.

import { parseScope } from '../../protocol/label-selector.ts';
import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { systemActor } from '../requester.ts';
import { contentOf, readPatchSet } from './content.ts';
import { type Member, selectMembers, toWaitingDevice, withoutVersion } from './membership.ts';
import { RolloutPlan, rolloutLimits } from './plan.ts';
import type { RolloutRecord } from './repository.ts';
import { RolloutRecords } from './repository.ts';

/** Later than the end of any rollout: devices join until an operator closes the rollout. */
export const joinableForever = new Date('9999-12-31T00:00:00Z');

/** Devices added in one transaction. */
const batchSize = 1_000;

/** Returns whether devices may join the rollout now. */
export function acceptsDevices({ acceptsDevicesUntil }: Pick<RolloutRecord, 'acceptsDevicesUntil'>, now: Date): boolean {
  return acceptsDevicesUntil !== null && acceptsDevicesUntil > now;
}

/** Returns the devices that can join a rollout now. Devices of another open rollout of the module wait until that rollout ends. */
export async function findJoiningDevices(connection: Connection, id: string): Promise<Member[]> {
  const record = await new RolloutRecords(connection).find(id);
  if (record === null || record.rollbackOf !== null || record.state !== 'running') return [];
  const content = contentOf(record, await readPatchSet(connection, record));
  if (content === null) return [];
  const { selector } = RolloutPlan.parse(record.plan);
  const scope = record.scope === null ? null : parseScope(record.scope);
  const members = withoutVersion(await selectMembers(connection, content, selector, null, scope), content.version);
  const known = await new RolloutRecords(connection).findMembers(
    id,
    members.map((member) => member.id),
  );
  const joining = members.filter((member) => !known.has(member.id));
  const others = await new RolloutRecords(connection).findDevicesInOtherRollouts(
    record,
    joining.map((member) => member.id),
  );
  return joining.filter((member) => [...others.values()].every((devices) => !devices.has(member.id)));
}

/** Adds devices that match the selector now to the last wave. */
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
