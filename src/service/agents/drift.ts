// Drift: a device reports another module table than the service knows of, as after a restored backup. The report is what counts: it corrects the
// history, so that loads and rollbacks start from what is really installed.

import type { DeviceState, ModuleTableEntry } from '../../protocol/device-state.ts';
import type { LoadReport } from '../../protocol/load-report.ts';
import type { AuditEntry } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { DamagedItem } from '../database/damaged-rows.ts';
import type { InstalledModule, NewDeviceModule } from '../devices/repository.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { latest } from '../history/module-history.ts';
import type { LatestResidency, NewHistoryEntry, Removal } from '../history/repository.ts';
import { HistoryRecords } from '../history/repository.ts';
import { type LoadOrder, readOrder } from '../orders/orders.ts';
import { OrderRecords } from '../orders/repository.ts';

/** What a device reports of its memory. */
export type ReportedTable = Pick<DeviceState, 'moduleTable' | 'memoryMap'> & {
  /** False where the host had to leave something out: then nothing follows from what is missing. */
  readonly isWhole: boolean;
};

/** One module of which a device reports something else than the service knows. */
type Difference = {
  readonly deviceId: string;
  readonly module: string;
  /** What the service knows; null where it knows nothing of the module on this device. */
  readonly known: InstalledModule | null;
  /** What the device reports; null where its module table does not name the module. */
  readonly observed: ModuleTableEntry | null;
  readonly pages: number;
};

/**
 * Compares what devices of a host report with what the service knows, and corrects the history and the known versions by it.
 * Differences that an unsettled order explains are left to the report of that order.
 * @param reported The newest state of each device, after the orders of the same batch have been settled.
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
 * Resolves drift where a load was refused because the device has what was asked for: the operator knows now, and wants it so.
 * A load that succeeds resolves drift by itself.
 */
export async function resolveConfirmedDrift(
  connection: Connection,
  loads: readonly { readonly order: LoadOrder; readonly report: LoadReport }[],
): Promise<void> {
  const confirmed = loads.filter(({ order, report: { current } }) => current?.version === order.version && current.image === order.image);
  await new DeviceRecords(connection).resolveDrift(confirmed.map(({ order }) => ({ deviceId: order.device, module: order.module })));
}

function findDifferences(
  deviceId: string,
  installed: readonly InstalledModule[],
  { moduleTable, memoryMap, isWhole }: ReportedTable,
): Difference[] {
  const observed = new Map<string, ModuleTableEntry>(moduleTable.map((entry) => [entry.module, entry]));
  const known = new Map(installed.map((one) => [one.module, one]));
  const changed = [...observed.values()].flatMap((entry): Difference[] => {
    const one = known.get(entry.module) ?? null;
    if (one?.isPresent && one.version === entry.version && one.imageDigest === entry.image) return [];
    const pages = memoryMap.ranges.find(({ address }) => address === entry.address)?.pages ?? 0;
    return [{ deviceId, module: entry.module, known: one, observed: entry, pages }];
  });
  const missing = isWhole ? installed.filter((one) => !observed.has(one.module) && (one.isPresent || isUnexpectedModule(one))) : [];
  return [...changed, ...missing.map((one) => ({ deviceId, module: one.module, known: one, observed: null, pages: 0 }))];
}

/** Whether the service expects that the device does not have the module: when the module is gone, the drift is resolved. */
function isUnexpectedModule({ hasDrifted, driftedFrom }: InstalledModule): boolean {
  return hasDrifted && driftedFrom === null;
}

/** Leaves out devices that are coming up, and versions that a load under way brings in: their orders will be reported on. */
async function excludeExplained(connection: Connection, hostId: string, differences: readonly Difference[]): Promise<Difference[]> {
  const deviceIds = [...new Set(differences.map(({ deviceId }) => deviceId))];
  const orders = Map.groupBy(await new OrderRecords(connection).listUnsettled(hostId, deviceIds), ({ deviceId }) => deviceId);
  return differences.filter(({ deviceId, module, observed }) => {
    return !(orders.get(deviceId) ?? []).some((record) => {
      const order = readOrder(record);
      if (order instanceof DamagedItem) return false;
      if (order.kind === 'attach-device') return true;
      return order.kind === 'load' && order.module === module && order.version === observed?.version && order.image === observed.image;
    });
  });
}

function toRemoval(before: LatestResidency | undefined, at: Date): (Removal & { readonly number: number })[] {
  if (before === undefined || before.removedAt !== null) return [];
  const how = { removalCause: 'drifted', replacedByLoadId: null, invalidation: null, interrupted: null };
  return [{ number: before.number, removedAt: latest(at, before.installedAt), ...how }];
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
  // A module that is missing is put back when the host restarts.
  const [version, imageDigest] = observed === null ? [known?.version, known?.imageDigest] : [observed.version, observed.image];
  if (version === undefined || imageDigest === undefined) return [];
  return [{ deviceId, module, version, imageDigest, loadedAt: at, ...drift }];
}

/** The version that an operator expects: the last that the service knew of before the device first drifted from it. */
function expectedVersion({ known }: Difference): string | null {
  if (known === null) return null;
  return known.hasDrifted ? known.driftedFrom : known.version;
}

/** Whether the device has what is expected of it after all: again, or without having reported that it was put back. */
function isAsExpected({ known, observed }: Difference): boolean {
  if (known === null) return false;
  if (known.hasDrifted) return known.driftedFrom === (observed?.version ?? null);
  return known.version === observed?.version && known.imageDigest === observed.image;
}

/** Whether the module is gone and was not expected: a restart of the host does not put it back. */
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
