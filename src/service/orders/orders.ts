// Making orders for hosts: what a device is asked to do, as the wire protocol has it.

import { Order, type OrderOf } from '../../protocol/agent.ts';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { type DamagedItem, readOrMark } from '../database/damaged-rows.ts';
import type { Requester } from '../requester.ts';
import type { NewOrder, OrderRecord, ReissuableOrder } from './repository.ts';

export type LoadOrder = OrderOf<'load'>;

/** What an order asks for, without its identifier and its number. */
type OrderContent = Record<string, unknown> & { readonly kind: Order['kind'] };

/** An order for one device, to be stored with the change that makes it necessary. */
export function newOrder(
  device: { readonly id: string; readonly hostId: string },
  content: OrderContent,
  { requestId }: Requester,
  createdAt: Date,
): NewOrder {
  const id = newIdentifier('order');
  // The number, given by the database, becomes the sequence.
  const order = Order.parse({ ...content, order: id, device: device.id, sequence: 1, request: requestId === '' ? null : requestId });
  const loadId = order.kind === 'load' ? order.load : null;
  return { id, hostId: device.hostId, deviceId: device.id, kind: order.kind, body: order, loadId, createdAt };
}

/** A stored order as it goes over the wire, or a mark in its place: a damaged one keeps no other from its host. */
export function readOrder(record: Pick<OrderRecord, 'id' | 'body' | 'number'>): Order | DamagedItem {
  return readOrMark(record, record.id, toOrder);
}

/** A stored order as it goes over the wire. @throws {z.ZodError} where the row violates its schema. */
function toOrder(record: Pick<OrderRecord, 'body' | 'number'>): Order {
  return { ...Order.parse(record.body), sequence: record.number };
}

/** A stored order as it is sent now: with what remains of the time for it. */
export function toOfferedOrder(record: OrderRecord, now: Date): Order {
  const order = toOrder(record);
  if (order.kind !== 'load' || order.deadline === null) return order;
  const left = Date.parse(order.deadline) - now.getTime();
  // Never more than it was given: the clock may have been ahead when it was requested.
  const remaining = Math.min(left, order.remainingMilliseconds ?? left);
  return { ...order, remainingMilliseconds: Math.max(0, remaining) };
}

/**
 * A stored order, to be stored again for a device that has come up anew. It has another identifier: what was done under the old one, was done
 * on the device as it was before.
 */
export function reissueOrder(record: ReissuableOrder): NewOrder {
  const { hostId, deviceId, kind, loadId, createdAt } = record;
  const id = newIdentifier('order');
  return { id, hostId, deviceId, kind, loadId, createdAt, body: Order.parse({ ...Order.parse(record.body), order: id }) };
}
