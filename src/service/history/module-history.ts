// Stays of versions in the module tables of devices: what devices report becomes their history, in which no two stays of a module overlap.

import type { OrderOf } from '../../protocol/agent.ts';
import type { DeviceState } from '../../protocol/device-state.ts';
import type { LoadReport } from '../../protocol/load-report.ts';
import type { Connection } from '../database/connection.ts';
import type { NewDeviceModule } from '../devices/repository.ts';
import { DeviceRecords } from '../devices/repository.ts';
import type { LoadOrder } from '../orders/orders.ts';
import type { Departure, HistoryRecord, LatestResidency, NewHistoryEntry } from './repository.ts';
import { HistoryRecords } from './repository.ts';

type Step<Name extends LoadReport['steps'][number]['step']> = Extract<LoadReport['steps'][number], { step: Name }>;

/** Connection what was put back into a device that has come up: of what it was to get, what its module table names. Other versions count as drift. */
export async function recordRestored(
  connection: Connection,
  deviceId: string,
  wanted: OrderOf<'attach-device'>['modules'],
  { moduleTable, memoryMap }: DeviceState,
  at: Date,
): Promise<void> {
  const wantedBy = new Map<string, (typeof wanted)[number]>(wanted.map((one) => [one.module, one]));
  const there = moduleTable.filter(({ module, version, image }) => {
    const one = wantedBy.get(module);
    return one?.version === version && one.image === image;
  });
  const before = await new HistoryRecords(connection).latest(there.map(({ module }) => ({ deviceId, module })));
  const entries = there.flatMap(({ module, version, image, address }, index): NewHistoryEntry[] => {
    const last = before[index];
    if (last?.removedAt === null) return [];
    const pages = memoryMap.ranges.find((range) => range.address === address)?.pages ?? 0;
    const installedAt = latest(at, last?.removedAt);
    return [{ deviceId, module, version, imageDigest: image, loadId: null, requestedBy: null, address, pages, installedAt }];
  });
  await new HistoryRecords(connection).insert(entries);
  await new DeviceRecords(connection).resolveDrift(there.map(({ module }) => ({ deviceId, module })));
}

/** What came of a load on its device, as that reports it. */
export type ReportedLoad = {
  readonly order: LoadOrder;
  readonly report: LoadReport;
  /** Who asked for the load, and when; undefined where there is no such load. */
  readonly request: { readonly requestedAt: Date; readonly requestedBy: string | null } | undefined;
};

/** What a report changes in the history of its device. */
type Change = {
  readonly leaving?: Departure & { readonly number: number };
  readonly entering: readonly NewHistoryEntry[];
  readonly module?: NewDeviceModule;
};

/**
 * Keeps what loads have changed in the module tables of their devices: each brought a version in, or did and took it out again.
 * The times are the devices' own, of which none is taken to be after its report has come, before the load was requested, or before what it ends
 * had begun: a host that was cut off does not make the history false, and neither does a device whose clock is wrong.
 * @param loads Of different devices.
 */
export async function recordLoaded(connection: Connection, loads: readonly ReportedLoad[], reportedAt: Date): Promise<void> {
  const before = await new HistoryRecords(connection).latest(loads.map(({ order }) => ({ deviceId: order.device, module: order.module })));
  const changes = loads.flatMap((load, index) => toChange(load, before[index], reportedAt) ?? []);
  await new HistoryRecords(connection).end(changes.flatMap(({ leaving }) => leaving ?? []));
  await new HistoryRecords(connection).insert(changes.flatMap(({ entering }) => entering));
  await new DeviceRecords(connection).setModules(changes.flatMap(({ module }) => module ?? []));
}

/** Null where the load has changed nothing. */
function toChange(load: ReportedLoad, before: LatestResidency | undefined, reportedAt: Date): Change | null {
  const { order, report, request } = load;
  const { device: deviceId, load: loadId, module } = order;
  const swap = findStep(report, 'table-updated');
  const isWithdrawn = report.outcome === 'failed' && swap !== undefined;
  if (!isLoaded(report) && !isWithdrawn) return null;
  const bounds = [request?.requestedAt, before?.installedAt, before?.removedAt];
  const installedAt = latest(earliest(swap?.at, reportedAt), ...bounds);
  const entry = { deviceId, module, loadId, requestedBy: request?.requestedBy ?? null, installedAt };
  if (isWithdrawn) return revertedSwap(load, { entry, before, reportedAt });
  if (report.current === null) return null;
  const { interrupted } = report;
  const { version, image, address, pages } = report.current;
  const entering = [{ ...entry, version, imageDigest: image, address, pages }];
  const current = { deviceId, module, version, imageDigest: image, loadedAt: reportedAt };
  if (before === undefined || before.removedAt !== null) return { entering, module: current };
  const leaving = {
    number: before.number,
    removedAt: installedAt,
    removalCause: interrupted > 0 ? 'replaced-interrupting' : 'replaced',
    replacedByLoadId: loadId,
    invalidation: findStep(report, 'invalidated')?.facts.invalidation ?? order.invalidation,
    interrupted,
  };
  return { leaving, entering, module: current };
}

/** Whether the load has brought its version in. */
export function isLoaded({ outcome }: LoadReport): boolean {
  return outcome === 'installed' || outcome === 'replaced' || outcome === 'replaced-interrupting';
}

/**
 * Adds the stay of a version that another load has replaced, which was reported first. The newest stay remains the newest: the added stay begins
 * before the newest one, and ends when the next stay begins.
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
  const leaving = wasReplaced && before.removedAt !== null ? toDeparture(before) : departureBefore(after);
  const { version, image, address, pages } = report.current;
  const requestedBy = request?.requestedBy ?? null;
  await new HistoryRecords(connection).insert([
    { deviceId, module, loadId, requestedBy, version, imageDigest: image, address, pages, installedAt, ...leaving },
  ]);
}

const toDeparture = ({ removedAt, removalCause, replacedByLoadId, invalidation, interrupted }: HistoryRecord): Departure => {
  return { removedAt, removalCause, replacedByLoadId, invalidation, interrupted };
};

/** How a version left of which is known only what came after it. */
function departureBefore({ installedAt, loadId, observed }: HistoryRecord): Departure {
  const removalCause = loadId !== null ? 'replaced' : observed ? 'drifted' : 'reboot';
  return { removedAt: installedAt, removalCause, replacedByLoadId: loadId, invalidation: null, interrupted: null };
}

type RevertedSwap = {
  readonly entry: Pick<NewHistoryEntry, 'deviceId' | 'module' | 'loadId' | 'requestedBy' | 'installedAt'>;
  readonly before: LatestResidency | undefined;
  readonly reportedAt: Date;
};

/** The version before was not left in time: the new one has been in the table from the swap to the end of the load, and the one before is again. */
function revertedSwap({ order, report }: ReportedLoad, { entry, before, reportedAt }: RevertedSwap): Change | null {
  const written = findStep(report, 'loaded');
  if (written === undefined || before === undefined || before.removedAt !== null) return null;
  const removedAt = latest(earliest(findStep(report, 'failed')?.at, reportedAt), entry.installedAt);
  const { address, pages } = written.facts;
  const { load, version, image } = order;
  // Nobody enters the new version any more, and it goes when those who had entered it have left.
  const withdrawn = { removedAt, removalCause: 'reverted', replacedByLoadId: null, invalidation: 'mark-invalid', interrupted: 0 };
  const { number, loadId, requestedBy, ...stay } = before;
  const back = { version: stay.version, imageDigest: stay.imageDigest, loadId, requestedBy, address: stay.address, pages: stay.pages };
  return {
    leaving: {
      number,
      interrupted: 0,
      invalidation: 'none',
      removedAt: entry.installedAt,
      removalCause: 'replaced',
      replacedByLoadId: load,
    },
    entering: [
      { ...entry, version, imageDigest: image, address, pages, ...withdrawn },
      { ...entry, ...back, installedAt: removedAt },
    ],
  };
}

function findStep<Name extends LoadReport['steps'][number]['step']>({ steps }: LoadReport, name: Name): Step<Name> | undefined {
  return steps.find((step): step is Step<Name> => step.step === name);
}

/** The earlier of the time that a device tells, if it does, and another. */
const earliest = (told: string | undefined, other: Date) => (told !== undefined && new Date(told) < other ? new Date(told) : other);

/** The latest of these times; one that is missing is passed over. */
export const latest = (first: Date, ...others: readonly (Date | null | undefined)[]) =>
  others.reduce<Date>((last, time) => (time && time > last ? time : last), first);
