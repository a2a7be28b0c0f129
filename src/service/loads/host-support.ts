// Finds out whether hosts support the kind of order that loads need.

import type { AgentCapability } from '../../protocol/agent.ts';
import type { Connection } from '../database/connection.ts';
import type { SelectedDevice } from '../devices/selection.ts';
import { HostRecords } from '../hosts/repository.ts';
import { Problem } from '../problem.ts';

/** Hosts that an error message names. */
const namedHostLimit = 10;

/** The kinds of orders that need a capability, and how messages name them. */
const actions = {
  'unload-module': 'unloading modules',
  'load-patch-set': 'patch sets',
  'detach-device': 'detaching devices',
} as const satisfies Partial<Record<AgentCapability, string>>;

/** Returns the names of the hosts of devices that do not know the kind of order, by identifier. */
export async function findHostsWithout(
  connection: Connection,
  devices: readonly Pick<SelectedDevice, 'hostId'>[],
  kind: keyof typeof actions,
): Promise<Map<string, string>> {
  const hosts = [...new Set(devices.map(({ hostId }) => hostId))];
  const found = await new HostRecords(connection).findWithoutCapability(hosts, kind);
  return new Map(found.map(({ id, name }) => [id, name]));
}

/** Returns why a device on such a host gets no order. */
export function unsupportedReason(host: string, kind: keyof typeof actions): string {
  return `the agent of host ${host} does not support ${actions[kind]}: update it`;
}

/**
 * @param change What the request would create or change, for the message.
 * @throws {Problem} `unsupported-by-host` if the agent of a host does not know the kind of order.
 */
export async function checkHostsSupport(
  connection: Connection,
  targets: readonly { readonly device: Pick<SelectedDevice, 'hostId'> }[],
  kind: keyof typeof actions,
  change: 'load was created' | 'rollout was created' | 'device was moved' = 'load was created',
): Promise<void> {
  const devices = targets.map(({ device }) => device);
  const names = [...(await findHostsWithout(connection, devices, kind)).values()];
  if (names.length === 0) return;
  const named = names.slice(0, namedHostLimit).join(', ');
  const [subject, verb, object] = names.length === 1 ? ['agent of host', 'does', 'it'] : ['agents of hosts', 'do', 'them'];
  const others = names.length > namedHostLimit ? ` and ${names.length - namedHostLimit} more` : '';
  throw new Problem(
    'unsupported-by-host',
    `the ${subject} ${named}${others} ${verb} not support ${actions[kind]}: update ${object}; no ${change}`,
  );
}
