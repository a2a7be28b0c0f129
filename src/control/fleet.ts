// The fleet's health: which hosts are connected, which devices are up, what became of the loads, and why it is not all well.

import type { Context } from './context.ts';

export type FleetHealth = {
  readonly status: 'healthy' | 'degraded';
  readonly reasons: readonly string[];
  readonly hosts: { readonly connected: number; readonly disconnected: number };
  readonly devices: { readonly connected: number; readonly attaching: number; readonly disconnected: number };
  readonly loads: { readonly queued: number; readonly completed: number; readonly outcomes: Readonly<Record<string, number>> };
  readonly accesses: { readonly interrupted: number; readonly failed: number };
  /** Orders that hosts have not reported on yet. */
  readonly ordersUnsettled: number;
};

export async function fleetHealth({ store, orderBoard }: Context): Promise<FleetHealth> {
  const { records } = store;
  const [hosts, attachments, totals, ordersUnsettled] = await Promise.all([
    records.hosts.all(),
    records.devices.attachments(),
    records.loads.totals(),
    records.orders.countUnsettled(),
  ]);
  const connected = new Set(hosts.filter(({ id }) => orderBoard.isConnected(id)).map(({ id }) => id));
  const devices = { connected: 0, attaching: 0, disconnected: 0 };
  for (const { hostId, attachedBootId } of attachments) {
    devices[!connected.has(hostId) ? 'disconnected' : attachedBootId === null ? 'attaching' : 'connected'] += 1;
  }
  const loads = { queued: 0, completed: 0, outcomes: new Map<string, number>() };
  const accesses = { interrupted: 0, failed: 0 };
  for (const total of totals) {
    loads[total.state === 'completed' ? 'completed' : 'queued'] += total.loads;
    if (total.outcome !== null) loads.outcomes.set(total.outcome, (loads.outcomes.get(total.outcome) ?? 0) + total.loads);
    accesses.interrupted += total.interrupted;
    accesses.failed += total.failed;
  }
  const disconnected = hosts.filter(({ id }) => !connected.has(id));
  const reasons = [
    ...(hosts.length === 0 ? ['no device host has ever registered'] : []),
    ...disconnected.slice(0, 20).map(({ name, devices: count }) => `the host ${name} with ${count} devices is not connected`),
    ...(devices.attaching > 0 ? [`${devices.attaching} devices are coming up`] : []),
  ];
  return {
    status: reasons.length === 0 ? 'healthy' : 'degraded',
    reasons,
    hosts: { connected: connected.size, disconnected: disconnected.length },
    devices,
    loads: { ...loads, outcomes: Object.fromEntries(loads.outcomes) },
    accesses,
    ordersUnsettled,
  };
}
