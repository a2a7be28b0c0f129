// Creates and reads orders in the form of the wire protocol.

import { isLoadOrder, type LoadOrder, Order } from '../../protocol/agent.ts';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { type DamagedItem, readOrMark } from '../database/damaged-rows.ts';
import type { Requester } from '../requester.ts';
import type { NewOrder, OrderRecord, ReissuableOrder } from './repository.ts';

/** A module that a load changes, and the build that it loads. Null: it unloads the module. */
export type OrderedModule = { readonly module: string; readonly build: { readonly version: string; readonly image: string } | null };

/** The content of an order, without identifier and number. */
type OrderContent = Record<string, unknown> & { readonly kind: Order['kind'] };

/** Creates an order for one device, to store in the transaction of the change that needs it. */
export function newOrder(
  device: { readonly id: string; readonly hostId: string },
  content: OrderContent,
  { requestId, traceparent }: Requester,
  createdAt: Date,
): NewOrder {
  const id = newIdentifier('order');
  // The sequence is replaced by the number that the database assigns.
  const origin = { request: requestId === '' ? null : requestId, ...(traceparent === undefined ? {} : { traceparent }) };
  const order = Order.parse({ ...content, ...origin, order: id, device: device.id, sequence: 1 });
  const loadId = 'load' in order ? order.load : null;
  return { id, hostId: device.hostId, deviceId: device.id, kind: order.kind, body: order, loadId, createdAt };
}

/** Returns a stored order in the form of the wire protocol, or a mark if its row is damaged. */
export function readOrder(record: Pick<OrderRecord, 'id' | 'body' | 'number'>): Order | DamagedItem {
  return readOrMark(record, record.id, toOrder);
}

/** Returns a stored order in the form of the wire protocol. @throws {z.ZodError} if the row violates the schema. */
function toOrder(record: Pick<OrderRecord, 'body' | 'number'>): Order {
  return { ...Order.parse(record.body), sequence: record.number };
}

/** Returns the modules that a load changes. */
export function orderedModules(order: LoadOrder): OrderedModule[] {
  switch (order.kind) {
    case 'load':
      return [{ module: order.module, build: order }];
    case 'unload-module':
      return [{ module: order.module, build: null }];
    case 'load-patch-set':
      return order.members.map((member) => ({ module: member.module, build: member.action === 'load' ? member : null }));
  }
}

/** Returns a stored order to send now, with the remaining time until its deadline. */
export function toOfferedOrder(record: OrderRecord, now: Date): Order {
  const order = toOrder(record);
  if (!isLoadOrder(order) || order.deadline === null) return order;
  const millisecondsLeft = Date.parse(order.deadline) - now.getTime();
  // Never more than the original time: the clock may have been ahead at the request.
  const remaining = Math.min(millisecondsLeft, order.remainingMilliseconds ?? millisecondsLeft);
  return { ...order, remainingMilliseconds: Math.max(0, remaining) };
}

/**
 * Returns a stored order with a new identifier, for a device that attaches again. Reports of the old identifier concern the device before that.
 */
export function reissueOrder(record: ReissuableOrder): NewOrder {
  const { hostId, deviceId, kind, loadId, createdAt } = record;
  const id = newIdentifier('order');
  return { id, hostId, deviceId, kind, loadId, createdAt, body: Order.parse({ ...Order.parse(record.body), order: id }) };
}
