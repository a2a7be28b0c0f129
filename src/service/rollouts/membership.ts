// Selects the devices of a rollout and their order.

import { createHash } from 'node:crypto';
import { satisfies } from 'semver';
import type { LabelSelector } from '../../protocol/label-selector.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { checkSelectionSize, type SelectedDevice, selectDevices, toLabelSelector } from '../devices/selection.ts';
import { type RolloutContent, versionsOn } from './content.ts';
import { type RolloutSelector, rolloutLimits } from './plan.ts';
import type { NewRolloutDevice } from './repository.ts';

/**
 * A selected device and its current version of the module as last reported; null if the module is not loaded. Of a patch set: its version, or null if
 * the device does not have all its builds.
 */
export type Member = SelectedDevice & { readonly currentVersion: string | null };

/**
 * Returns the selected devices without duplicates, in the order in which they load the content. Named devices keep their order. Other devices are
 * ordered by a hash of content and device: this mixes hosts and ages, so that the first waves are a sample, and is the same for the same content.
 * @param named The named devices; null if devices are selected by labels and versions alone.
 * @param scope The scope of the requester, which all devices match; null: any devices.
 * @throws {Problem} `invalid-value` if a device does not exist or too many are selected.
 */
export async function selectMembers(
  connection: Connection,
  content: RolloutContent,
  criteria: RolloutSelector,
  named: readonly string[] | null,
  scope: LabelSelector | null,
): Promise<Member[]> {
  const selected =
    named === null ? await selectByLabels(connection, criteria, scope) : await selectDevices(connection, { devices: named, scope });
  const versions = await versionsOn(
    connection,
    selected.map(({ id }) => id),
    content,
  );
  const members = selected.map(({ id, hostId }) => ({ id, hostId, currentVersion: versions.get(id) ?? null }));
  const matching = members.filter(({ currentVersion }) => isRunning(currentVersion, criteria.runningVersion));
  if (named !== null) return matching;
  return inSampleOrder(matching, content);
}

/** Returns devices in the order of a hash of content and device. */
export function inSampleOrder<Device extends { readonly id: string }>(
  devices: readonly Device[],
  { module, version }: Pick<RolloutContent, 'module' | 'version'>,
): Device[] {
  const hashes = new Map(devices.map(({ id }) => [id, createHash('sha256').update(`${module}@${version} ${id}`).digest('hex')]));
  return devices.toSorted((left, right) => ((hashes.get(left.id) ?? '') < (hashes.get(right.id) ?? '') ? -1 : 1));
}

async function selectByLabels(connection: Connection, criteria: RolloutSelector, scope: LabelSelector | null): Promise<SelectedDevice[]> {
  const found = await new DeviceRecords(connection).findMatching(
    [...toLabelSelector({ ...criteria, groupSelector: criteria.group?.selector }), ...(scope ?? [])],
    rolloutLimits.devices + 1,
  );
  return checkSelectionSize(found, selectorPointer(criteria), rolloutLimits.devices);
}

/** Returns the pointer of the member of a request that selects the devices. */
export function selectorPointer({ devices, labels, selector, group }: RolloutSelector): string {
  if (devices !== null) return '/devices';
  if (selector !== null) return '/selector';
  if (labels !== null) return '/labels';
  return group === null ? '/runningVersion' : '/group';
}

const isRunning = (current: string | null, range: string | null) =>
  range === null || (current !== null && satisfies(current, range, { includePrerelease: true }));

/** Returns the members that do not have the version. */
export function withoutVersion(members: readonly Member[], version: string): Member[] {
  return members.filter(({ currentVersion }) => currentVersion !== version);
}

/** Returns the row of a member that waits for its load. */
export function toWaitingDevice(
  { id, currentVersion }: Member,
  assignment: Pick<NewRolloutDevice, 'position' | 'wave' | 'version'>,
): NewRolloutDevice {
  return { deviceId: id, ...assignment, state: 'waiting', reason: null, previousVersion: currentVersion };
}
