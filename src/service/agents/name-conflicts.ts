// Two processes that register with the name of one host, for example on a machine and its clone. The first keeps the name while it is alive.
// A restart is a new boot, too. The connection distinguishes them: that of a process that has ended is closed.

import type { HostRegistration } from '../../protocol/agent.ts';
import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { HostBootRecords } from '../hosts/boots.ts';
import type { KnownHost } from '../hosts/repository.ts';
import { Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';

/** A registration, with the network address that it comes from; null if unknown. */
export type Registrant = Pick<HostRegistration, 'bootId'> & { readonly address: string | null };

/** The boot that had the name before the registration, and whether its connection stayed open. */
export type CheckedBoot = { readonly bootId: string | null; readonly isConnected: boolean };

/** Whether another process than the registrant is registered with the name, and may be alive. */
export function isHeldByOther(host: KnownHost | null, { bootId }: Pick<Registrant, 'bootId'>): host is KnownHost {
  return host !== null && host.bootId !== bootId && host.isRegistered && !host.isUnreachable;
}

/**
 * Returns why a new boot of a host must wait until the current boot is unreachable, or null if it replaces the current boot now. Records the refusal.
 * @param checked The boot that was checked before this transaction. If another one has the name now, both started at the same time.
 */
export async function refuseSecond(
  connection: Connection,
  host: KnownHost,
  registrant: Registrant,
  { checked, silenceLimit }: { readonly checked: CheckedBoot; readonly silenceLimit: number },
  { requester, at }: { readonly requester: Requester; readonly at: Date },
): Promise<Problem | null> {
  const { bootId, address } = registrant;
  const boots = await new HostBootRecords(connection).list(host.id);
  const known = boots.find((boot) => boot.bootId === bootId);
  // A boot that was replaced or refused before is no restart. Neither is a new boot at the address of a refused one.
  const isAtRefusedAddress =
    address !== null && address !== host.address && boots.some((boot) => boot.wasRefused && boot.address === address);
  const mayHaveEnded = host.bootId === checked.bootId && !checked.isConnected;
  if (mayHaveEnded && known === undefined && !isAtRefusedAddress) return null;
  await new HostBootRecords(connection).recordRefused({ hostId: host.id, bootId, address }, at);
  const detail = { name: host.name, boot: bootId, address, connectedBoot: host.bootId, connectedAddress: host.address };
  if (known?.wasRefused !== true)
    await audit(connection, requester, at, [{ action: 'host.conflict', object: host.id, outcome: 'refused', detail }]);
  return new Problem(
    'host-conflict',
    `another host with the name "${host.name}" is connected (${describe(host.address)}; this one: ${describe(address)}): ` +
      'give one of the two another name (--name), or stop or decommission the other. ' +
      `This host takes over without further steps when the other has been silent for ${silenceLimit / 1_000} s`,
  );
}

const describe = (address: string | null) => (address === null ? 'address unknown' : `address ${address}`);
