// Reattaches the devices of a host after a new boot: they are empty, and get back their modules and programs before any other order.

import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import { isLoadOrder, isLoadOrderKind, type Order } from '../../protocol/agent.ts';
import { DeviceState, type ProgramStatistics } from '../../protocol/device-state.ts';
import { ProgramId } from '../../protocol/identifiers.ts';
import type { Connection } from '../database/connection.ts';
import { DamagedItem, readOrMark } from '../database/damaged-rows.ts';
import { processInSlices } from '../database/slices.ts';
import type { DeviceModuleRecord, DeviceRecord, HostedDevice, NewDevice } from '../devices/repository.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { HistoryRecords } from '../history/repository.ts';
import { decodeCapabilities, type HostRecord } from '../hosts/repository.ts';
import { endLoads } from '../loads/endings.ts';
import { deadlineOfHold } from '../loads/maintenance-holds.ts';
import { LoadRecords } from '../loads/repository.ts';
import { BuildRecords } from '../modules/repository.ts';
import { HeldOrderRecords } from '../orders/held-orders.ts';
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
  const programs = await sortPrograms(connection, await new ProgramRecords(connection).listOpenOnHost(hostId));
  const sorted = new SortedOrders(host, programs, 'reboot');
  for (let after = 0; ; ) {
    const batch = await new OrderRecords(connection).listReissuable(hostId, after, orderBatchSize);
    for (const record of batch) sorted.add(record);
    after = batch.at(-1)?.number ?? after;
    if (batch.length < orderBatchSize) break;
    await yieldToEventLoop();
  }
  await new OrderRecords(connection).removeUnsettled(hostId);
  await endDroppedLoads(connection, sorted.dropped, requester, at);
  await orderAttachments(connection, devices, programs, { requester, at, removalCause: 'reboot' });
  await reissue(connection, sorted.reissued);
}

/** The open programs of devices whose memory is empty: those that ended with it, and those to start again. */
export type SortedPrograms = {
  readonly ended: ReadonlySet<string>;
  readonly running: ReadonlySet<string>;
  readonly runningOn: ReadonlyMap<string, readonly OpenProgram[]>;
};

/** Sorts the open programs of devices, and ends those that an operator has stopped. */
export async function sortPrograms(connection: Connection, open: readonly OpenProgram[]): Promise<SortedPrograms> {
  const ended = await endPrograms(
    connection,
    open.filter(({ started, stopRequested }) => started && stopRequested),
  );
  // Includes programs that have not started: a device that the service wrongly took for an empty one may run them already.
  const needed = open.filter(({ stopRequested }) => !stopRequested);
  return { ended, running: new Set(needed.map(({ id }) => id)), runningOn: Map.groupBy(needed, ({ deviceId }) => deviceId) };
}

/** Orders devices to attach with their modules and programs, and ends the history of their memories before. */
export async function orderAttachments(
  connection: Connection,
  devices: readonly HostedDevice[],
  { runningOn }: Pick<SortedPrograms, 'runningOn'>,
  { requester, at, removalCause }: { readonly requester: Requester; readonly at: Date; readonly removalCause: 'reboot' | 'moved' },
): Promise<void> {
  await processInSlices(devices, async (slice) => {
    const ids = slice.map(({ id }) => id);
    const modules = Map.groupBy(await restorableModules(connection, ids), ({ deviceId }) => deviceId);
    const programIds = ids.flatMap((id) => (runningOn.get(id) ?? []).map((program) => program.id));
    const programs = Map.groupBy(await new ProgramRecords(connection).findMany(programIds), ({ deviceId }) => deviceId);
    await new OrderRecords(connection).create(
      slice.map((device) =>
        newOrder(device, attachOrderContent(device, modules.get(device.id) ?? [], programs.get(device.id) ?? []), requester, at),
      ),
    );
    await new HistoryRecords(connection).endAll(ids, at, removalCause);
    await new DeviceRecords(connection).clearStates(ids);
  });
}

/** Creates orders again under new identifiers and numbers. Their loads are queued again, or held before the held loads of their devices. */
export async function reissue(connection: Connection, orders: readonly ReissuableOrder[]): Promise<void> {
  await processInSlices(orders, async (slice) => {
    const held = await keepSequence(connection, slice);
    await new OrderRecords(connection).create(slice.filter(({ id }) => !held.has(id)).map(reissueOrder));
    await new LoadRecords(connection).setDispatched(
      slice.flatMap(({ loadId }) => loadId ?? []),
      null,
    );
  });
}

/**
 * Holds the orders of loads whose devices have held loads: under a new number, they would follow these. They are due to be released or held further at
 * once. Returns the identifiers of the orders.
 */
async function keepSequence(connection: Connection, orders: readonly ReissuableOrder[]): Promise<ReadonlySet<string>> {
  const loads = orders.filter(({ kind }) => isLoadOrderKind(kind));
  const devices = await new HeldOrderRecords(connection).filterDevices([...new Set(loads.map(({ deviceId }) => deviceId))]);
  const following = loads.flatMap((order) =>
    order.loadId !== null && devices.has(order.deviceId) ? [{ ...order, loadId: order.loadId }] : [],
  );
  if (following.length === 0) return new Set();
  const ids = following.map(({ loadId }) => loadId);
  await new LoadRecords(connection).setDispatched(ids, null);
  const holdable = await new LoadRecords(connection).listHoldable(ids);
  const held = following.flatMap((order) => {
    const request = holdable.get(order.loadId);
    return request === undefined ? [] : [{ ...order, deadlineAt: deadlineOfHold(request, order.createdAt) }];
  });
  await new HeldOrderRecords(connection).add(held.map((order) => ({ ...reissueOrder(order), loadId: order.loadId, number: order.number })));
  await new LoadRecords(connection).setHeld(
    held.map(({ loadId, createdAt, deadlineAt }) => ({ id: loadId, heldSince: createdAt, heldUntil: createdAt, deadlineAt })),
  );
  return new Set(held.map(({ id }) => id));
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

type DroppedLoad = { readonly load: string; readonly device: string; readonly outcome: 'cancelled' | 'failed'; readonly reason: string };

/**
 * Sorts the unsettled orders of devices whose memory is empty. That has ended every drain: orders to inject are dropped, and cancelled loads are not
 * sent again. Loads that the agent of the host does not support are not sent again either.
 */
export class SortedOrders {
  /** The loads that are not executed again. */
  readonly dropped: DroppedLoad[] = [];
  readonly #found: ReissuableOrder[] = [];
  readonly #host: Pick<HostRecord, 'name'>;
  readonly #cause: 'reboot' | 'moved';
  readonly #supported: readonly string[];
  readonly #programs: Pick<SortedPrograms, 'ended' | 'running'>;

  /** @param host The host that gets the orders. */
  constructor(
    { name, capabilities = '' }: Pick<HostRecord, 'name' | 'capabilities'>,
    programs: Pick<SortedPrograms, 'ended' | 'running'>,
    cause: 'reboot' | 'moved',
  ) {
    this.#host = { name };
    this.#cause = cause;
    this.#supported = decodeCapabilities(capabilities);
    this.#programs = programs;
  }

  /** The orders that are still needed. */
  get reissued(): readonly ReissuableOrder[] {
    const loads = new Set<string>(this.dropped.map(({ load }) => load));
    return this.#found.filter(({ loadId }) => loadId === null || !loads.has(loadId));
  }

  /** @param endReason Why the load of the order is not executed again; null if it is. */
  add(record: ReissuableOrder, endReason: string | null = null): void {
    const order = readOrder(record);
    // A damaged order cannot be reissued.
    if (order instanceof DamagedItem || order.kind === 'inject-load') return;
    const { device } = order;
    if (order.kind === 'cancel-load') {
      const reason = `${order.reason}: the ${this.#cause === 'reboot' ? 'host restarted' : 'device was moved'} during the drain`;
      this.dropped.push({ load: order.load, device, outcome: 'cancelled', reason });
    } else if (isLoadOrder(order) && endReason !== null) {
      this.dropped.push({ load: order.load, device, outcome: 'cancelled', reason: endReason });
    } else if (isLoadOrder(order) && order.kind !== 'load' && !this.#supported.includes(order.kind)) {
      const { name } = this.#host;
      const change = this.#cause === 'reboot' ? `host ${name} restarted with` : `the device was moved to host ${name} with`;
      const reason = `${change} an agent that does not support the order ${order.kind}: update it`;
      this.dropped.push({ load: order.load, device, outcome: 'failed', reason });
    } else if (isNeeded(order, this.#programs)) this.#found.push(record);
  }
}

function isNeeded(order: Order, { ended, running }: Pick<SortedPrograms, 'ended' | 'running'>): boolean {
  if (order.kind === 'attach-device' || order.kind === 'detach-device') return false;
  if (order.kind === 'start-program') return !running.has(order.program);
  return !(order.kind === 'stop-program' && ended.has(order.program));
}

/** Ends loads that are not executed again. */
export async function endDroppedLoads(
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
