// What hosts report, applied once each: the loads' outcomes, the devices' states and history, the programs' ends.

import type { Order, OrderOf, Report } from '../protocol/agent.ts';
import type { DeviceState, ProgramStatistics } from '../protocol/device-state.ts';
import type { Records } from '../store/records/records.ts';
import { applyViolations } from './abi-violations.ts';
import { type AuditEntry, audit, type Requester } from './context.ts';
import { auditOutcomeOf } from './load-outcomes.ts';
import { toOrder } from './orders.ts';
import { settleReported } from './rollouts/settlement.ts';
import { keepLoaded, keepPutBack } from './stays.ts';

type Batch = { readonly hostId: string; readonly bootId: string; readonly reports: readonly Report[] };
type OrderReport = Exclude<Report, { kind: 'device-state' }>;

/** Applies a batch of reports; one whose order is settled, or another host's, has been applied or is not the host's to make. */
export async function applyReports(records: Records, batch: Batch, requester: Requester): Promise<void> {
  const at = new Date();
  const orderReports = batch.reports.filter((report): report is OrderReport => report.kind !== 'device-state');
  const unsettled = await records.orders.findUnsettled(
    batch.hostId,
    orderReports.map(({ order }) => order),
  );
  const open = new Map(unsettled.map((order) => [order.id, order]));
  const settled: string[] = [];
  const entries: AuditEntry[] = [];
  for (const report of orderReports) {
    const record = open.get(report.order);
    if (record === undefined || record.deviceId !== report.device) continue;
    const applied = await applyOrderReport(records, batch, toOrder(record), report, at);
    if (applied === null) continue;
    open.delete(report.order);
    settled.push(report.order);
    entries.push(...applied);
  }
  await records.orders.settle(settled, at);
  entries.push(...(await applyStates(records, batch)));
  await audit(records, requester, at, entries);
}

/** Null where the report is of another kind than the order: then nothing is known of what came of the order, and it stays unsettled. */
async function applyOrderReport(records: Records, batch: Batch, order: Order, report: OrderReport, at: Date): Promise<AuditEntry[] | null> {
  switch (report.kind) {
    case 'device-attached':
      return order.kind === 'attach-device' ? applyAttachment(records, batch, order, report, at) : null;
    case 'load-completed':
      return order.kind === 'load' ? applyLoad(records, order, report, at) : null;
    case 'program-started':
      if (order.kind !== 'start-program') return null;
      await records.programs.setStarted([order.program], report.failure);
      return [
        {
          action: 'program.started',
          object: order.program,
          outcome: outcomeOf(report.failure),
          detail: { device: order.device, failure: report.failure },
        },
      ];
    case 'program-stopped':
      if (order.kind !== 'stop-program') return null;
      return [
        {
          action: 'program.stopped',
          object: order.program,
          outcome: outcomeOf(report.failure),
          detail: { device: order.device, failure: report.failure },
        },
      ];
  }
}

async function applyAttachment(
  records: Records,
  batch: Batch,
  { device, modules, programs }: OrderOf<'attach-device'>,
  { state, failure }: Extract<Report, { kind: 'device-attached' }>,
  at: Date,
): Promise<AuditEntry[]> {
  await records.devices.setAttached(device, batch.bootId, failure);
  await keepPutBack(records, device, modules, state, at);
  const isThere = new Set<string>(state.programs.map(({ program }) => program));
  const lost = programs.map(({ program }) => program).filter((program) => !isThere.has(program));
  if (lost.length > 0) await records.programs.setStarted(lost, failure ?? 'the device did not take it up again when its host restarted');
  return [{ action: 'device.attached', object: device, outcome: outcomeOf(failure), detail: { boot: batch.bootId, failure } }];
}

async function applyLoad(
  records: Records,
  order: OrderOf<'load'>,
  { result, state }: Extract<Report, { kind: 'load-completed' }>,
  at: Date,
): Promise<AuditEntry[]> {
  const { device, load, module } = order;
  const { outcome, reason, interrupted, retried, failed, previous } = result;
  const { hadNotEnded, rolloutId } = await records.loads.complete(load, {
    outcome,
    reason,
    interrupted,
    retried,
    failed,
    completedAt: at,
    report: result,
  });
  const detail = {
    device,
    module,
    version: order.version,
    outcome,
    reason,
    previous: previous?.version ?? null,
    interrupted,
    retried,
    failed,
  };
  await keepLoaded(records, order, result, at);
  if (rolloutId !== null) await settleReported(records, order, { result, state, at, isLate: !hadNotEnded });
  // What a device did after the load's deadline is in its history; the load's outcome stays.
  return [{ action: hadNotEnded ? 'load.completed' : 'load.reported-late', object: load, outcome: auditOutcomeOf(outcome), detail }];
}

/** Of each device the newest state of the batch; programs that have ended leave their last statistics. Answers the events of what was found. */
async function applyStates(records: Records, batch: Batch): Promise<AuditEntry[]> {
  const newest = new Map<string, DeviceState>();
  for (const { device, state } of batch.reports) {
    const known = newest.get(device);
    if (known === undefined || known.at <= state.at) newest.set(device, state);
  }
  const entries: AuditEntry[] = [];
  const ended = new Map<string, { readonly device: string; readonly statistics: ProgramStatistics }>();
  for (const [device, state] of newest) {
    if (!(await records.devices.setState(device, batch.hostId, state, new Date(state.at)))) continue;
    entries.push(...(await applyViolations(records, { deviceId: device, bootId: batch.bootId }, state.abiViolations.newest)));
    for (const statistics of state.programs) if (statistics.state !== 'running') ended.set(statistics.program, { device, statistics });
  }
  if (ended.size === 0) return entries;
  for (const { id, deviceId } of await records.programs.withoutEnd([...ended.keys()])) {
    const end = ended.get(id);
    if (end?.device === deviceId) await records.programs.setEnd(id, end.statistics);
  }
  return entries;
}

const outcomeOf = (failure: string | null) => (failure === null ? 'succeeded' : 'failed');
