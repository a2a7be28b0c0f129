// Reattaches the devices of a host after a new boot: they are empty, and get back their modules and programs before any other order.

import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import { isLoadOrder, type Order } from '../../protocol/agent.ts';
import { DeviceState, type ProgramStatistics } from '../../protocol/device-state.ts';
import { ProgramId } from '../../protocol/identifiers.ts';
import type { Connection } from '../database/connection.ts';
import { DamagedItem, readOrMark } from '../database/damaged-rows.ts';
import { processInSlices } from '../database/slices.ts';
import type { DeviceModuleRecord, DeviceRecord, NewDevice } from '../devices/repository.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { HistoryRecords } from '../history/repository.ts';
import { decodeCapabilities, type HostRecord } from '../hosts/repository.ts';
import { endLoads } from '../loads/endings.ts';
import { LoadRecords } from '../loads/repository.ts';
import { BuildRecords } from '../modules/repository.ts';
import { newOrder, readOrder, reissueOrder } from '../orders/orders.ts';
import type { ReissuableOrder } from '../orders/repository.ts';
import { OrderRecords } from '../orders/repository.ts';
import { toProgramOrder } from '../programs/program-order.ts';
import type { OpenProgram, ProgramRecord } from '../programs/repository.ts';
import { ProgramRecords } from '../programs/repository.ts';
import type { Requester } from '../requester.ts';
import { settleUnreportedLoads } from '../rollouts/settlement.ts';

/** Orders read per query. */
const orderBatchSize = 500;

/**
 * Orders every device of a host to reattach with its modules and programs, including programs that have not started yet. Reissues the other
 * unsettled orders after that, under new numbers.
 */
export async function reattachDevices(connection: Connection, host: HostRecord, requester: Requester, at: Date): Promise<void> {
  const hostId = host.id;
  const devices = await new DeviceRecords(connection).listOnHost(hostId);
  const open = await new ProgramRecords(connection).listOpenOnHost(hostId);
  const ended = await endPrograms(
    connection,
    open.filter(({ started, stopRequested }) => started && stopRequested),
  );
  // Includes programs that have not started: a device that the service wrongly took for an empty one may run them already.
  const needed = open.filter(({ stopRequested }) => !stopRequested);
  const running = Map.groupBy(needed, ({ deviceId }) => deviceId);
  const { reissued, dropped } = await ordersAfterReboot(connection, host, { ended, running: new Set(needed.map(({ id }) => id)) });
  await new OrderRecords(connection).removeUnsettled(hostId);
  await endDroppedLoads(connection, dropped, requester, at);
  await processInSlices(devices, async (slice) => {
    const ids = slice.map(({ id }) => id);
    const modules = Map.groupBy(await restorableModules(connection, ids), ({ deviceId }) => deviceId);
    const programIds = ids.flatMap((id) => (running.get(id) ?? []).map((program) => program.id));
    const programs = Map.groupBy(await new ProgramRecords(connection).findMany(programIds), ({ deviceId }) => deviceId);
    await new OrderRecords(connection).create(
      slice.map((device) =>
        newOrder(device, attachOrderContent(device, modules.get(device.id) ?? [], programs.get(device.id) ?? []), requester, at),
      ),
    );
    await new HistoryRecords(connection).endAll(ids, at, 'reboot');
    await new DeviceRecords(connection).clearStates(ids);
  });
  await processInSlices(reissued, async (slice) => {
    await new OrderRecords(connection).create(slice.map(reissueOrder));
    await new LoadRecords(connection).setDispatched(
      slice.flatMap(({ loadId }) => loadId ?? []),
      null,
    );
  });
}

/**
 * Returns the modules to restore. Leaves out an unexpected module if the service does not have its image, as after a restored backup: the device
 * cannot download the image.
 */
async function restorableModules(connection: Connection, deviceIds: readonly string[]): Promise<DeviceModuleRecord[]> {
  const modules = await new DeviceRecords(connection).modulesOf(deviceIds);
  const isUnexpected = ({ hasDrifted, driftedFrom }: DeviceModuleRecord) => hasDrifted && driftedFrom === null;
  const missing = new Set<string>();
  for (const image of new Set(modules.filter(isUnexpected).map(({ imageDigest }) => imageDigest)))
    if ((await new BuildRecords(connection).findByImageDigest(image)) === null) missing.add(image);
  return modules.filter((module) => !(isUnexpected(module) && missing.has(module.imageDigest)));
}

type OrdersAfterReboot = {
  /** The unsettled orders that are still needed. */
  readonly reissued: readonly ReissuableOrder[];
  /** The loads that are not executed again. */
  readonly dropped: readonly DroppedLoad[];
};

type DroppedLoad = { readonly load: string; readonly device: string; readonly outcome: 'cancelled' | 'failed'; readonly reason: string };

/**
 * Sorts the unsettled orders. The reboot has ended every drain: orders to inject are dropped, and cancelled loads are not sent again. Loads that the
 * agent no longer supports, because an older one has started, are not sent again either.
 * @param programs `ended`: programs that stopped with the device, which need no stop order. `running`: programs that start with the attach order.
 */
async function ordersAfterReboot(
  connection: Connection,
  { id: hostId, name, capabilities = '' }: HostRecord,
  programs: { readonly ended: ReadonlySet<string>; readonly running: ReadonlySet<string> },
): Promise<OrdersAfterReboot> {
  const found: ReissuableOrder[] = [];
  const dropped: DroppedLoad[] = [];
  const supported = decodeCapabilities(capabilities);
  for (let after = 0; ; ) {
    const batch = await new OrderRecords(connection).listReissuable(hostId, after, orderBatchSize);
    for (const record of batch) {
      const order = readOrder(record);
      // A damaged order cannot be reissued.
      if (order instanceof DamagedItem || order.kind === 'inject-load') continue;
      const { device } = order;
      if (order.kind === 'cancel-load')
        dropped.push({ load: order.load, device, outcome: 'cancelled', reason: `${order.reason}: the host restarted during the drain` });
      else if (isLoadOrder(order) && order.kind !== 'load' && !supported.includes(order.kind)) {
        const reason = `host ${name} restarted with an agent that does not support the order ${order.kind}: update it`;
        dropped.push({ load: order.load, device, outcome: 'failed', reason });
      } else if (isNeededAfterReboot(order, programs)) found.push(record);
    }
    after = batch.at(-1)?.number ?? after;
    if (batch.length < orderBatchSize) break;
    await yieldToEventLoop();
  }
  const loads = new Set<string>(dropped.map(({ load }) => load));
  return { reissued: found.filter(({ loadId }) => loadId === null || !loads.has(loadId)), dropped };
}

function isNeededAfterReboot(
  order: Order,
  { ended, running }: { readonly ended: ReadonlySet<string>; readonly running: ReadonlySet<string> },
): boolean {
  if (order.kind === 'start-program') return !running.has(order.program);
  return !(order.kind === 'stop-program' && ended.has(order.program));
}

/** Ends loads that are not executed again after their host restarted. */
async function endDroppedLoads(
  connection: Connection,
  dropped: readonly DroppedLoad[],
  requester: Requester,
  completedAt: Date,
): Promise<void> {
  for (const { load, device, outcome, reason } of dropped)
    await endLoads(connection, [{ id: load, deviceId: device }], { outcome, reason, completedAt }, requester, settleUnreportedLoads);
}

/** Returns the content of an order to attach a device with the given modules and programs. */
function attachOrderContent(
  device: Pick<DeviceRecord, 'name' | 'ramPages'>,
  modules: readonly DeviceModuleRecord[],
  programs: readonly ProgramRecord[],
): { kind: 'attach-device' } & Record<string, unknown> {
  return {
    kind: 'attach-device',
    name: device.name,
    ramPages: device.ramPages,
    modules: modules.map(({ module, version, imageDigest }) => ({ module, version, image: imageDigest })),
    programs: programs.map((program) => readOrMark(program, program.id, toProgramOrder)).filter((order) => !(order instanceof DamagedItem)),
  };
}

/** Orders new devices to attach, empty. */
export async function attachNewDevices(
  connection: Connection,
  devices: readonly NewDevice[],
  requester: Requester,
  at: Date,
): Promise<void> {
  await new OrderRecords(connection).create(devices.map((device) => newOrder(device, attachOrderContent(device, [], []), requester, at)));
}

/**
 * Ends programs that no longer run, because their host restarted or their device is decommissioned. Stores the statistics that the device last
 * reported.
 * @returns The identifiers of the programs.
 */
export async function endPrograms(connection: Connection, ended: readonly OpenProgram[]): Promise<Set<string>> {
  const deviceIds = [...new Set(ended.map(({ deviceId }) => deviceId))];
  const states = await new DeviceRecords(connection).statesOf(deviceIds, (state) => DeviceState.safeParse(state).data ?? null);
  await new ProgramRecords(connection).setFinalStatistics(
    ended.map(({ id, deviceId }) => {
      const last = states.get(deviceId)?.programs.find(({ program }) => program === id);
      return { id, statistics: stoppedStatistics(id, last) };
    }),
  );
  return new Set(ended.map(({ id }) => id));
}

/** Returns the final statistics of a stopped program. @param last The statistics that its device last reported. */
export function stoppedStatistics(program: string, last: ProgramStatistics | undefined): ProgramStatistics {
  if (last !== undefined && last.state !== 'running') return last;
  return { ...(last ?? emptyStatistics), program: ProgramId.parse(program), state: 'stopped', threads: 0 };
}

const emptyStatistics: Omit<ProgramStatistics, 'program' | 'state' | 'threads'> = {
  callsCompleted: 0,
  callsFailed: 0,
  faults: 0,
  accessesInterrupted: 0,
  accessesRetried: 0,
  effects: 0,
  lastFailure: null,
  lastResult: null,
  versions: [],
};
