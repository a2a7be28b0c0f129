// What hosts report, applied once each: the loads' outcomes, the devices' states and history, the programs' ends.

import type { Order, OrderOf, Report } from '../protocol/agent.ts';
import type { DeviceState } from '../protocol/device-state.ts';
import type { LoadReport } from '../protocol/load-report.ts';
import type { Records } from '../store/records/records.ts';
import { type AuditEntry, audit, type Requester } from './context.ts';
import { toOrder } from './orders.ts';

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
    open.delete(report.order);
    settled.push(report.order);
    entries.push(...(await applyOrderReport(records, batch, toOrder(record), report, at)));
  }
  await records.orders.settle(settled, at);
  await applyStates(records, batch);
  await audit(records, requester, at, entries);
}

async function applyOrderReport(records: Records, batch: Batch, order: Order, report: OrderReport, at: Date): Promise<AuditEntry[]> {
  switch (report.kind) {
    case 'device-attached':
      await records.devices.setAttached(report.device, batch.bootId, report.failure);
      await records.history.enter(
        report.state.moduleTable.map(({ module, version, image, address }) => ({
          deviceId: report.device,
          module,
          version,
          imageDigest: image,
          loadId: null,
          address,
          pages: pagesAt(report.state, address),
          enteredAt: at,
        })),
      );
      return [{ action: 'device.attached', object: report.device, detail: { boot: batch.bootId, failure: report.failure } }];
    case 'load-completed':
      return order.kind === 'load' ? applyLoad(records, order, report.result, at) : [];
    case 'program-started':
      await records.programs.setStarted(report.program, report.failure);
      return [{ action: 'program.started', object: report.program, detail: { device: report.device, failure: report.failure } }];
    case 'program-stopped':
      return [{ action: 'program.stopped', object: report.program, detail: { device: report.device, failure: report.failure } }];
  }
}

async function applyLoad(records: Records, order: OrderOf<'load'>, result: LoadReport, at: Date): Promise<AuditEntry[]> {
  const { device, load, module } = order;
  const { outcome, reason, interrupted, retried, failed, previous, current } = result;
  await records.loads.complete(load, { outcome, reason, interrupted, retried, failed, completedAt: at, report: result });
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
  if (isLoaded(result) && current !== null) {
    await records.history.leave(
      { deviceIds: [device], module },
      { leftAt: at, leftBy: interrupted > 0 ? 'replaced-interrupting' : 'replaced', interrupted },
    );
    const { version, image, address, pages } = current;
    await records.history.enter([{ deviceId: device, module, version, imageDigest: image, loadId: load, address, pages, enteredAt: at }]);
    await records.devices.setModule({ deviceId: device, module, version, imageDigest: image });
  }
  return [{ action: 'load.completed', object: load, detail }];
}

/** Of each device the newest state of the batch; programs that have ended leave their last statistics. */
async function applyStates(records: Records, batch: Batch): Promise<void> {
  const newest = new Map<string, DeviceState>();
  for (const { device, state } of batch.reports) {
    const known = newest.get(device);
    if (known === undefined || known.at <= state.at) newest.set(device, state);
  }
  for (const [device, state] of newest) await records.devices.setState(device, batch.hostId, state, new Date(state.at));
  const ended = [...newest.values()].flatMap(({ programs }) => programs.filter(({ state }) => state !== 'running'));
  if (ended.length === 0) return;
  const withoutEnd = new Set(await records.programs.withoutEnd(ended.map(({ program }) => program)));
  for (const statistics of ended) if (withoutEnd.has(statistics.program)) await records.programs.setEnd(statistics.program, statistics);
}

function isLoaded({ outcome }: LoadReport): boolean {
  return outcome === 'installed' || outcome === 'replaced' || outcome === 'replaced-interrupting';
}

function pagesAt(state: DeviceState, address: string): number {
  return state.memoryMap.ranges.find((range) => range.address === address)?.pages ?? 0;
}
