// Selects the devices of a request, by identifiers or by labels.

import type { Connection } from '../database/connection.ts';
import { invalidValue, Problem } from '../problem.ts';
import { DeviceRecords } from './repository.ts';

/** Maximum number of devices in one request. */
const maxSelectedDevices = 10_000;

export type Selector = { readonly devices: readonly string[] } | { readonly labels: Readonly<Record<string, string>> };
export type SelectedDevice = { readonly id: string; readonly hostId: string };
type KnownDevice = SelectedDevice & { readonly decommissionedAt: Date | null };

/**
 * Returns every selected device once.
 * @throws {Problem} `invalid-value` if no device matches, too many match, or a named device does not exist or is decommissioned.
 */
export async function selectDevices(connection: Connection, selector: Selector): Promise<SelectedDevice[]> {
  if ('labels' in selector) {
    const devices = await new DeviceRecords(connection).findByLabels(selector.labels, maxSelectedDevices + 1);
    if (devices.length === 0) throw invalidValue('/labels', 'no device has all of these labels: list the devices to see their labels');
    return checkSelectionSize(devices, '/labels', maxSelectedDevices);
  }
  return (await deviceResolver(connection, selector.devices))(selector.devices);
}

/**
 * Reads the devices that several requests name.
 * @returns A function that returns each device of one request once. It throws {Problem} `invalid-value` if a device does not exist or is decommissioned.
 */
export async function deviceResolver(
  connection: Connection,
  all: readonly string[],
): Promise<(named: readonly string[]) => SelectedDevice[]> {
  const known = new Map((await new DeviceRecords(connection).hostsOf([...new Set(all)])).map((device) => [device.id, device]));
  return (named) => resolveNamed(known, named);
}

function resolveNamed(known: ReadonlyMap<string, KnownDevice>, named: readonly string[]): SelectedDevice[] {
  const invalidValues = named.flatMap((id, index) => {
    const device = known.get(id);
    if (device?.decommissionedAt === null) return [];
    const detail = device === undefined ? `the device ${id} does not exist` : `the device ${id} is decommissioned`;
    return [{ pointer: `/devices/${index}`, detail }];
  });
  const [first] = invalidValues;
  if (first !== undefined) throw new Problem('invalid-value', `${first.detail}; no load was created`, { invalidValues });
  return [...new Set(named)].flatMap((id) => {
    const device = known.get(id);
    return device === undefined ? [] : [{ id, hostId: device.hostId }];
  });
}

/** Returns the devices if they are within the limit. @throws {Problem} `invalid-value`. */
export function checkSelectionSize(devices: SelectedDevice[], pointer: string, limit: number): SelectedDevice[] {
  if (devices.length > limit) throw invalidValue(pointer, `limit exceeded (${limit} devices per request): narrow the selection`);
  return devices;
}
