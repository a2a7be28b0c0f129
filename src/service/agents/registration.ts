// Registration of a device host: the devices in the request, and a new boot.

import { agentLimits, type HostRegistration } from '../../protocol/agent.ts';
import { type AuditEntry, audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { processInSlices } from '../database/slices.ts';
import { newDevices } from '../devices/devices.ts';
import type { DeviceIdentity, NewDevice } from '../devices/repository.ts';
import { DeviceRecords } from '../devices/repository.ts';
import type { HostRecord } from '../hosts/repository.ts';
import { HostRecords } from '../hosts/repository.ts';
import { KeyRecords } from '../keys/repository.ts';
import { Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import type { KeyHolder } from '../roles.ts';
import { finishMoves } from './moves.ts';
import { reattachDevices } from './reattach-devices.ts';

/** The API key of a registration request. */
export type RegistrationKey = Pick<KeyHolder, 'id' | 'host'>;

/** @throws {Problem} `unauthenticated`. */
export async function checkNotRevoked(connection: Connection, { id }: RegistrationKey): Promise<void> {
  const key = await new KeyRecords(connection).find(id);
  if (key === null || key.revokedAt !== null)
    throw new Problem('unauthenticated', 'the API key is revoked: ask an administrator for a new one');
}

/** Starts a new boot of a host: orders its devices, which are empty now, to reattach. */
export async function beginBoot(connection: Connection, host: HostRecord, requester: Requester): Promise<void> {
  const { id, name, bootId, capacity, registeredAt } = host;
  // The devices are empty: those that were to be dropped here attach on their new hosts.
  const leaving = await new DeviceRecords(connection).listMovingFrom([id]);
  await finishMoves(connection, leaving, { kind: 'reboot' }, { requester, at: registeredAt });
  await reattachDevices(connection, host, requester, registeredAt);
  // A process of the earlier boot that still runs must not execute orders of the new boot.
  await new HostRecords(connection).endStreams([id]);
  await audit(connection, requester, registeredAt, [{ action: 'host.registered', object: id, detail: { name, boot: bootId, capacity } }]);
}

/** Returns the audit event for a device that a registration created. */
export function deviceCreatedEvent({ id, name, hostId, ramPages, labels }: NewDevice): AuditEntry {
  return { action: 'device.created', object: id, detail: { name, host: hostId, ramPages, labels } };
}

/**
 * Creates the devices of a registration that do not exist yet, except those that were decommissioned in this boot of the host or moved to another
 * host. Sets the labels of the others, unless an operator has set them.
 * @returns The created devices.
 * @throws {Problem} `name-taken`, `too-many-devices`.
 */
export async function registerDevices(connection: Connection, host: HostRecord, registration: HostRegistration): Promise<NewDevice[]> {
  const byName = new Map(registration.devices.map((device) => [device.name, device]));
  const holders = new Map<string, DeviceIdentity>();
  await processInSlices([...byName.keys()], async (slice) => {
    for (const holder of await new DeviceRecords(connection).findIdentities(slice)) holders.set(holder.id, holder);
  });
  const moved = await new DeviceRecords(connection).movedFrom(host.id);
  const leftOut = new Set<string>();
  const known = [...holders.values()].flatMap((holder) => {
    const registered = holder.registeredName ?? holder.name;
    const isMoved = moved.has(holder.id) && holder.hostId !== host.id;
    if (!isMoved) checkRegisteredName(registered, holder, host, byName);
    checkNewName(registered, holder, byName);
    if (isMoved) leftOut.add(registered);
    return !isMoved && byName.has(registered) ? [{ ...holder, name: registered }] : [];
  });
  const decommissioned = await new DeviceRecords(connection).decommissionedNames(host.id, host.bootId);
  const present = new Set([...known.map(({ name }) => name), ...decommissioned, ...leftOut]);
  const created = newDevices(host.id, [...byName.values()], present, host.registeredAt);
  if (created.length > 0) checkDeviceLimit(host.name, await new DeviceRecords(connection).countOnHost(host.id), created.length);
  const labelledByHost = known.filter(({ labelsByOperator }) => !labelsByOperator);
  await processInSlices(labelledByHost, (slice) =>
    new DeviceRecords(connection).setLabels(slice.map(({ id, name }) => ({ id, labels: byName.get(name)?.labels ?? {} }))),
  );
  await processInSlices(created, (slice) => new DeviceRecords(connection).create(slice));
  return created;
}

/** @throws {Problem} `name-taken` if a registration uses the name of a device of another host. */
function checkRegisteredName(
  registered: string,
  { hostId }: DeviceIdentity,
  host: Pick<HostRecord, 'id'>,
  byName: ReadonlyMap<string, unknown>,
): void {
  if (byName.has(registered) && hostId !== host.id)
    throw new Problem('name-taken', `the device name "${registered}" is taken by a device of another host: choose another name`);
}

/** @throws {Problem} `name-taken` if a registration uses the name that another device was renamed to. */
function checkNewName(registered: string, { id, name }: DeviceIdentity, byName: ReadonlyMap<string, unknown>): void {
  if (name !== registered && byName.has(name))
    throw new Problem('name-taken', `the device name "${name}" is taken by the device ${id}, which was renamed to it: choose another name`);
}

/** @throws {Problem} `too-many-devices`. */
function checkDeviceLimit(host: string, existing: number, added: number): void {
  const limit = agentLimits.devicesPerHost;
  if (existing + added <= limit) return;
  throw new Problem(
    'too-many-devices',
    `limit exceeded (${limit} devices per host): the host ${host} has ${existing} devices and registers ${added} more: register the rest under another host name`,
  );
}
