// The registration of a device host: the devices that it brings along, and its new boot.

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
import { reattachDevices } from './reattach-devices.ts';

/** The API key that a host registers with. */
export type RegistrationKey = Pick<KeyHolder, 'id' | 'host'>;

/** @throws {Problem} `unauthenticated`. */
export async function checkNotRevoked(connection: Connection, { id }: RegistrationKey): Promise<void> {
  const key = await new KeyRecords(connection).find(id);
  if (key === null || key.revokedAt !== null) throw new Problem('unauthenticated', 'the key was revoked: ask an administrator for another');
}

/** A host has empty devices: they come up with what they had. */
export async function beginBoot(
  connection: Connection,
  { id, name, bootId, capacity, registeredAt }: HostRecord,
  requester: Requester,
): Promise<void> {
  await reattachDevices(connection, id, requester, registeredAt);
  // The old life of the host, should it still be there, is not to carry out the orders of the new one.
  await new HostRecords(connection).endStreams([id]);
  await audit(connection, requester, registeredAt, [{ action: 'host.registered', object: id, detail: { name, boot: bootId, capacity } }]);
}

/** The audit event of a device that a host brought along. */
export function deviceCreatedEvent({ id, name, hostId, ramPages, labels }: NewDevice): AuditEntry {
  return { action: 'device.created', object: id, detail: { name, host: hostId, ramPages, labels } };
}

/**
 * Devices that the host brings along are made, or keep what they are and get its labels, unless an operator has set them. Returns those made.
 * @throws {Problem} `name-taken`, `too-many-devices`.
 */
export async function registerDevices(connection: Connection, host: HostRecord, registration: HostRegistration): Promise<NewDevice[]> {
  const byName = new Map(registration.devices.map((device) => [device.name, device]));
  const known: DeviceIdentity[] = [];
  await processInSlices(
    [...byName.keys()],
    async (slice) => void known.push(...(await new DeviceRecords(connection).findIdentities(slice))),
  );
  const stranger = known.find(({ hostId }) => hostId !== host.id);
  if (stranger !== undefined)
    throw new Problem('name-taken', `the device name "${stranger.name}" is taken by another host's device: choose another`);
  const made = newDevices(host.id, [...byName.values()], new Set(known.map(({ name }) => name)), host.registeredAt);
  if (made.length > 0) checkDeviceLimit(host.name, await new DeviceRecords(connection).countOnHost(host.id), made.length);
  const labelledByHost = known.filter(({ labelsByOperator }) => !labelsByOperator);
  await processInSlices(labelledByHost, (slice) =>
    new DeviceRecords(connection).setLabels(slice.map(({ id, name }) => ({ id, labels: byName.get(name)?.labels ?? {} }))),
  );
  await processInSlices(made, (slice) => new DeviceRecords(connection).create(slice));
  return made;
}

/** @throws {Problem} `too-many-devices`. */
function checkDeviceLimit(host: string, present: number, added: number): void {
  const limit = agentLimits.devicesPerHost;
  if (present + added <= limit) return;
  throw new Problem(
    'too-many-devices',
    `the host ${host} has ${present} devices and brings ${added} more, ${present + added} in all; the limit is ${limit} devices per host: register the others under the name of another host`,
  );
}
