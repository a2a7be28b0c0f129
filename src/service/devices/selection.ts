// The devices that a request names, or that have the labels that it gives.

import type { Connection } from '../database/connection.ts';
import { invalidValue, Problem } from '../problem.ts';
import { DeviceRecords } from './repository.ts';

/** Devices of one request. */
const maxSelectedDevices = 10_000;

export type Selector = { readonly devices: readonly string[] } | { readonly labels: Readonly<Record<string, string>> };
export type SelectedDevice = { readonly id: string; readonly hostId: string };

/** Every selected device, once. @throws {Problem} `invalid-value` where there are none, too many, or some that there are not. */
export async function selectDevices(connection: Connection, selector: Selector): Promise<SelectedDevice[]> {
  if ('labels' in selector) {
    const devices = await new DeviceRecords(connection).findByLabels(selector.labels, maxSelectedDevices + 1);
    if (devices.length === 0) throw invalidValue('/labels', 'no device has these labels: list the devices to see their labels');
    return checkSelectionSize(devices, '/labels', maxSelectedDevices);
  }
  return (await deviceResolver(connection, selector.devices))(selector.devices);
}

/**
 * Reads the devices that several requests name.
 * @returns What answers each device of a list of these once. It throws {Problem} `invalid-value` where there are some that there are not.
 */
export async function deviceResolver(
  connection: Connection,
  all: readonly string[],
): Promise<(named: readonly string[]) => SelectedDevice[]> {
  const known = new Map((await new DeviceRecords(connection).hostsOf([...new Set(all)])).map((device) => [device.id, device]));
  return (named) => resolveNamed(known, named);
}

function resolveNamed(known: ReadonlyMap<string, SelectedDevice>, named: readonly string[]): SelectedDevice[] {
  const invalidValues = named.flatMap((id, index) =>
    known.has(id) ? [] : [{ pointer: `/devices/${index}`, detail: `there is no device ${id}` }],
  );
  const [first] = invalidValues;
  if (first !== undefined) throw new Problem('invalid-value', `${first.detail}; nothing was loaded anywhere`, { invalidValues });
  return [...new Set(named)].flatMap((id) => known.get(id) ?? []);
}

/** The devices, which are found to be no more than may be selected. @throws {Problem} `invalid-value`. */
export function checkSelectionSize(devices: SelectedDevice[], pointer: string, limit: number): SelectedDevice[] {
  if (devices.length > limit) throw invalidValue(pointer, `more than ${limit} devices are selected: narrow the selection`);
  return devices;
}
