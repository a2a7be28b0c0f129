// Drift: a device reports a module table that differs from the service's records, as after a restored backup. The report is authoritative: it corrects
// the history, so that loads and rollbacks start from what is installed.

import { isLoadOrder } from '../../protocol/agent.ts';
import type { DeviceState, ModuleTableEntry } from '../../protocol/device-state.ts';
import type { AuditEntry } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { DamagedItem } from '../database/damaged-rows.ts';
import type { InstalledModule, NewDeviceModule } from '../devices/repository.ts';
import { DeviceRecords } from '../devices/repository.ts';
import type { ReportedChange } from '../history/load-changes.ts';
import { latest } from '../history/module-history.ts';
import type { LatestResidency, NewHistoryEntry, Removal } from '../history/repository.ts';
import { HistoryRecords } from '../history/repository.ts';
import { orderedModules, readOrder } from '../orders/orders.ts';
import { OrderRecords } from '../orders/repository.ts';

/** The memory of a device, as reported. */
export type ReportedTable = Pick<DeviceState, 'moduleTable' | 'memoryMap'> & {
  /** False if the host left something out of the report: then a missing entry proves nothing. */
  readonly isComplete: boolean;
};

/** A module whose reported version or image differs from the service's record. */
type Difference = {
  readonly deviceId: string;
  readonly module: string;
  /** The service's record; null if it has none for this module and device. */
  readonly known: InstalledModule | null;
  /** The reported entry; null if the module table has none. */
  readonly observed: ModuleTableEntry | null;
  readonly pages: number;
};

/**
 * Compares the reports of a host's devices with the service's records, and corrects the history and the recorded versions.
 * Ignores differences that an unsettled order explains: the report of that order settles them.
 * @param reported The newest state of each device, after the orders of the same batch were settled.
 * @returns An audit event for each difference.
 */
export async function correctDrift(
  connection: Connection,
  hostId: string,
  reported: ReadonlyMap<string, ReportedTable>,
  at: Date,
): Promise<AuditEntry[]> {
  const installed = Map.groupBy(await new DeviceRecords(connection).installedOn([...reported.keys()]), ({ deviceId }) => deviceId);
  const found = [...reported].flatMap(([id, table]) => findDifferences(id, installed.get(id) ?? [], table));
  if (found.length === 0) return [];
  const differences = await excludeExplained(connection, hostId, found);
  if (differences.length === 0) return [];
  const before = await new HistoryRecords(connection).latest(differences);
  await new HistoryRecords(connection).end(differences.flatMap((_, index) => toRemoval(before[index], at)));
  await new HistoryRecords(connection).insert(differences.flatMap((difference, index) => toHistoryEntry(difference, before[index], at)));
  await new DeviceRecords(connection).markModulesUnexpected(differences.filter(isExpectedlyMissing));
  await new DeviceRecords(connection).setModules(
    differences.flatMap((difference) => (isExpectedlyMissing(difference) ? [] : toDeviceModule(difference, at))),
  );
  return differences.map(toAuditEntry);
}

/**
 * Resolves drift if a load was refused because the device already has the requested version: the operator has confirmed it.
 * A successful load also resolves drift, elsewhere.
 */
export async function resolveConfirmedDrift(connection: Connection, changes: readonly ReportedChange[]): Promise<void> {
  const confirmed = changes.filter(({ build, current }) => {
    return build !== null && current?.version === build.version && current.image === build.image;
  });
  await new DeviceRecords(connection).resolveDrift(confirmed.map(({ order, module }) => ({ deviceId: order.device, module })));
}

function findDifferences(
  deviceId: string,
  installed: readonly InstalledModule[],
  { moduleTable, memoryMap, isComplete }: ReportedTable,
): Difference[] {
  const observed = new Map<string, ModuleTableEntry>(moduleTable.map((entry) => [entry.module, entry]));
  const known = new Map(installed.map((record) => [record.module, record]));
  const changed = [...observed.values()].flatMap((entry): Difference[] => {
    const record = known.get(entry.module) ?? null;
    if (record?.isPresent && record.version === entry.version && record.imageDigest === entry.image) return [];
    const pages = memoryMap.ranges.find(({ address }) => address === entry.address)?.pages ?? 0;
    return [{ deviceId, module: entry.module, known: record, observed: entry, pages }];
  });
  const missing = isComplete
    ? installed.filter((record) => !observed.has(record.module) && (record.isPresent || isUnexpectedModule(record)))
    : [];
  return [...changed, ...missing.map((record) => ({ deviceId, module: record.module, known: record, observed: null, pages: 0 }))];
}

/** Whether the service expects the device not to have this module. The drift is resolved when the module is removed. */
function isUnexpectedModule({ hasDrifted, driftedFrom }: InstalledModule): boolean {
  return hasDrifted && driftedFrom === null;
}

/** Leaves out devices that are attaching, and what an unsettled load installs or unloads: the reports of those orders settle them. */
async function excludeExplained(connection: Connection, hostId: string, differences: readonly Difference[]): Promise<Difference[]> {
  const deviceIds = [...new Set(differences.map(({ deviceId }) => deviceId))];
  const orders = Map.groupBy(await new OrderRecords(connection).listUnsettled(hostId, deviceIds), ({ deviceId }) => deviceId);
  return differences.filter(({ deviceId, module, observed }) => {
    return !(orders.get(deviceId) ?? []).some((record) => {
      const order = readOrder(record);
      if (order instanceof DamagedItem) return false;
      if (order.kind === 'attach-device') return true;
      if (!isLoadOrder(order)) return false;
      return orderedModules(order).some(({ module: changed, build }) => {
        return changed === module && build?.version === observed?.version && build?.image === observed?.image;
      });
    });
  });
}

function toRemoval(before: LatestResidency | undefined, at: Date): (Removal & { readonly number: number })[] {
  if (before === undefined || before.removedAt !== null) return [];
  const removal = { removalCause: 'drifted', replacedByLoadId: null, invalidation: null, interrupted: null };
  return [{ number: before.number, removedAt: latest(at, before.installedAt), ...removal }];
}

function toHistoryEntry(
  { deviceId, module, observed, pages }: Difference,
  before: LatestResidency | undefined,
  at: Date,
): NewHistoryEntry[] {
  if (observed === null) return [];
  const { version, image, address } = observed;
  const installedAt = latest(at, before?.installedAt, before?.removedAt);
  return [{ deviceId, module, version, imageDigest: image, address, pages, installedAt, loadId: null, requestedBy: null, observed: true }];
}

function toDeviceModule(difference: Difference, at: Date): NewDeviceModule[] {
  const { deviceId, module, known, observed } = difference;
  const drift = isAsExpected(difference)
    ? { driftedAt: null, driftedFrom: null }
    : { driftedAt: at, driftedFrom: expectedVersion(difference) };
  // A missing module keeps its record: it is restored when the host restarts.
  const [version, imageDigest] = observed === null ? [known?.version, known?.imageDigest] : [observed.version, observed.image];
  if (version === undefined || imageDigest === undefined) return [];
  return [{ deviceId, module, version, imageDigest, loadedAt: at, ...drift }];
}

/** Returns the expected version: the last one that the service recorded before the device drifted; null if it expects none. */
function expectedVersion({ known }: Difference): string | null {
  if (known === null) return null;
  return known.hasDrifted ? known.driftedFrom : known.version;
}

/** Whether the device has the expected version again, possibly without a report that the module was restored. */
function isAsExpected({ known, observed }: Difference): boolean {
  if (known === null) return false;
  if (known.hasDrifted) return known.driftedFrom === (observed?.version ?? null);
  return known.version === observed?.version && known.imageDigest === observed.image;
}

/** Whether an unexpected module was removed: a restart of the host does not restore it. */
function isExpectedlyMissing({ known, observed }: Difference): boolean {
  return observed === null && known !== null && isUnexpectedModule(known);
}

function toAuditEntry(difference: Difference): AuditEntry {
  const { deviceId, module, observed } = difference;
  const detail = {
    module,
    expected: expectedVersion(difference),
    observed: observed?.version ?? null,
    image: observed?.image ?? null,
    resolved: isAsExpected(difference),
  };
  return { action: 'device.drifted', object: deviceId, detail };
}
