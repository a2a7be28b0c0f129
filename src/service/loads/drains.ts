// Draining loads: their progress, and the orders that end a drain early.

import type { AgentCapability } from '../../protocol/agent.ts';
import { DeviceState, type Drain } from '../../protocol/device-state.ts';
import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { HostRecords } from '../hosts/repository.ts';
import { newOrder } from '../orders/orders.ts';
import { OrderRecords } from '../orders/repository.ts';
import { Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import type { LoadRecord } from './repository.ts';

/** The orders that end a drain early. */
const drainOrderKinds = ['inject-load', 'cancel-load'] as const satisfies readonly AgentCapability[];
type DrainOrderKind = (typeof drainOrderKinds)[number];

/** The progress of a draining load, as its device last reported it. */
export type DrainProgress = Pick<Drain, 'operation' | 'module' | 'previousVersion' | 'accesses' | 'programs'> & {
  /** When the drain began: the receipt of the first report about it, minus the time that the load had waited by then. */
  readonly since: Date;
  /** The orders that the device has not reported on yet. */
  readonly requested: readonly DrainOrderKind[];
};

type DrainingLoad = Pick<LoadRecord, 'id' | 'deviceId' | 'state' | 'drainingSince' | 'dispatchedAt'>;

/** Returns the progress of a load; null if it does not drain, as far as its device has reported. */
export async function findDrainProgress(connection: Connection, load: DrainingLoad): Promise<DrainProgress | null> {
  const { drainingSince, dispatchedAt } = load;
  if (load.state !== 'dispatched' || drainingSince === null) return null;
  const states = await new DeviceRecords(connection).statesOf([load.deviceId], (state) => DeviceState.safeParse(state).data?.draining);
  const drain = states.get(load.deviceId);
  if (drain?.load !== load.id) return null;
  const { operation, module, previousVersion, accesses, programs } = drain;
  // The device may be wrong about the time that it has waited.
  const since = dispatchedAt !== null && dispatchedAt > drainingSince ? dispatchedAt : drainingSince;
  const requested = await new OrderRecords(connection).pendingKinds(load.id, drainOrderKinds);
  return { operation, module, previousVersion, accesses, programs, since, requested };
}

/** The order that ends a drain, and the action of its audit event. */
type DrainRequest = { readonly kind: DrainOrderKind; readonly action: string; readonly content: Readonly<Record<string, string>> };

export const injectRequest: DrainRequest = { kind: 'inject-load', action: 'load.inject-requested', content: {} };

export function cancelRequest({ actor }: Requester): DrainRequest {
  return { kind: 'cancel-load', action: 'load.cancel-requested', content: { reason: `cancelled by ${actor}` } };
}

/**
 * Orders the device of a draining load to end the drain. Does nothing if the device has not reported on the same order yet.
 * @throws {Problem} `unsupported-by-host` if the agent of the host does not know the order.
 */
export async function orderDrainEnd(
  connection: Connection,
  load: Pick<LoadRecord, 'id' | 'deviceId'>,
  { kind, action, content }: DrainRequest,
  requester: Requester,
  at: Date,
): Promise<void> {
  const [device] = await new DeviceRecords(connection).hostsOf([load.deviceId]);
  const host = device === undefined ? null : await new HostRecords(connection).findCapabilities(device.hostId);
  if (device === undefined || host === null) throw new Error(`the device ${load.deviceId} of the load ${load.id} has no host`);
  if (!host.capabilities.includes(kind)) {
    const what = kind === 'inject-load' ? 'ending a drain early' : 'cancelling a draining load';
    throw new Problem('unsupported-by-host', `the agent of host ${host.name} does not support ${what}: update it`);
  }
  if ((await new OrderRecords(connection).pendingKinds(load.id, [kind])).length > 0) return;
  await new OrderRecords(connection).create([newOrder(device, { kind, load: load.id, ...content }, requester, at)]);
  await audit(connection, requester, at, [{ action, object: load.id, detail: { device: load.deviceId } }]);
}
