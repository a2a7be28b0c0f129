// Stays of versions in the module tables of devices: what devices report becomes their history, in which no two stays of a module overlap.

import type { OrderOf } from '../protocol/agent.ts';
import type { DeviceState } from '../protocol/device-state.ts';
import type { LoadReport } from '../protocol/load-report.ts';
import type { HistoryRecord, NewHistoryEntry } from '../store/records/history.ts';
import type { Records } from '../store/records/records.ts';

type LoadOrder = OrderOf<'load'>;
type Step<Name extends LoadReport['steps'][number]['step']> = Extract<LoadReport['steps'][number], { step: Name }>;

/** Keeps what was put back into a device that has come up: of what it was to get, what its module table has. */
export async function keepPutBack(
  records: Records,
  deviceId: string,
  wanted: OrderOf<'attach-device'>['modules'],
  { moduleTable, memoryMap }: DeviceState,
  at: Date,
): Promise<void> {
  const before = new Map((await records.history.newestOfEach(deviceId)).map((stay) => [stay.module, stay]));
  const isWanted = new Set<string>(wanted.map(({ module }) => module));
  const entries = moduleTable.flatMap(({ module, version, image, address }): NewHistoryEntry[] => {
    const last = before.get(module);
    // A device comes up empty and gets what it had; what else it may tell of, no load has brought in.
    if (!isWanted.has(module) || last?.leftAt === null) return [];
    const pages = memoryMap.ranges.find((range) => range.address === address)?.pages ?? 0;
    const enteredAt = latest(at, last?.leftAt);
    return [{ deviceId, module, version, imageDigest: image, loadId: null, requestedBy: null, address, pages, enteredAt }];
  });
  await records.history.enter(entries);
}

/**
 * Keeps what a load has changed in the module table of its device: it brought a version in, or it did and took it out again.
 * The times are the device's own, of which none is taken to be after its report has come, before the load was requested, or before what it ends
 * had begun: a host that was cut off does not make the history false, and neither does a device whose clock is wrong.
 */
export async function keepLoaded(records: Records, order: LoadOrder, report: LoadReport, reportedAt: Date): Promise<void> {
  const { device: deviceId, load: loadId, module } = order;
  const swap = stepOf(report, 'table-updated');
  const isLoaded = report.outcome === 'installed' || report.outcome === 'replaced' || report.outcome === 'replaced-interrupting';
  const isWithdrawn = report.outcome === 'failed' && swap !== undefined;
  if (!isLoaded && !isWithdrawn) return;
  const load = await records.loads.requestOf(loadId);
  const before = await records.history.newest(deviceId, module);
  const bounds = [load?.requestedAt, before?.enteredAt, before?.leftAt];
  const enteredAt = latest(earliest(swap?.at, reportedAt), ...bounds);
  const entry = { deviceId, module, loadId, requestedBy: load?.requestedBy ?? null, enteredAt };
  if (isWithdrawn) return keepWithdrawn(records, order, report, { entry, before, reportedAt });
  if (report.current === null) return;
  const { interrupted } = report;
  if (before !== null && before.leftAt === null)
    await records.history.leave(before.number, {
      leftAt: enteredAt,
      leftBy: interrupted > 0 ? 'replaced-interrupting' : 'replaced',
      leftThrough: loadId,
      invalidation: stepOf(report, 'invalidated')?.facts.invalidation ?? order.invalidation,
      interrupted,
    });
  const { version, image, address, pages } = report.current;
  await records.history.enter([{ ...entry, version, imageDigest: image, address, pages }]);
  await records.devices.setModule({ deviceId, module, version, imageDigest: image, loadedAt: reportedAt });
}

type Withdrawn = {
  readonly entry: Pick<NewHistoryEntry, 'deviceId' | 'module' | 'loadId' | 'requestedBy' | 'enteredAt'>;
  readonly before: HistoryRecord | null;
  readonly reportedAt: Date;
};

/** The version before was not left in time: the new one has been in the table from the swap to the end of the load, and the one before is again. */
async function keepWithdrawn(
  records: Records,
  { load, version, image }: LoadOrder,
  report: LoadReport,
  { entry, before, reportedAt }: Withdrawn,
): Promise<void> {
  const written = stepOf(report, 'loaded');
  if (written === undefined || before === null || before.leftAt !== null) return;
  const leftAt = latest(earliest(stepOf(report, 'failed')?.at, reportedAt), entry.enteredAt);
  const { address, pages } = written.facts;
  const untouched = { interrupted: 0, invalidation: 'none' };
  await records.history.leave(before.number, { ...untouched, leftAt: entry.enteredAt, leftBy: 'replaced', leftThrough: load });
  // Nobody enters the new version any more, and it goes when those who had entered it have left.
  const withdrawn = { leftAt, leftBy: 'withdrawn', leftThrough: null, invalidation: 'mark-invalid', interrupted: 0 };
  await records.history.enter([
    { ...entry, version, imageDigest: image, address, pages, ...withdrawn },
    {
      ...entry,
      version: before.version,
      imageDigest: before.imageDigest,
      loadId: before.loadId,
      requestedBy: before.requestedBy,
      address: before.address,
      pages: before.pages,
      enteredAt: leftAt,
    },
  ]);
}

function stepOf<Name extends LoadReport['steps'][number]['step']>({ steps }: LoadReport, name: Name): Step<Name> | undefined {
  return steps.find((step): step is Step<Name> => step.step === name);
}

/** The earlier of the time that a device tells, if it does, and another. */
const earliest = (told: string | undefined, other: Date) => (told !== undefined && new Date(told) < other ? new Date(told) : other);

const latest = (first: Date, ...others: readonly (Date | null | undefined)[]) =>
  others.reduce<Date>((last, time) => (time && time > last ? time : last), first);
