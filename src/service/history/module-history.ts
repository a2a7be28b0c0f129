// Records the module history of devices from their reports. An entry is one residency: a period a version was installed. The residencies of a module
// on a device never overlap.

import type { OrderOf } from '../../protocol/agent.ts';
import type { DeviceState } from '../../protocol/device-state.ts';
import type { LoadReport } from '../../protocol/load-report.ts';
import type { Connection } from '../database/connection.ts';
import type { NewDeviceModule } from '../devices/repository.ts';
import { DeviceRecords } from '../devices/repository.ts';
import type { LoadOrder } from '../orders/orders.ts';
import type { HistoryRecord, LatestResidency, NewHistoryEntry, Removal } from './repository.ts';
import { HistoryRecords } from './repository.ts';

type Step<Name extends LoadReport['steps'][number]['step']> = Extract<LoadReport['steps'][number], { step: Name }>;

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

/** A device's report of a load, with the order and the request of the load. */
export type ReportedLoad = {
  readonly order: LoadOrder;
  readonly report: LoadReport;
  /** Time and requester of the load; undefined if the load does not exist. */
  readonly request: { readonly requestedAt: Date; readonly requestedBy: string | null } | undefined;
};

/** The changes of a report to the history of its device. */
type Change = {
  readonly ended?: Removal & { readonly number: number };
  readonly added: readonly NewHistoryEntry[];
  readonly module?: NewDeviceModule;
};

/**
 * Records successful loads and reverted swaps in the histories of their devices.
 * Times are those of the device's clock, bounded by the receipt of the report, the request of the load, and the start of the residency that ends.
 * Thus neither a disconnected host nor a wrong device clock corrupts the history.
 * @param loads Loads of different devices.
 */
export async function recordLoaded(connection: Connection, loads: readonly ReportedLoad[], reportedAt: Date): Promise<void> {
  const previous = await new HistoryRecords(connection).latest(
    loads.map(({ order }) => ({ deviceId: order.device, module: order.module })),
  );
  const changes = loads.flatMap((load, index) => toChange(load, previous[index], reportedAt) ?? []);
  await new HistoryRecords(connection).end(changes.flatMap(({ ended }) => ended ?? []));
  await new HistoryRecords(connection).insert(changes.flatMap(({ added }) => added));
  await new DeviceRecords(connection).setModules(changes.flatMap(({ module }) => module ?? []));
}

/** Returns null if the load changed nothing. */
function toChange(load: ReportedLoad, before: LatestResidency | undefined, reportedAt: Date): Change | null {
  const { order, report, request } = load;
  const { device: deviceId, load: loadId, module } = order;
  const swap = findStep(report, 'table-updated');
  const isReverted = (report.outcome === 'failed' || report.outcome === 'cancelled') && swap !== undefined;
  if (!isLoaded(report) && !isReverted) return null;
  const bounds = [request?.requestedAt, before?.installedAt, before?.removedAt];
  const installedAt = latest(earliest(swap?.at, reportedAt), ...bounds);
  const entry = { deviceId, module, loadId, requestedBy: request?.requestedBy ?? null, installedAt };
  if (isReverted) return toRevertedSwap(load, { entry, before, reportedAt });
  if (report.current === null) return null;
  const { interrupted } = report;
  const { version, image, address, pages } = report.current;
  const added = [{ ...entry, version, imageDigest: image, address, pages }];
  const current = { deviceId, module, version, imageDigest: image, loadedAt: reportedAt };
  if (before === undefined || before.removedAt !== null) return { added, module: current };
  const ended = {
    number: before.number,
    removedAt: installedAt,
    removalCause: interrupted > 0 ? 'replaced-interrupting' : 'replaced',
    replacedByLoadId: loadId,
    invalidation: findStep(report, 'invalidated')?.facts.invalidation ?? order.invalidation,
    interrupted,
  };
  return { ended, added, module: current };
}

/** Returns whether the load installed its version. */
export function isLoaded({ outcome }: LoadReport): boolean {
  return outcome === 'installed' || outcome === 'replaced' || outcome === 'replaced-interrupting';
}

/**
 * Adds the residency of a version whose report arrives after that of the load which replaced it. The residency begins before the latest one and ends
 * when the next one begins.
 */
export async function recordOutOfOrder(connection: Connection, { order, report, request }: ReportedLoad, reportedAt: Date): Promise<void> {
  const { device: deviceId, load: loadId, module } = order;
  const [newest] = await new HistoryRecords(connection).latest([{ deviceId, module }]);
  if (newest === undefined || report.current === null) return;
  const swap = findStep(report, 'table-updated');
  const installedAt = earliest(swap?.at, new Date(Math.min(reportedAt.getTime(), newest.installedAt.getTime() - 1)));
  const { before, after } = await new HistoryRecords(connection).findNeighbors(deviceId, module, installedAt);
  if (after === null) return;
  const wasReplaced = before !== null && (before.removedAt === null || before.removedAt > installedAt);
  if (wasReplaced) {
    const invalidation = findStep(report, 'invalidated')?.facts.invalidation ?? order.invalidation;
    const { interrupted } = report;
    const removalCause = interrupted > 0 ? 'replaced-interrupting' : 'replaced';
    await new HistoryRecords(connection).end([
      { number: before.number, removedAt: installedAt, removalCause, replacedByLoadId: loadId, invalidation, interrupted },
    ]);
  }
  const removal = wasReplaced && before.removedAt !== null ? toRemoval(before) : inferRemoval(after);
  const { version, image, address, pages } = report.current;
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
  readonly before: LatestResidency | undefined;
  readonly reportedAt: Date;
};

/** The drain timed out or was cancelled: the new version was installed from the swap to the end of the load, then the previous version is installed again. */
function toRevertedSwap({ order, report }: ReportedLoad, { entry, before, reportedAt }: RevertedSwap): Change | null {
  const written = findStep(report, 'loaded');
  if (written === undefined || before === undefined || before.removedAt !== null) return null;
  const removedAt = latest(earliest((findStep(report, 'failed') ?? findStep(report, 'cancelled'))?.at, reportedAt), entry.installedAt);
  const { address, pages } = written.facts;
  const { load, version, image } = order;
  // No new access enters the reverted version; its pages are marked invalid once its accesses have left.
  const reverted = { removedAt, removalCause: 'reverted', replacedByLoadId: null, invalidation: 'mark-invalid', interrupted: 0 };
  const { number, version: previousVersion, imageDigest, loadId, requestedBy } = before;
  const restored = { version: previousVersion, imageDigest, loadId, requestedBy, address: before.address, pages: before.pages };
  return {
    ended: {
      number,
      interrupted: 0,
      invalidation: 'none',
      removedAt: entry.installedAt,
      removalCause: 'replaced',
      replacedByLoadId: load,
    },
    added: [
      { ...entry, version, imageDigest: image, address, pages, ...reverted },
      { ...entry, ...restored, installedAt: removedAt },
    ],
  };
}

function findStep<Name extends LoadReport['steps'][number]['step']>({ steps }: LoadReport, name: Name): Step<Name> | undefined {
  return steps.find((step): step is Step<Name> => step.step === name);
}

/** Returns the earlier of the time that a device reports, if any, and another. */
const earliest = (reported: string | undefined, other: Date) =>
  reported !== undefined && new Date(reported) < other ? new Date(reported) : other;

/** Returns the latest of these times; missing times are ignored. */
export const latest = (first: Date, ...others: readonly (Date | null | undefined)[]) =>
  others.reduce<Date>((last, time) => (time && time > last ? time : last), first);
