// Applies each report of a host once: outcomes of loads, states and history of devices, ends of programs.

import { isLoadOrder, isLoadOrderKind, type LoadOrder, type Order, type OrderOf, type Report } from '../../protocol/agent.ts';
import { DeviceState, type ProgramStatistics } from '../../protocol/device-state.ts';
import type { LoadReport } from '../../protocol/load-report.ts';
import { type AuditEntry, audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { DamagedItem } from '../database/damaged-rows.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { changesOf } from '../history/load-changes.ts';
import { recordLoaded, recordOutOfOrder, recordRestored } from '../history/module-history.ts';
import { auditOutcomeOf } from '../loads/outcomes.ts';
import { LoadRecords } from '../loads/repository.ts';
import { readOrder } from '../orders/orders.ts';
import type { OrderRecord } from '../orders/repository.ts';
import { OrderRecords } from '../orders/repository.ts';
import { ProgramRecords } from '../programs/repository.ts';
import type { Requester } from '../requester.ts';
import { settleReportedLoad } from '../rollouts/settlement.ts';
import { recordViolations } from './abi-violations.ts';
import { correctDrift, type ReportedTable, resolveConfirmedDrift } from './drift.ts';
import { finishMoves } from './moves.ts';
import { findOvertaken } from './overtaken-loads.ts';
import { stoppedStatistics } from './reattach-devices.ts';
import { clampReportedTime } from './reported-times.ts';

type Batch = { readonly hostId: string; readonly bootId: string; readonly reports: readonly Report[] };
type OrderReport = Exclude<Report, { kind: 'device-state' }>;

type AttachOrder = OrderOf<'attach-device'>;
/** An unsettled order of the host, with the report that settles it. */
type ReportedOrder = { readonly record: OrderRecord; readonly order: Order; readonly report: OrderReport };

/** Applies a batch of reports. Ignores reports of orders that are settled already or belong to another host. */
export async function applyReports(connection: Connection, batch: Batch, at: Date, requester: Requester): Promise<void> {
  const reportedOrders = sortByStateSequence(await matchUnsettledOrders(connection, batch));
  const entries: AuditEntry[] = [];
  for (const round of splitIntoRounds(reportedOrders)) entries.push(...(await applyRound(connection, batch, round, { requester, at })));
  await new OrderRecords(connection).settle(
    batch.hostId,
    reportedOrders.map(({ record }) => record.number),
  );
  entries.push(...(await applyStates(connection, batch, reportedOrders, at)));
  entries.push(...(await applyRejections(connection, batch, reportedOrders, at)));
  await audit(connection, requester, at, entries);
}

/** Matches reports with the host's unsettled orders. Ignores later reports of the same order, and reports whose device or kind does not match. */
async function matchUnsettledOrders(connection: Connection, { hostId, reports }: Batch): Promise<ReportedOrder[]> {
  const orderReports = reports.filter((report): report is OrderReport => report.kind !== 'device-state');
  const unsettled = await new OrderRecords(connection).findUnsettled(
    hostId,
    orderReports.map(({ order }) => order),
  );
  const open = new Map(unsettled.map((record) => [record.id, record]));
  return orderReports.flatMap((report) => {
    const record = open.get(report.order);
    if (record === undefined || record.deviceId !== report.device || !settles(report, record)) return [];
    open.delete(report.order);
    const order = readOrder(record);
    // A damaged order cannot be settled; the other reports are applied.
    return order instanceof DamagedItem ? [] : [{ record, order, report }];
  });
}

/** Returns whether a report is of the kind that settles an order. */
function settles({ kind }: OrderReport, order: Pick<OrderRecord, 'kind'>): boolean {
  return kind === 'load-completed' ? isLoadOrderKind(order.kind) : orderKindOf[kind] === order.kind;
}

/** The kind of order that each kind of report settles; the report of a load settles several. */
const orderKindOf = {
  'device-attached': 'attach-device',
  'device-detached': 'detach-device',
  'program-started': 'start-program',
  'program-stopped': 'stop-program',
  'load-injected': 'inject-load',
  'load-cancelled': 'cancel-load',
} as const satisfies Record<Exclude<OrderReport['kind'], 'load-completed'>, Order['kind']>;

/** Sorts the reports of each device by the sequence of their states, if all have one: reports can arrive out of order. */
function sortByStateSequence(reportedOrders: readonly ReportedOrder[]): ReportedOrder[] {
  const groups = Map.groupBy(reportedOrders, ({ report }) => report.device);
  return [...groups.values()].flatMap((reports) => {
    const numbered = reports.flatMap((reported) => {
      const { sequence } = reported.report.state;
      return sequence === undefined ? [] : [{ reported, sequence }];
    });
    if (numbered.length < reports.length) return reports;
    return numbered.toSorted((left, right) => left.sequence - right.sequence).map(({ reported }) => reported);
  });
}

/** Splits reports into rounds, so that a round has at most one report of each device and the reports of a device keep their order. */
function splitIntoRounds(reportedOrders: readonly ReportedOrder[]): ReportedOrder[][] {
  const rounds: ReportedOrder[][] = [];
  const counts = new Map<string, number>();
  for (const reported of reportedOrders) {
    const index = counts.get(reported.report.device) ?? 0;
    counts.set(reported.report.device, index + 1);
    const round = rounds[index];
    if (round === undefined) rounds.push([reported]);
    else round.push(reported);
  }
  return rounds;
}

/** @param reportedOrders Reports of different devices. */
async function applyRound(
  connection: Connection,
  batch: Batch,
  reportedOrders: readonly ReportedOrder[],
  { requester, at }: { readonly requester: Requester; readonly at: Date },
): Promise<AuditEntry[]> {
  const loads: Load[] = [];
  const attachments: Attachment[] = [];
  const detachedBy = new Map<string, number>();
  const entries: AuditEntry[] = [];
  for (const { record, order, report } of reportedOrders) {
    if (isLoadOrder(order) && report.kind === 'load-completed') loads.push({ order, report });
    else if (order.kind === 'attach-device' && report.kind === 'device-attached') attachments.push({ order, report });
    else if (order.kind === 'detach-device' && report.kind === 'device-detached') {
      const { device } = order;
      if (report.failure === null) detachedBy.set(device, record.number);
      const detail = { host: batch.hostId, failure: report.failure };
      entries.push({ action: 'device.detached', object: device, outcome: outcomeOf(report.failure), detail });
    } else if (order.kind === 'start-program' && report.kind === 'program-started') {
      await new ProgramRecords(connection).setStarted([order.program], report.failure);
      entries.push(programEvent('program.started', order, report));
    } else if (order.kind === 'stop-program' && report.kind === 'program-stopped') {
      await endStoppedProgram(connection, order, report);
      entries.push(programEvent('program.stopped', order, report));
    } else if (order.kind === 'inject-load' && report.kind === 'load-injected') entries.push(drainEvent('load.injected', order, report));
    else if (order.kind === 'cancel-load' && report.kind === 'load-cancelled') entries.push(drainEvent('load.cancelled', order, report));
  }
  const leaving = (await new DeviceRecords(connection).findMovable([...detachedBy.keys()])).filter(
    ({ hostId, movingTo }) => hostId === batch.hostId && movingTo !== null,
  );
  await finishMoves(connection, leaving, { kind: 'detached', orderOf: detachedBy }, { requester, at });
  entries.push(...(await applyAttachments(connection, batch, attachments, at)));
  entries.push(...(await applyLoads(connection, batch.hostId, loads, at)));
  return entries;
}

/**
 * Ends a program that its device has stopped. It does not wait for a later state: the device may have taken that state before the program stopped.
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
    const failure = report.failure ?? 'the device did not start the program again after its host restarted';
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
  const completedNow = await new LoadRecords(connection).complete(
    loads.map(({ order, report: { result } }) => {
      const { outcome, reason, interrupted, retried, failed } = result;
      const requestedAt = requests.get(order.load)?.requestedAt ?? at;
      return { id: order.load, requestedAt, outcome, reason, interrupted, retried, failed, completedAt: at, report: result };
    }),
  );
  const reported = loads.map(({ order, report }) => ({ order, report: report.result, request: requests.get(order.load) }));
  const changes = reported.flatMap(changesOf);
  const sequences = new Map(loads.map(({ order, report }) => [order.load, report.state.sequence]));
  const overtaken = await findOvertaken(connection, hostId, changes, ({ order }) => sequences.get(order.load));
  await recordLoaded(
    connection,
    changes.filter((change) => !overtaken.has(change)),
    at,
  );
  for (const change of overtaken) await recordOutOfOrder(connection, change, at);
  await resolveConfirmedDrift(connection, changes);
  for (const { order, report } of loads) {
    const isLate = !completedNow.has(order.load);
    if (order.kind !== 'unload-module' && requests.get(order.load)?.rolloutId != null)
      await settleReportedLoad(connection, order, { ...report, at, isLate });
  }
  return loads.map(({ order, report }) => {
    const { device, load } = order;
    const { outcome, reason, interrupted, retried, failed, previous } = report.result;
    const ends = { outcome, reason, previous: previous?.version ?? null, interrupted, retried, failed };
    const detail = { device, ...describeContent(order, report.result), ...ends };
    // The history records what the device did after the deadline; the outcome of the load does not change.
    const action = completedNow.has(load) ? 'load.completed' : 'load.reported-late';
    return { action, object: load, outcome: auditOutcomeOf(outcome), detail };
  });
}

/** Returns what a load was to change, for the audit trail. */
function describeContent(order: LoadOrder, { previous }: LoadReport): AuditEntry['detail'] {
  switch (order.kind) {
    case 'load':
      return { kind: 'build', module: order.module, version: order.version };
    case 'unload-module':
      return { kind: 'unload', module: order.module, version: previous?.version ?? null };
    case 'load-patch-set':
      return { kind: 'patch-set', module: order.patchSet.name, version: order.patchSet.version };
  }
}

function programEvent(
  action: string,
  { program, device }: Pick<OrderOf<'start-program'>, 'program' | 'device'>,
  { failure }: { readonly failure: string | null },
): AuditEntry {
  return { action, object: program, outcome: outcomeOf(failure), detail: { device, failure } };
}

/** The event of an order that ended a drain early, or came too late. */
function drainEvent(
  action: string,
  { load, device }: OrderOf<'inject-load' | 'cancel-load'>,
  { failure }: { readonly failure: string | null },
): AuditEntry {
  return { action, object: load, outcome: outcomeOf(failure), detail: { device, failure } };
}

/** Records the loads that have begun to drain, by the states that were stored. Returns an audit event for each. */
async function recordDrains(connection: Connection, states: ReadonlyMap<string, DeviceState>, receivedAt: Date): Promise<AuditEntry[]> {
  const drains = [...states].flatMap(([deviceId, { draining }]) => {
    if (draining === undefined) return [];
    const drainingSince = new Date(receivedAt.getTime() - draining.waitedMilliseconds);
    return [{ id: draining.load, deviceId, drainingSince, draining }];
  });
  if (drains.length === 0) return [];
  const begun = await new LoadRecords(connection).setDraining(drains);
  return drains
    .filter(({ id }) => begun.has(id))
    .map(({ id, deviceId, draining: { module, previousVersion, accesses } }) => {
      return { action: 'load.draining', object: id, detail: { device: deviceId, module, previousVersion, accesses } };
    });
}

/**
 * Applies the newest state of each device in the batch: stores it, corrects drift, records ABI violations and ends programs.
 * @returns The audit events of drift and ABI violations.
 */
async function applyStates(
  connection: Connection,
  batch: Batch,
  reportedOrders: readonly ReportedOrder[],
  receivedAt: Date,
): Promise<AuditEntry[]> {
  const newest = newestStates(batch.reports);
  const { hostId, bootId } = batch;
  const storedDevices = await new DeviceRecords(connection).setStates(
    [...newest].map(([id, { state }]) => {
      return { id, hostId, state, stateReportedAt: clampReportedTime(receivedAt, state.at), stateSequence: state.sequence ?? null };
    }),
  );
  const tables = new Map<string, ReportedTable>();
  for (const [device, { state, rejection }] of newest)
    if (storedDevices.has(device)) tables.set(device, { ...state, isComplete: rejection === undefined });
  for (const [device, table] of await overtakenTables(connection, reportedOrders, storedDevices)) tables.set(device, table);
  const entries: AuditEntry[] = await correctDrift(connection, hostId, tables, receivedAt);
  const stored = new Map([...newest].flatMap(([device, { state }]) => (storedDevices.has(device) ? [[device, state] as const] : [])));
  entries.push(...(await recordDrains(connection, stored, receivedAt)));
  const ended = new Map<string, { readonly device: string; readonly statistics: ProgramStatistics }>();
  for (const [device, { state }] of newest) {
    if (!storedDevices.has(device)) continue;
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

/** Returns the report with the newest state of each device: the highest sequence, or the last report if a state has no sequence. */
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
 * Returns the stored module tables of devices whose reports of orders have an older state. A host that repeats an old report sends the state of that
 * time, and the history must end with the newer one.
 */
async function overtakenTables(
  connection: Connection,
  reportedOrders: readonly ReportedOrder[],
  storedDevices: ReadonlySet<string>,
): Promise<Map<string, ReportedTable>> {
  const changed = new Set(
    reportedOrders.flatMap(({ report: { kind, device } }) => {
      return (kind === 'load-completed' || kind === 'device-attached') && !storedDevices.has(device) ? [device] : [];
    }),
  );
  if (changed.size === 0) return new Map();
  const states = await new DeviceRecords(connection).statesOf([...changed], (state) => DeviceState.safeParse(state).data ?? null);
  // The stored state can lack parts that the service rejected.
  return new Map([...states].flatMap(([device, state]) => (state === null ? [] : [[device, { ...state, isComplete: false }] as const])));
}

/** Records devices with rejected reports, and clears the record of devices whose reports are complete again. Returns the audit events. */
async function applyRejections(
  connection: Connection,
  { hostId, reports }: Batch,
  reportedOrders: readonly ReportedOrder[],
  at: Date,
): Promise<AuditEntry[]> {
  const rejected = reports.filter(({ rejection }) => rejection !== undefined);
  const isRejected = new Set<string>(rejected.map(({ device }) => device));
  await new DeviceRecords(connection).clearRejections(
    reportedOrders.flatMap(({ report: { device } }) => (isRejected.has(device) ? [] : [device])),
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
