// Selects the devices of a request, by identifiers or names, by labels, or by a label selector.

import { isDeviceId } from '../../protocol/identifiers.ts';
import { type LabelSelector, parseLabelSelector, selectorOfLabels } from '../../protocol/label-selector.ts';
import type { Connection } from '../database/connection.ts';
import { invalidValue, Problem } from '../problem.ts';
import { DeviceRecords } from './repository.ts';

/** Maximum number of devices in one request. */
const maxSelectedDevices = 10_000;

/** The devices of a request: identifiers or names, labels, or a label selector as text. */
export type Selector = { readonly devices: readonly string[] } | LabelCriterion;
type LabelCriterion = { readonly labels: Readonly<Record<string, string>> } | { readonly selector: string };
export type SelectedDevice = { readonly id: string; readonly hostId: string };
type KnownDevice = SelectedDevice & { readonly decommissionedAt: Date | null };

/**
 * Returns every selected device once.
 * @throws {Problem} `invalid-value` if no device matches, too many match, or a named device does not exist or is decommissioned.
 */
export async function selectDevices(connection: Connection, selector: Selector): Promise<SelectedDevice[]> {
  if ('devices' in selector) return (await deviceResolver(connection, selector.devices))(selector.devices);
  const pointer = 'labels' in selector ? '/labels' : '/selector';
  const devices = await new DeviceRecords(connection).findMatching(toLabelSelector(selector), maxSelectedDevices + 1);
  if (devices.length === 0) throw invalidValue(pointer, 'no device has these labels: list the devices to see their labels');
  return checkSelectionSize(devices, pointer, maxSelectedDevices);
}

/** Returns the requirements of labels and of a selector that a schema has validated. Null and undefined have none. */
export function toLabelSelector({
  labels,
  selector,
}: {
  readonly labels?: Readonly<Record<string, string>> | null | undefined;
  readonly selector?: string | null | undefined;
}): LabelSelector {
  return [...selectorOfLabels(labels ?? {}), ...(typeof selector === 'string' ? parseLabelSelector(selector) : [])];
}

/** Returns how a request selects devices, for the audit trail. It does not repeat identifiers: the loads name their devices. */
export function selectorFacts(selector: Selector): LabelCriterion | Record<string, never> {
  return 'devices' in selector ? {} : selector;
}

/**
 * Reads the devices that several requests name.
 * @returns A function that returns each device of one request once. It throws {Problem} `invalid-value` if a device does not exist or is decommissioned.
 */
export async function deviceResolver(
  connection: Connection,
  all: readonly string[],
): Promise<(named: readonly string[]) => SelectedDevice[]> {
  const known = await readNamed(connection, all);
  return (named) => resolveNamed(known, named);
}

/** Returns devices by the identifiers or names that requests give. An identifier also finds a decommissioned device; a name does not. */
export async function readNamed(connection: Connection, all: readonly string[]): Promise<ReadonlyMap<string, KnownDevice>> {
  const texts = [...new Set(all)];
  const records = new DeviceRecords(connection);
  const known = new Map<string, KnownDevice>((await records.hostsOf(texts.filter(isDeviceId))).map((device) => [device.id, device]));
  for (const { name, id, hostId } of await records.hostsOfNamed(texts.filter((text) => !isDeviceId(text))))
    known.set(name, { id, hostId, decommissionedAt: null });
  return known;
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
  const devices = named.flatMap((text) => known.get(text) ?? []).map(({ id, hostId }) => ({ id, hostId }));
  return [...new Map(devices.map((device) => [device.id, device])).values()];
}

/** Returns the devices if they are within the limit. @throws {Problem} `invalid-value`. */
export function checkSelectionSize(devices: SelectedDevice[], pointer: string, limit: number): SelectedDevice[] {
  if (devices.length > limit) throw invalidValue(pointer, `limit exceeded (${limit} devices per request): narrow the selection`);
  return devices;
}
