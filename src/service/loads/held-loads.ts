// Held loads: their orders are kept back while the maintenance windows of their devices are closed, and sent when the windows open.

import { isLoadOrderKind, Order } from '../../protocol/agent.ts';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { RecurringJob } from '../database/recurring-job.ts';
import type { Store } from '../database/store.ts';
import { findClosedWindows } from '../devices/closed-windows.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { GroupRecords } from '../groups/repository.ts';
import { type HeldOrder, HeldOrderRecords } from '../orders/held-orders.ts';
import type { NewOrder, OrderRecord } from '../orders/repository.ts';
import { OrderRecords } from '../orders/repository.ts';
import { systemActor } from '../requester.ts';
import { endLoads, type OnLoadsEnded } from './endings.ts';
import { findHostsWithout, unsupportedReason } from './host-support.ts';
import { deadlineOfHold } from './maintenance-holds.ts';
import { type HeldDevice, LoadRecords } from './repository.ts';

/** How often held loads are checked, in milliseconds. */
const interval = 1_000;
/** How often all held loads are checked, not only those whose windows are due to open, in milliseconds: labels may have changed. */
const sweepInterval = 10_000;
/** Devices whose loads one transaction releases: with 100 open loads each, 5,000 orders. */
const devicesPerTransaction = 50;
/** Devices per query. */
const devicesPerRead = 500;

type Uses = { readonly store: Store; readonly clock: Clock };

export class HeldLoads {
  readonly #uses: Uses;
  readonly #onEnded: OnLoadsEnded;
  /** The windows at the last sweep, and when it began by the monotonic clock. Null: no load was held since then. */
  #swept: { readonly windows: string; readonly at: number } | null = null;

  /** @param onEnded Called in the transaction that ends loads that the hosts of their devices do not support. */
  constructor(uses: Uses, onEnded: OnLoadsEnded) {
    this.#uses = uses;
    this.#onEnded = onEnded;
  }

  /** Starts releasing held loads periodically, on one replica at a time. */
  start(): RecurringJob {
    return this.#uses.store.scheduleJob('maintenance-windows', interval, () => this.release());
  }

  /** Releases the held loads of devices whose maintenance windows are open. */
  async release(): Promise<void> {
    const { store, clock } = this.#uses;
    const connection = store.readConnection;
    const [first] = await new LoadRecords(connection).listHeldDevices('', null, 1);
    if (first === undefined) {
      this.#swept = null;
      return;
    }
    const now = clock.now();
    const due = (await this.#isSweepDue(connection)) ? null : now;
    for (let after = ''; ; ) {
      const devices = await new LoadRecords(connection).listHeldDevices(after, due, devicesPerRead);
      await this.#settle(await findChanged(connection, devices, now), now);
      after = devices.at(-1)?.deviceId ?? after;
      if (devices.length < devicesPerRead) return;
    }
  }

  /** Whether the windows of groups, or possibly labels, have changed since the last sweep. */
  async #isSweepDue(connection: Connection): Promise<boolean> {
    const windows = JSON.stringify(await new GroupRecords(connection).listWithWindows());
    const at = this.#uses.clock.monotonic();
    const isDue = this.#swept === null || this.#swept.windows !== windows || at - this.#swept.at >= sweepInterval;
    if (isDue) this.#swept = { windows, at };
    return isDue;
  }

  /** Releases the loads of devices, or records when their windows open. Checks again in the transaction. */
  async #settle(deviceIds: readonly string[], now: Date): Promise<void> {
    for (let first = 0; first < deviceIds.length; first += devicesPerTransaction) {
      const group = deviceIds.slice(first, first + devicesPerTransaction);
      await this.#uses.store.transaction(async (connection) => {
        const closedOn = await findClosedWindows(connection, group, now);
        const closed = group.flatMap((deviceId): HeldDevice[] => {
          const windows = closedOn(deviceId);
          return windows === null ? [] : [{ deviceId, heldUntil: windows.until }];
        });
        await new LoadRecords(connection).setHeldUntil(closed);
        await releaseLoads(
          connection,
          group.filter((deviceId) => closedOn(deviceId) === null),
          now,
          this.#onEnded,
        );
      });
    }
  }
}

/** Returns the devices whose windows are open, or open at another time than recorded. */
async function findChanged(connection: Connection, devices: readonly HeldDevice[], now: Date): Promise<string[]> {
  const ids = devices.map(({ deviceId }) => deviceId);
  const closedOn = await findClosedWindows(connection, ids, now);
  const changed = devices.filter(({ deviceId, heldUntil }) => {
    const closed = closedOn(deviceId);
    return closed === null || closed.until?.getTime() !== heldUntil?.getTime();
  });
  return [...new Set(changed.map(({ deviceId }) => deviceId))];
}

/** Sends the held orders of devices to their current hosts. Ends the loads that the agents of these hosts do not support. */
async function releaseLoads(connection: Connection, deviceIds: readonly string[], at: Date, onEnded: OnLoadsEnded): Promise<void> {
  const held = await new HeldOrderRecords(connection).take(deviceIds);
  if (held.length === 0) return;
  const hosts = new Map((await new DeviceRecords(connection).hostsOf(deviceIds)).map(({ id, hostId }) => [id, hostId]));
  const placed = held.flatMap((order) => {
    const hostId = hosts.get(order.deviceId);
    return hostId === undefined ? [] : [{ ...order, hostId }];
  });
  const sendable = await endUnsupported(connection, placed, at, onEnded);
  const deadlines = await new LoadRecords(connection).deadlinesOf(sendable.map(({ loadId }) => loadId));
  const released = sendable.map((order) => toReleased(order, deadlines.get(order.loadId), at));
  await new LoadRecords(connection).setReleased(
    released.map(({ order, deadlineAt }) => ({ id: order.loadId, deadlineAt })),
    at,
  );
  await new OrderRecords(connection).create(released.map(({ order }) => order));
  await audit(
    connection,
    systemActor,
    at,
    sendable.map(({ loadId, deviceId }) => ({ action: 'load.released', object: loadId, detail: { device: deviceId } })),
  );
}

type PlacedOrder = HeldOrder & { readonly hostId: string };

/** Ends loads whose orders the agents of their hosts do not know: their devices have moved. Returns the other orders. */
async function endUnsupported(
  connection: Connection,
  orders: readonly PlacedOrder[],
  completedAt: Date,
  onEnded: OnLoadsEnded,
): Promise<PlacedOrder[]> {
  const ended = new Set<PlacedOrder>();
  for (const kind of ['unload-module', 'load-patch-set'] as const) {
    const ofKind = orders.filter((order) => order.kind === kind);
    const unsupported = ofKind.length === 0 ? new Map<string, string>() : await findHostsWithout(connection, ofKind, kind);
    for (const order of ofKind) {
      const host = unsupported.get(order.hostId);
      if (host === undefined) continue;
      ended.add(order);
      const end = { outcome: 'failed', reason: unsupportedReason(host, kind), completedAt };
      await endLoads(connection, [{ id: order.loadId, deviceId: order.deviceId }], end, systemActor, onEnded);
    }
  }
  return orders.filter((order) => !ended.has(order));
}

/**
 * Returns an order to send. It has no more time than when it was requested: the deadlines of the loads of rollouts and assignments allow for the hold.
 * @param deadline The deadline of its load.
 */
function toReleased({ number: _, body, ...order }: PlacedOrder, deadline: Date | undefined, at: Date) {
  const parsed = Order.safeParse(body).data;
  const isTimed = parsed !== undefined && 'deadline' in parsed && parsed.deadline !== null;
  const released = { ...order, createdAt: at };
  if (!isTimed) return { order: { ...released, body: body ?? {} } satisfies NewOrder, deadlineAt: null };
  const remaining = parsed.remainingMilliseconds ?? Number.POSITIVE_INFINITY;
  const deadlineAt = new Date(Math.min((deadline ?? new Date(parsed.deadline ?? '')).getTime(), at.getTime() + remaining));
  return { order: { ...released, body: { ...parsed, deadline: deadlineAt.toISOString() } } satisfies NewOrder, deadlineAt };
}

/**
 * Marks the loads of orders as dispatched that a host is offered. Holds those that the host was not offered before, if the maintenance windows of their
 * devices are closed now, or if earlier loads of their devices are held.
 * @returns The loads that are held: the host must not be offered their orders.
 */
export async function dispatchLoads(connection: Connection, orders: readonly OrderRecord[], at: Date): Promise<ReadonlySet<string>> {
  const loads = orders.flatMap(({ kind, loadId, deviceId }) =>
    isLoadOrderKind(kind) && loadId !== null ? [{ id: loadId, deviceId }] : [],
  );
  const held = await holdClosed(connection, loads, at);
  await new LoadRecords(connection).setDispatched(
    loads.flatMap(({ id }) => (held.has(id) ? [] : [id])),
    at,
  );
  return held;
}

async function holdClosed(
  connection: Connection,
  loads: readonly { readonly id: string; readonly deviceId: string }[],
  at: Date,
): Promise<ReadonlySet<string>> {
  const devices = [...new Set(loads.map(({ deviceId }) => deviceId))];
  const [closedOn, waiting] = await Promise.all([
    findClosedWindows(connection, devices, at),
    new HeldOrderRecords(connection).filterDevices(devices),
  ]);
  const candidates = loads.filter(({ deviceId }) => closedOn(deviceId) !== null || waiting.has(deviceId));
  if (candidates.length === 0) return new Set();
  const holdable = await new LoadRecords(connection).listHoldable(candidates.map(({ id }) => id));
  const held = candidates.flatMap((load) => {
    const request = holdable.get(load.id);
    return request === undefined ? [] : [{ ...load, deadlineAt: deadlineOfHold(request, at) }];
  });
  await new HeldOrderRecords(connection).hold(held.map(({ id }) => id));
  await new LoadRecords(connection).setHeld(
    held.map(({ id, deviceId, deadlineAt }) => {
      const closed = closedOn(deviceId);
      return { id, heldSince: at, heldUntil: closed === null ? at : closed.until, deadlineAt };
    }),
  );
  await audit(
    connection,
    systemActor,
    at,
    held.map(({ id, deviceId }) => {
      const closed = closedOn(deviceId);
      const detail = { device: deviceId, groups: [...(closed?.groups ?? [])], until: closed?.until?.toISOString() ?? null };
      return { action: 'load.held', object: id, detail };
    }),
  );
  return new Set(held.map(({ id }) => id));
}
