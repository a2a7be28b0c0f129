// Records the module history of devices from their reports. An entry is one residency: a period a version was installed. The residencies of a module
// on a device never overlap.

import type { OrderOf } from '../../protocol/agent.ts';
import type { DeviceState } from '../../protocol/device-state.ts';
import type { Connection } from '../database/connection.ts';
import type { NewDeviceModule } from '../devices/repository.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { findStep, isApplied, type ReportedChange } from './load-changes.ts';
import type { HistoryRecord, LatestResidency, NewHistoryEntry, Removal } from './repository.ts';
import { HistoryRecords } from './repository.ts';

/** Records the versions that a device restored when it attached. Only ordered versions count; other versions in its module table are drift. */
export async function recordRestored(
  connection: Connection,
  deviceId: string,
  ordered: OrderOf<'attach-device'>['modules'],
  { moduleTable, memoryMap }: DeviceState,
  at: Date,
): Promise<void> {
  const orderedByModule = new Map<string, (typeof ordered)[number]>(ordered.map((entry) => [entry.module, entry]));
  const restored = moduleTable.filter(({ module, version, image }) => {
    const entry = orderedByModule.get(module);
    return entry?.version === version && entry.image === image;
  });
  const previous = await new HistoryRecords(connection).latest(restored.map(({ module }) => ({ deviceId, module })));
  const entries = restored.flatMap(({ module, version, image, address }, index): NewHistoryEntry[] => {
    const last = previous[index];
    if (last?.removedAt === null) return [];
    const pages = memoryMap.ranges.find((range) => range.address === address)?.pages ?? 0;
    const installedAt = latest(at, last?.removedAt);
    return [{ deviceId, module, version, imageDigest: image, loadId: null, requestedBy: null, address, pages, installedAt }];
  });
  await new HistoryRecords(connection).insert(entries);
  await new DeviceRecords(connection).resolveDrift(restored.map(({ module }) => ({ deviceId, module })));
}

/** The changes of a report to the history of one module. */
type HistoryChange = {
  readonly ended?: Removal & { readonly number: number };
  readonly added?: readonly NewHistoryEntry[];
  readonly module?: NewDeviceModule;
  /** Whether the device is no longer expected to have the module. */
  readonly isRemoved?: boolean;
};

/**
 * Records successful loads, unloads and reverted swaps in the histories of their devices.
 * Times are those of the device's clock, bounded by the receipt of the report, the request of the load, and the start of the residency that ends.
 * Thus neither a disconnected host nor a wrong device clock corrupts the history.
 * @param changes Changes of different modules or devices.
 */
export async function recordLoaded(connection: Connection, changes: readonly ReportedChange[], reportedAt: Date): Promise<void> {
  const places = changes.map(({ order, module }) => ({ deviceId: order.device, module }));
  const previous = await new HistoryRecords(connection).latest(places);
  const recorded = changes.map((change, index) => toHistoryChange(change, previous[index], reportedAt));
  await new HistoryRecords(connection).end(recorded.flatMap(({ ended }) => ended ?? []));
  await new HistoryRecords(connection).insert(recorded.flatMap(({ added = [] }) => added));
  await new DeviceRecords(connection).setModules(recorded.flatMap(({ module }) => module ?? []));
  await new DeviceRecords(connection).markModulesUnexpected(places.filter((_, index) => recorded[index]?.isRemoved === true));
}

/** Returns no changes if the load changed nothing. */
function toHistoryChange(change: ReportedChange, before: LatestResidency | undefined, reportedAt: Date): HistoryChange {
  const { order, report, request, module, current } = change;
  const { device: deviceId, load: loadId } = order;
  const swap = findStep(change, 'table-updated');
  const present = before?.removedAt === null ? before : undefined;
  const bounds = [request?.requestedAt, before?.installedAt, before?.removedAt];
  const installedAt = latest(earliest(swap?.at, reportedAt), ...bounds);
  const entry = { deviceId, module, loadId, requestedBy: request?.requestedBy ?? null, installedAt };
  if ((report.outcome === 'failed' || report.outcome === 'cancelled') && swap !== undefined)
    return toRevertedSwap(change, { entry, present, reportedAt });
  if (order.kind === 'unload-module' && report.outcome === 'refused-not-loaded') return toMissing(present, reportedAt);
  if (!isApplied(change)) return {};
  const ended = present && { number: present.number, ...toRemovalBy(change, installedAt) };
  if (current === null) return { ...(ended && { ended }), isRemoved: true };
  const { version, image, address, pages } = current;
  const added = [{ ...entry, version, imageDigest: image, address, pages }];
  return { ...(ended && { ended }), added, module: { deviceId, module, version, imageDigest: image, loadedAt: reportedAt } };
}

/** Returns the removal of the version that a load replaced or unloaded. */
function toRemovalBy(change: ReportedChange, removedAt: Date): Removal {
  const { order, report, build } = change;
  const { interrupted } = report;
  return {
    removedAt,
    removalCause: build === null ? 'unloaded' : interrupted > 0 ? 'replaced-interrupting' : 'replaced',
    replacedByLoadId: order.load,
    invalidation: findStep(change, 'invalidated')?.facts.invalidation ?? order.invalidation,
    // A patch set counts the interrupted accesses of all members together.
    interrupted: order.kind === 'load-patch-set' && interrupted > 0 ? null : interrupted,
  };
}

/** The device had lost the module that it was to unload. The operator does not want it: a restart of the host does not restore it. */
function toMissing(present: LatestResidency | undefined, reportedAt: Date): HistoryChange {
  if (present === undefined) return { isRemoved: true };
  const removedAt = latest(reportedAt, present.installedAt);
  const ended = {
    number: present.number,
    removedAt,
    removalCause: 'drifted',
    replacedByLoadId: null,
    invalidation: null,
    interrupted: null,
  };
  return { ended, isRemoved: true };
}

/**
 * Adds the change of a load whose report arrives after that of a later load. A version's residency begins before the end of the latest one, and ends
 * when the next one begins. An unload ends the residency of that time.
 */
export async function recordOutOfOrder(connection: Connection, change: ReportedChange, reportedAt: Date): Promise<void> {
  const { order, request, module, current } = change;
  const { device: deviceId, load: loadId } = order;
  const [newest] = await new HistoryRecords(connection).latest([{ deviceId, module }]);
  if (newest === undefined) return;
  const end = newest.removedAt ?? newest.installedAt;
  const installedAt = earliest(findStep(change, 'table-updated')?.at, new Date(Math.min(reportedAt.getTime(), end.getTime() - 1)));
  const { before, after } = await new HistoryRecords(connection).findNeighbors(deviceId, module, installedAt);
  const wasReplaced = before !== null && (before.removedAt === null || before.removedAt > installedAt);
  // Without a residency around or after that time, the change would be the latest one.
  if (after === null && !(wasReplaced && before.removedAt !== null)) return;
  if (wasReplaced) await new HistoryRecords(connection).end([{ number: before.number, ...toRemovalBy(change, installedAt) }]);
  if (current === null) return;
  const removal = wasReplaced && before.removedAt !== null ? toRemoval(before) : after && inferRemoval(after);
  const { version, image, address, pages } = current;
  const requestedBy = request?.requestedBy ?? null;
  await new HistoryRecords(connection).insert([
    { deviceId, module, loadId, requestedBy, version, imageDigest: image, address, pages, installedAt, ...removal },
  ]);
}

const toRemoval = ({ removedAt, removalCause, replacedByLoadId, invalidation, interrupted }: HistoryRecord): Removal => {
  return { removedAt, removalCause, replacedByLoadId, invalidation, interrupted };
};

/** Infers the removal of a version from the residency that follows. */
function inferRemoval({ installedAt, loadId, observed }: HistoryRecord): Removal {
  const removalCause = loadId !== null ? 'replaced' : observed ? 'drifted' : 'reboot';
  return { removedAt: installedAt, removalCause, replacedByLoadId: loadId, invalidation: null, interrupted: null };
}

type RevertedSwap = {
  readonly entry: Pick<NewHistoryEntry, 'deviceId' | 'module' | 'loadId' | 'requestedBy' | 'installedAt'>;
  /** The residency of the version before the load, if there was one. */
  readonly present: LatestResidency | undefined;
  readonly reportedAt: Date;
};

/**
 * The drain timed out or was cancelled: from the swap to the end of the load, the new version was installed, or the module was not in the table. Then
 * the previous version is installed again.
 */
function toRevertedSwap(change: ReportedChange, { entry, present, reportedAt }: RevertedSwap): HistoryChange {
  const { module, order } = change;
  const end = findStep(change, 'failed') ?? findStep(change, 'cancelled');
  const removedAt = latest(earliest(end?.at, reportedAt), entry.installedAt);
  const reverted = toRevertedVersion(change, entry, removedAt);
  if (reverted === null) return {};
  if (present === undefined) {
    // A first version, of a patch set that also replaces others. The device is not expected to have the module.
    const [first] = reverted;
    if (order.kind !== 'load-patch-set' || first === undefined) return {};
    const { deviceId, version, imageDigest } = first;
    const row = { deviceId, module, version, imageDigest, loadedAt: reportedAt, driftedAt: null, driftedFrom: '' };
    return { added: reverted, module: row };
  }
  const { number, version, imageDigest, loadId, requestedBy, address, pages } = present;
  const removalCause = change.build === null ? 'unloaded' : 'replaced';
  return {
    ended: { number, interrupted: 0, invalidation: 'none', removedAt: entry.installedAt, removalCause, replacedByLoadId: order.load },
    added: [...reverted, { ...entry, version, imageDigest, loadId, requestedBy, address, pages, installedAt: removedAt }],
  };
}

/** Returns the residency of the reverted version; none if the load was to unload the module; null if the device did not report where it was. */
function toRevertedVersion(change: ReportedChange, entry: RevertedSwap['entry'], removedAt: Date): NewHistoryEntry[] | null {
  const { build } = change;
  if (build === null) return [];
  const written = findStep(change, 'loaded');
  if (written === undefined) return null;
  const { address, pages } = written.facts;
  // No new access enters the reverted version; its pages are marked invalid once its accesses have left.
  const reverted = { removedAt, removalCause: 'reverted', replacedByLoadId: null, invalidation: 'mark-invalid', interrupted: 0 };
  return [{ ...entry, version: build.version, imageDigest: build.image, address, pages, ...reverted }];
}

/** Returns the earlier of the time that a device reports, if any, and another. */
const earliest = (reported: string | undefined, other: Date) =>
  reported !== undefined && new Date(reported) < other ? new Date(reported) : other;

/** Returns the latest of these times; missing times are ignored. */
export const latest = (first: Date, ...others: readonly (Date | null | undefined)[]) =>
  others.reduce<Date>((last, time) => (time && time > last ? time : last), first);
