// Places devices on another host: their modules, programs and queued orders follow, and the host before drops them.

import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import type { MovableDevice } from '../devices/repository.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { decodeCapabilities, type HostRecord, HostRecords } from '../hosts/repository.ts';
import { LoadRecords } from '../loads/repository.ts';
import { newOrder } from '../orders/orders.ts';
import { OrderRecords } from '../orders/repository.ts';
import { ProgramRecords } from '../programs/repository.ts';
import type { Requester } from '../requester.ts';
import { endDroppedLoads, orderAttachments, reissue, SortedOrders, sortPrograms } from './reattach-devices.ts';

/** Whether the host before has dropped the devices: `detached` by an order, which has a number for each device, or by a `reboot`. */
export type Release =
  | { readonly kind: 'detached'; readonly orderOf: ReadonlyMap<string, number> }
  | { readonly kind: 'reboot' }
  | { readonly kind: 'unreachable' };

type Act = { readonly requester: Requester; readonly at: Date };

/** Places devices on the hosts that they move to. Devices whose target was decommissioned since attach again where they were. */
export async function finishMoves(connection: Connection, moving: readonly MovableDevice[], release: Release, act: Act): Promise<void> {
  for (const [hostId, leaving] of Map.groupBy(moving, (device) => device.hostId)) {
    const source = await new HostRecords(connection).find(hostId);
    if (source === null) continue;
    for (const [targetId, devices] of Map.groupBy(leaving, ({ movingTo }) => movingTo ?? hostId)) {
      const found = await new HostRecords(connection).find(targetId);
      const target = found === null || found.decommissionedAt !== null ? source : found;
      await placeDevices(connection, devices, { source, target }, release, act);
    }
  }
}

/** Places devices of one host on another. Returns the number of loads that ended. */
export async function placeDevices(
  connection: Connection,
  devices: readonly MovableDevice[],
  { source, target }: { readonly source: HostRecord; readonly target: HostRecord },
  release: Release,
  { requester, at }: Act,
): Promise<number> {
  const ids = devices.map(({ id }) => id);
  const programs = await sortPrograms(connection, await new ProgramRecords(connection).listOpenOn(ids));
  const orders = await new OrderRecords(connection).listReissuableOf(source.id, ids);
  const dispatched = await new LoadRecords(connection).filterDispatched(orders.flatMap(({ loadId }) => loadId ?? []));
  const sorted = new SortedOrders(target, programs, 'moved');
  const endReason = `the device was moved to host ${target.name} after the load had been sent to host ${source.name}`;
  for (const order of orders) {
    // The device was dropped before the host got this order: the host has not run the load.
    const isLater = release.kind === 'detached' && order.number > (release.orderOf.get(order.deviceId) ?? Number.POSITIVE_INFINITY);
    const wasSent = order.loadId !== null && dispatched.has(order.loadId) && !isLater;
    sorted.add(order, wasSent ? endReason : null);
  }
  await new OrderRecords(connection).removeOfDevices(source.id, ids);
  await endDroppedLoads(connection, sorted.dropped, requester, at);
  await new DeviceRecords(connection).place(devices, target.id);
  const placed = devices.map((device) => ({ ...device, hostId: target.id }));
  await orderAttachments(connection, placed, programs, { requester, at, removalCause: 'moved' });
  await reissue(
    connection,
    sorted.reissued.map((order) => ({ ...order, hostId: target.id })),
  );
  // The host before may return in the same boot, with the devices in memory.
  if (release.kind === 'unreachable') await orderDetachments(connection, devices, source, { requester, at });
  for (const { id, moveReason, moveRequestedBy } of devices) {
    const actor = moveRequestedBy ?? requester.actor;
    const detail = { from: source.id, to: target.id, reason: moveReason, source: release.kind };
    await audit(connection, { actor, requestId: requester.requestId }, at, [{ action: 'device.moved', object: id, detail }]);
  }
  return sorted.dropped.length;
}

/** Orders a host to drop devices. Does nothing if its agent does not support the order. */
export async function orderDetachments(
  connection: Connection,
  devices: readonly { readonly id: string }[],
  host: Pick<HostRecord, 'id' | 'capabilities'>,
  { requester, at }: Act,
): Promise<void> {
  if (!decodeCapabilities(host.capabilities ?? '').includes('detach-device')) return;
  await new OrderRecords(connection).create(
    devices.map(({ id }) => newOrder({ id, hostId: host.id }, { kind: 'detach-device' }, requester, at)),
  );
}
