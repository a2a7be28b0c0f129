// Devices that join a rollout after it was requested: they match what it selects, and were not there then, or not so.

import type { Records } from '../../store/records/records.ts';
import { audit, service } from '../context.ts';
import { selectMembers } from './membership.ts';
import { RolloutPlan, rolloutLimits } from './plan.ts';

/** Devices that join in one transaction. */
const joinAtOnce = 1_000;

/** Adds the devices to the last wave; those that another rollout has wait until it has ended. */
export async function joinDevices(records: Records, id: string, now: Date): Promise<void> {
  const record = await records.rollouts.find(id);
  if (record === null || record.version === null || record.state !== 'running') return;
  const { module, version } = record;
  const { selector, waves } = RolloutPlan.parse(record.plan);
  const members = (await selectMembers(records, { module, version }, selector, null)).filter(
    ({ currentVersion }) => currentVersion !== version,
  );
  const known = await records.rollouts.among(
    id,
    members.map((member) => member.id),
  );
  const fresh = members.filter((member) => !known.has(member.id));
  if (fresh.length === 0) return;
  const taken = new Set<string>();
  for (const other of await records.rollouts.openOthers(module, id))
    for (const deviceId of await records.rollouts.among(
      other,
      fresh.map((member) => member.id),
    ))
      taken.add(deviceId);
  const last = await records.rollouts.lastPosition(id);
  const joining = fresh.filter((member) => !taken.has(member.id)).slice(0, Math.min(joinAtOnce, rolloutLimits.devices - last));
  if (joining.length === 0) return;
  await records.rollouts.addDevices(
    id,
    joining.map((member, index) => ({
      deviceId: member.id,
      position: last + index + 1,
      wave: waves.length,
      version,
      state: 'waiting',
      reason: null,
      previousVersion: member.currentVersion,
    })),
  );
  await audit(records, service, now, [{ action: 'rollout.devices-joined', object: id, detail: { devices: joining.length } }]);
}
