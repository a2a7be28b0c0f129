// Which devices a rollout takes, and in which order.

import { createHash } from 'node:crypto';
import { satisfies } from 'semver';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { checkSelectionSize, type SelectedDevice, selectDevices } from '../devices/selection.ts';
import { type RolloutSelector, rolloutLimits } from './plan.ts';
import type { NewRolloutDevice } from './repository.ts';

/** A device that is selected, and the version of the module that it has, as far as the service knows; null where it has none. */
export type Member = SelectedDevice & { readonly currentVersion: string | null };

/**
 * The selected devices, once each, in the order in which they get the build: as they are named; else in one that mixes hosts and ages, so that the
 * first waves are a sample of all, and that is the same for the same build whenever it is asked for.
 * @param named The devices that were named; null where they are selected by their labels and versions alone.
 * @throws {Problem} `invalid-value` where some are not there, or too many are selected.
 */
export async function selectMembers(
  connection: Connection,
  { module, version }: { readonly module: string; readonly version: string },
  { labels, runningVersion }: RolloutSelector,
  named: readonly string[] | null,
): Promise<Member[]> {
  const selected = named === null ? await selectByLabels(connection, labels ?? {}) : await selectDevices(connection, { devices: named });
  const versions = await new DeviceRecords(connection).versionsOf(
    selected.map(({ id }) => id),
    module,
  );
  const members = selected.map(({ id, hostId }) => ({ id, hostId, currentVersion: versions.get(id) ?? null }));
  const matching = members.filter(({ currentVersion }) => isRunning(currentVersion, runningVersion));
  if (named !== null) return matching;
  const places = new Map(matching.map(({ id }) => [id, createHash('sha256').update(`${module}@${version} ${id}`).digest('hex')]));
  return matching.toSorted((left, right) => ((places.get(left.id) ?? '') < (places.get(right.id) ?? '') ? -1 : 1));
}

async function selectByLabels(connection: Connection, labels: Readonly<Record<string, string>>): Promise<SelectedDevice[]> {
  const pointer = Object.keys(labels).length === 0 ? '/runningVersion' : '/labels';
  const found = await new DeviceRecords(connection).findByLabels(labels, rolloutLimits.devices + 1);
  return checkSelectionSize(found, pointer, rolloutLimits.devices);
}

const isRunning = (current: string | null, range: string | null) =>
  range === null || (current !== null && satisfies(current, range, { includePrerelease: true }));

/** Those that have another version, or none. */
export function withoutVersion(members: readonly Member[], version: string): Member[] {
  return members.filter(({ currentVersion }) => currentVersion !== version);
}

/** A member as a device of a rollout whose turn has not come. */
export function toWaitingDevice(
  { id, currentVersion }: Member,
  place: Pick<NewRolloutDevice, 'position' | 'wave' | 'version'>,
): NewRolloutDevice {
  return { deviceId: id, ...place, state: 'waiting', reason: null, previousVersion: currentVersion };
}
