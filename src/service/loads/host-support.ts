// Checks that hosts support the kind of order that loads need.

import type { AgentCapability } from '../../protocol/agent.ts';
import type { Connection } from '../database/connection.ts';
import { HostRecords } from '../hosts/repository.ts';
import { Problem } from '../problem.ts';
import type { Target } from './batches.ts';

/** Hosts that an error message names. */
const namedHostLimit = 10;

/** The kinds of orders that create loads, and how messages name them. */
const actions = { 'unload-module': 'unloading modules', 'load-patch-set': 'patch sets' } as const satisfies Partial<
  Record<AgentCapability, string>
>;

/** @throws {Problem} `unsupported-by-host` if the agent of a host does not know the kind of order. */
export async function checkHostsSupport(
  connection: Connection,
  targets: readonly Pick<Target, 'device'>[],
  kind: keyof typeof actions,
): Promise<void> {
  const hosts = [...new Set(targets.map(({ device }) => device.hostId))];
  const names = await new HostRecords(connection).namesWithoutCapability(hosts, kind);
  if (names.length === 0) return;
  const named = names.slice(0, namedHostLimit).join(', ');
  const [subject, verb, object] = names.length === 1 ? ['agent of host', 'does', 'it'] : ['agents of hosts', 'do', 'them'];
  const others = names.length > namedHostLimit ? ` and ${names.length - namedHostLimit} more` : '';
  throw new Problem(
    'unsupported-by-host',
    `the ${subject} ${named}${others} ${verb} not support ${actions[kind]}: update ${object}; no load was created`,
  );
}
