// Finds loads that a later load has overtaken: the report of the later load arrived first.

import { isLoadOrder } from '../../protocol/agent.ts';
import { DeviceState } from '../../protocol/device-state.ts';
import type { Connection } from '../database/connection.ts';
import { DamagedItem } from '../database/damaged-rows.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { isApplied, type ReportedChange } from '../history/load-changes.ts';
import { HistoryRecords, type LatestResidency } from '../history/repository.ts';
import { type OrderedModule, orderedModules, readOrder } from '../orders/orders.ts';
import { OrderRecords } from '../orders/repository.ts';

/**
 * Returns the changes whose module has the version, or the absence, of a later change in the newest state of its device.
 * @param sequenceOf Returns the sequence of the state in the report of a change, if it has one.
 */
export async function findOvertaken(
  connection: Connection,
  hostId: string,
  changes: readonly ReportedChange[],
  sequenceOf: (change: ReportedChange) => number | undefined,
): Promise<Set<ReportedChange>> {
  const sequences = await new DeviceRecords(connection).sequencesOf([...new Set(changes.map(({ order }) => order.device))]);
  const late = changes.filter((change) => {
    const sequence = sequenceOf(change);
    return isApplied(change) && sequence !== undefined && sequence < (sequences.get(change.order.device) ?? 0);
  });
  if (late.length === 0) return new Set();
  const devices = [...new Set(late.map(({ order }) => order.device))];
  const states = await new DeviceRecords(connection).statesOf(devices, (state) => DeviceState.safeParse(state).data ?? null);
  const unsettled = Map.groupBy(await new OrderRecords(connection).listUnsettled(hostId, devices), ({ deviceId }) => deviceId);
  const newest = await new HistoryRecords(connection).latest(late.map(({ order, module }) => ({ deviceId: order.device, module })));
  const overtaken = late.filter(({ order: { device }, module }, index) => {
    const last = newest[index];
    const table = states.get(device)?.moduleTable;
    const present = table?.find((entry) => entry.module === module) ?? null;
    if (last === undefined || table === undefined || !isLast(last, present)) return false;
    // If the report of a load that returns to the last version is still missing, this load came after the last version.
    return !(unsettled.get(device) ?? []).map(readOrder).some((other) => {
      if (other instanceof DamagedItem || !isLoadOrder(other)) return false;
      return orderedModules(other).some((ordered) => ordered.module === module && isLast(last, ordered.build));
    });
  });
  return new Set(overtaken);
}

/**
 * Returns whether a version is the one that the history ends with, or null if the history ends with an unload. If the device reported the last version
 * without a load, the load before it decides what is expected.
 */
function isLast({ version, imageDigest, loadId, removedAt, removalCause }: LatestResidency, build: OrderedModule['build']): boolean {
  if (build === null) return removedAt !== null && removalCause === 'unloaded';
  return removedAt === null && loadId !== null && build.version === version && build.image === imageDigest;
}
