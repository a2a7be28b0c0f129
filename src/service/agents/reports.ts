// What hosts report, applied once each: the loads' outcomes, the devices' states and history, the programs' ends.

import type { Order, OrderOf, Report } from '../../protocol/agent.ts';
import { DeviceState, type ProgramStatistics } from '../../protocol/device-state.ts';
import { type AuditEntry, audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { DamagedItem } from '../database/damaged-rows.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { isLoaded, recordLoaded, recordOutOfOrder, recordRestored } from '../history/module-history.ts';
import { HistoryRecords } from '../history/repository.ts';
import { auditOutcomeOf } from '../loads/outcomes.ts';
import { LoadRecords } from '../loads/repository.ts';
import { type LoadOrder, readOrder } from '../orders/orders.ts';
import type { OrderRecord } from '../orders/repository.ts';
import { OrderRecords } from '../orders/repository.ts';
import { ProgramRecords } from '../programs/repository.ts';
import type { Requester } from '../requester.ts';
import { settleReportedLoad } from '../rollouts/settlement.ts';
import { recordViolations } from './abi-violations.ts';
import { correctDrift, type ReportedTable, resolveConfirmedDrift } from './drift.ts';
import { stoppedStatistics } from './reattach-devices.ts';
import { clampReportedTime } from './reported-times.ts';

type Batch = { readonly hostId: string; readonly bootId: string; readonly reports: readonly Report[] };
type OrderReport = Exclude<Report, { kind: 'device-state' }>;

type AttachOrder = OrderOf<'attach-device'>;
/** A report of an order that is the host's and not settled. */
type ReportedOrder = { readonly record: OrderRecord; readonly order: Order; readonly report: OrderReport };

/** Applies a batch of reports; one whose order is settled, or another host's, has been applied or is not the host's to make. */
export async function applyReports(connection: Connection, batch: Batch, at: Date, requester: Requester): Promise<void> {
  const answered = sortByStateSequence(await matchUnsettledOrders(connection, batch));
  const entries: AuditEntry[] = [];
  for (const some of splitIntoRounds(answered)) entries.push(...(await applyRound(connection, batch, some, at)));
  await new OrderRecords(connection).settle(
    batch.hostId,
    answered.map(({ record }) => record.number),
  );
  entries.push(...(await applyStates(connection, batch, answered, at)));
  entries.push(...(await applyRejections(connection, batch, answered, at)));
  await audit(connection, requester, at, entries);
}

/** The reports that settle their orders: of each order the first, unless nothing is known by it of what came of the order. */
async function matchUnsettledOrders(connection: Connection, { hostId, reports }: Batch): Promise<ReportedOrder[]> {
  const orderReports = reports.filter((report): report is OrderReport => report.kind !== 'device-state');
  const unsettled = await new OrderRecords(connection).findUnsettled(
    hostId,
    orderReports.map(({ order }) => order),
  );
  const open = new Map(unsettled.map((record) => [record.id, record]));
  return orderReports.flatMap((report) => {
    const record = open.get(report.order);
    if (record === undefined || record.deviceId !== report.device || orderKindOf[report.kind] !== record.kind) return [];
    open.delete(report.order);
    const order = readOrder(record);
    // Nobody knows what a damaged one asked for; the other reports are applied.
    return order instanceof DamagedItem ? [] : [{ record, order, report }];
  });
}

/** What each report is of. */
const orderKindOf = {
  'device-attached': 'attach-device',
  'load-completed': 'load',
  'program-started': 'start-program',
  'program-stopped': 'stop-program',
} as const satisfies Record<OrderReport['kind'], Order['kind']>;

/** Sorts the reports of each device by the sequence of their states, where all have one: a report may come after a newer one. */
function sortByStateSequence(answered: readonly ReportedOrder[]): ReportedOrder[] {
  const groups = Map.groupBy(answered, ({ report }) => report.device);
  return [...groups.values()].flatMap((some) => {
    const numbered = some.flatMap((one) => (one.report.state.sequence === undefined ? [] : [{ one, sequence: one.report.state.sequence }]));
    if (numbered.length < some.length) return some;
    return numbered.toSorted((left, right) => left.sequence - right.sequence).map(({ one }) => one);
  });
}

/** In lists of which each has one report of a device at most, those of a device one after another. */
function splitIntoRounds(answered: readonly ReportedOrder[]): ReportedOrder[][] {
  const lists: ReportedOrder[][] = [];
  const counts = new Map<string, number>();
  for (const one of answered) {
    const place = counts.get(one.report.device) ?? 0;
    counts.set(one.report.device, place + 1);
    const list = lists[place];
    if (list === undefined) lists.push([one]);
    else list.push(one);
  }
  return lists;
}

/** @param answered Of different devices. */
async function applyRound(connection: Connection, batch: Batch, answered: readonly ReportedOrder[], at: Date): Promise<AuditEntry[]> {
  const loads: Load[] = [];
  const attachments: Attachment[] = [];
  const entries: AuditEntry[] = [];
  for (const { order, report } of answered) {
    if (order.kind === 'load' && report.kind === 'load-completed') loads.push({ order, report });
    else if (order.kind === 'attach-device' && report.kind === 'device-attached') attachments.push({ order, report });
    else if (order.kind === 'start-program' && report.kind === 'program-started') {
      await new ProgramRecords(connection).setStarted([order.program], report.failure);
      entries.push(programEvent('program.started', order, report));
    } else if (order.kind === 'stop-program' && report.kind === 'program-stopped') {
      await endStoppedProgram(connection, order, report);
      entries.push(programEvent('program.stopped', order, report));
    }
  }
  entries.push(...(await applyAttachments(connection, batch, attachments, at)));
  entries.push(...(await applyLoads(connection, batch.hostId, loads, at)));
  return entries;
}

/**
 * Ends a program that its device has stopped. The report says so itself: the program does not wait for a later state, which may have been taken
 * before the program stopped.
 */
async function endStoppedProgram(
  connection: Connection,
  { program, device }: OrderOf<'stop-program'>,
  { failure, state }: StopReport,
): Promise<void> {
  const last = state.programs.find((statistics) => statistics.program === program);
  if (failure !== null && last?.state === 'running') return;
  const open = await new ProgramRecords(connection).filterWithoutStatistics([program]);
  if (open.some(({ deviceId }) => deviceId === device))
    await new ProgramRecords(connection).setFinalStatistics([{ id: program, statistics: stoppedStatistics(program, last) }]);
}

type StopReport = Extract<Report, { kind: 'program-stopped' }>;
type Attachment = { readonly order: AttachOrder; readonly report: Extract<Report, { kind: 'device-attached' }> };
type Load = { readonly order: LoadOrder; readonly report: Extract<Report, { kind: 'load-completed' }> };

async function applyAttachments(
  connection: Connection,
  { bootId }: Batch,
  attachments: readonly Attachment[],
  at: Date,
): Promise<AuditEntry[]> {
  await new DeviceRecords(connection).setAttached(
    attachments.map(({ order, report }) => ({ id: order.device, attachedBootId: bootId, attachFailure: report.failure })),
  );
  const entries = attachments.map(({ order, report: { failure } }): AuditEntry => {
    return { action: 'device.attached', object: order.device, outcome: outcomeOf(failure), detail: { boot: bootId, failure } };
  });
  const starting = await new ProgramRecords(connection).filterStarting(
    attachments.flatMap(({ order }) => order.programs.map(({ program }) => program)),
  );
  for (const { order, report } of attachments) {
    const { device, modules, programs } = order;
    const { state } = report;
    if (modules.length > 0) await recordRestored(connection, device, modules, state, at);
    const wasStarted = new Set<string>(state.programs.map(({ program }) => program));
    const lost = programs.map(({ program }) => program).filter((program) => !wasStarted.has(program));
    const failure = report.failure ?? 'the device did not take it up again when its host restarted';
    if (lost.length > 0) await new ProgramRecords(connection).setStarted(lost, failure);
    const begun = programs.filter(({ program }) => starting.has(program));
    await new ProgramRecords(connection).setStarted(
      begun.map(({ program }) => program).filter((program) => wasStarted.has(program)),
      null,
    );
    for (const { program } of begun)
      entries.push(programEvent('program.started', { program, device }, { failure: wasStarted.has(program) ? null : failure }));
  }
  return entries;
}

async function applyLoads(connection: Connection, hostId: string, loads: readonly Load[], at: Date): Promise<AuditEntry[]> {
  const requests = await new LoadRecords(connection).requestsOf(loads.map(({ order }) => order.load));
  const hadNotEnded = await new LoadRecords(connection).complete(
    loads.map(({ order, report: { result } }) => {
      const { outcome, reason, interrupted, retried, failed } = result;
      const requestedAt = requests.get(order.load)?.requestedAt ?? at;
      return { id: order.load, requestedAt, outcome, reason, interrupted, retried, failed, completedAt: at, report: result };
    }),
  );
  const reported = loads.map(({ order, report }) => ({ order, report: report.result, request: requests.get(order.load) }));
  const outrun = await findOvertakenLoads(connection, hostId, loads);
  await recordLoaded(
    connection,
    reported.filter(({ order }) => !outrun.has(order.load)),
    at,
  );
  for (const load of reported) if (outrun.has(load.order.load)) await recordOutOfOrder(connection, load, at);
  await resolveConfirmedDrift(connection, reported);
  for (const { order, report } of loads) {
    const isLate = !hadNotEnded.has(order.load);
    if (requests.get(order.load)?.rolloutId != null) await settleReportedLoad(connection, order, { ...report, at, isLate });
  }
  return loads.map(({ order, report }) => {
    const { device, load, module, version } = order;
    const { outcome, reason, interrupted, retried, failed, previous } = report.result;
    const detail = { device, module, version, outcome, reason, previous: previous?.version ?? null, interrupted, retried, failed };
    // What a device did after the load's deadline is in its history; the load's outcome stays.
    const action = hadNotEnded.has(load) ? 'load.completed' : 'load.reported-late';
    return { action, object: load, outcome: auditOutcomeOf(outcome), detail };
  });
}

/**
 * Finds the loads whose versions other loads have replaced, by the newest state of the device, and those loads were reported first.
 * Returns the identifiers of the loads.
 */
async function findOvertakenLoads(connection: Connection, hostId: string, loads: readonly Load[]): Promise<Set<string>> {
  const sequences = await new DeviceRecords(connection).sequencesOf(loads.map(({ order }) => order.device));
  const late = loads.filter(({ order, report: { state, result } }) => {
    return isLoaded(result) && state.sequence !== undefined && state.sequence < (sequences.get(order.device) ?? 0);
  });
  if (late.length === 0) return new Set();
  const devices = late.map(({ order }) => order.device);
  const states = await new DeviceRecords(connection).statesOf(devices, (state) => DeviceState.safeParse(state).data ?? null);
  const unsettled = Map.groupBy(await new OrderRecords(connection).listUnsettled(hostId, devices), ({ deviceId }) => deviceId);
  const newest = await new HistoryRecords(connection).latest(late.map(({ order: { device, module } }) => ({ deviceId: device, module })));
  const outrun = late.filter(({ order: { device, module } }, index) => {
    const last = newest[index];
    // Where the device reported the last version without a load, the load before is what is expected of it.
    if (last === undefined || last.removedAt !== null || last.loadId === null) return false;
    const isLast = (one: { readonly version: string; readonly image: string }) =>
      one.version === last.version && one.image === last.imageDigest;
    if (states.get(device)?.moduleTable.some((entry) => entry.module === module && isLast(entry)) !== true) return false;
    // A load back to the last version may be still to be reported: then this load came after the last version.
    return !(unsettled.get(device) ?? []).map(readOrder).some((other) => {
      return !(other instanceof DamagedItem) && other.kind === 'load' && other.module === module && isLast(other);
    });
  });
  return new Set(outrun.map(({ order }) => order.load));
}

function programEvent(
  action: string,
  { program, device }: Pick<OrderOf<'start-program'>, 'program' | 'device'>,
  { failure }: { readonly failure: string | null },
): AuditEntry {
  return { action, object: program, outcome: outcomeOf(failure), detail: { device, failure } };
}

/** Applies of each device the newest state of the batch; programs that have ended leave their last statistics. Returns the events of what was found. */
async function applyStates(
  connection: Connection,
  batch: Batch,
  answered: readonly ReportedOrder[],
  receivedAt: Date,
): Promise<AuditEntry[]> {
  const newest = newestStates(batch.reports);
  const { hostId, bootId } = batch;
  const kept = await new DeviceRecords(connection).setStates(
    [...newest].map(([id, { state }]) => {
      return { id, hostId, state, stateReportedAt: clampReportedTime(receivedAt, state.at), stateSequence: state.sequence ?? null };
    }),
  );
  const tables = new Map<string, ReportedTable>();
  for (const [device, { state, rejection }] of newest)
    if (kept.has(device)) tables.set(device, { ...state, isWhole: rejection === undefined });
  for (const [device, table] of await overtakenTables(connection, answered, kept)) tables.set(device, table);
  const entries: AuditEntry[] = await correctDrift(connection, hostId, tables, receivedAt);
  const ended = new Map<string, { readonly device: string; readonly statistics: ProgramStatistics }>();
  for (const [device, { state }] of newest) {
    if (!kept.has(device)) continue;
    entries.push(...(await recordViolations(connection, { deviceId: device, bootId, receivedAt }, state.abiViolations.newest)));
    for (const statistics of state.programs) if (statistics.state !== 'running') ended.set(statistics.program, { device, statistics });
  }
  if (ended.size === 0) return entries;
  const open = await new ProgramRecords(connection).filterWithoutStatistics([...ended.keys()]);
  await new ProgramRecords(connection).setFinalStatistics(
    open.flatMap(({ id, deviceId }) => {
      const end = ended.get(id);
      return end?.device === deviceId ? [{ id, statistics: end.statistics }] : [];
    }),
  );
  return entries;
}

/** The report with the newest state of each device: the one with the highest sequence, or the last where a state has none. */
function newestStates(reports: readonly Report[]): Map<string, Report> {
  const newest = new Map<string, Report>();
  for (const report of reports) {
    const { device, state } = report;
    const known = newest.get(device)?.state;
    const isOlder = known?.sequence !== undefined && state.sequence !== undefined && state.sequence < known.sequence;
    if (!isOlder) newest.set(device, report);
  }
  return newest;
}

/**
 * What devices have in memory whose reports of orders came after a newer state: a host that is asked again for what it did long ago reports the
 * state of that time, which is not what the history is to end with.
 */
async function overtakenTables(
  connection: Connection,
  answered: readonly ReportedOrder[],
  kept: ReadonlySet<string>,
): Promise<Map<string, ReportedTable>> {
  const changed = new Set(
    answered.flatMap(({ report: { kind, device } }) => {
      return (kind === 'load-completed' || kind === 'device-attached') && !kept.has(device) ? [device] : [];
    }),
  );
  if (changed.size === 0) return new Map();
  const states = await new DeviceRecords(connection).statesOf([...changed], (state) => DeviceState.safeParse(state).data ?? null);
  // What was kept may lack something that the service rejected.
  return new Map([...states].flatMap(([device, state]) => (state === null ? [] : [[device, { ...state, isWhole: false }] as const])));
}

/** Notes of which devices the service has rejected reports, and which it accepts whole again. */
async function applyRejections(
  connection: Connection,
  { hostId, reports }: Batch,
  answered: readonly ReportedOrder[],
  at: Date,
): Promise<AuditEntry[]> {
  const rejected = reports.filter(({ rejection }) => rejection !== undefined);
  const isRejected = new Set<string>(rejected.map(({ device }) => device));
  await new DeviceRecords(connection).clearRejections(
    answered.flatMap(({ report: { device } }) => (isRejected.has(device) ? [] : [device])),
  );
  if (rejected.length === 0) return [];
  const known = await new DeviceRecords(connection).recordRejections(
    [...new Map(rejected.map(({ device, rejection = '' }) => [device, { id: device, hostId, rejection }])).values()],
    at,
  );
  return rejected.flatMap(({ kind, device, rejection = '' }) => {
    return known.has(device)
      ? [{ action: 'device.report-rejected', object: device, outcome: 'failed' as const, detail: { report: kind, reason: rejection } }]
      : [];
  });
}

const outcomeOf = (failure: string | null) => (failure === null ? 'succeeded' : 'failed');
