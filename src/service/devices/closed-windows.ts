// Finds devices whose maintenance windows are closed: those of the groups that contain them now.

import { type LabelSelector, LabelSelectorError, matchesLabelSelector, parseLabelSelector } from '../../protocol/label-selector.ts';
import type { Connection } from '../database/connection.ts';
import { isAnyOpen, nextCommonOpening, readWindows } from '../groups/maintenance-windows.ts';
import { GroupRecords } from '../groups/repository.ts';
import { DeviceRecords } from './repository.ts';

/** The closed maintenance windows of a device. */
export type ClosedWindows = {
  /** When they next open; null if they do not open within 30 days. */
  readonly until: Date | null;
  /** Names of the groups that are closed. */
  readonly groups: readonly string[];
};

/** Returns the closed windows of a device; null if they are open, or if it has none. */
export type ClosedOn = (deviceId: string) => ClosedWindows | null;

const noneClosed: ClosedOn = () => null;

/**
 * Finds the devices whose maintenance windows are closed, from the current groups and labels. Runs one query for all devices, and another one for their
 * labels if a group is closed.
 * @param at Now, by the clock of the service.
 */
export async function findClosedWindows(connection: Connection, deviceIds: readonly string[], at: Date): Promise<ClosedOn> {
  const stored = deviceIds.length === 0 ? [] : await new GroupRecords(connection).listWithWindows();
  const groups = stored.map(({ name, selector, windows: text }, index) => {
    // Damaged windows never open: an operator must repair them, or override them.
    const windows = readWindows(text) ?? [];
    return { index, name, selector: readSelector(selector), windows, isOpen: isAnyOpen(windows, at) };
  });
  if (groups.every(({ isOpen }) => isOpen)) return noneClosed;
  const labels = await new DeviceRecords(connection).labelsOf(deviceIds);
  const openings = new Map<string, Date | null>();
  return (deviceId) => {
    const ofDevice = new Map(Object.entries(labels.get(deviceId) ?? {}));
    const containing = groups.filter(({ selector }) => matchesLabelSelector(selector, ofDevice));
    const closed = containing.filter(({ isOpen }) => !isOpen).map(({ name }) => name);
    if (closed.length === 0) return null;
    // Devices in the same groups open at the same time.
    const key = containing.map(({ index }) => index).join();
    if (!openings.has(key)) {
      const windows = containing.map((group) => group.windows);
      openings.set(key, nextCommonOpening(windows, at));
    }
    return { until: openings.get(key) ?? null, groups: closed };
  };
}

/** Returns a stored selector. A damaged one matches all devices: any of them may be in the group. An operator must repair it, or override the windows. */
function readSelector(stored: string): LabelSelector {
  try {
    return parseLabelSelector(stored);
  } catch (error) {
    if (error instanceof LabelSelectorError) return [];
    throw error;
  }
}
