// Selects the devices of a request: by identifiers or names, or by labels, a label selector and a group.

import { isDeviceId } from '../../protocol/identifiers.ts';
import { formatLabelSelector, type LabelSelector, parseLabelSelector, selectorOfLabels } from '../../protocol/label-selector.ts';
import type { Connection } from '../database/connection.ts';
import { resolveGroup } from '../groups/groups.ts';
import { invalidValue, Problem } from '../problem.ts';
import { DeviceRecords } from './repository.ts';

/** Maximum number of devices in one request. */
const maxSelectedDevices = 10_000;

/** The scope of the caller, which devices of a request must match. Undefined or null: all devices. */
type Scoped = { readonly scope?: LabelSelector | null | undefined };
/** The devices of a request: identifiers or names, or criteria. */
export type Selector = ({ readonly devices: readonly string[] } & Scoped) | SelectionCriteria;
/** Criteria that devices must all meet: labels, a label selector as text, the name or identifier of a group, and the scope of the caller. */
export type SelectionCriteria = Scoped & {
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly selector?: string | undefined;
  readonly group?: string | undefined;
};
export type SelectedDevice = { readonly id: string; readonly hostId: string };
type KnownDevice = SelectedDevice & { readonly decommissionedAt: Date | null };

/**
 * Returns every selected device once.
 * @param effect What the rejected request did, for the message.
 * @throws {Problem} `invalid-value` if no device matches, too many match, or a named device does not exist or is decommissioned.
 */
export async function selectDevices(connection: Connection, selector: Selector, effect = 'no load was created'): Promise<SelectedDevice[]> {
  if ('devices' in selector) return resolveNamed(await readNamed(connection, selector.devices, selector.scope), selector.devices, effect);
  const pointer = criteriaPointer(selector);
  const devices = await new DeviceRecords(connection).findMatching(await resolveCriteria(connection, selector), maxSelectedDevices + 1);
  if (devices.length === 0) throw invalidValue(pointer, 'no device has these labels: list the devices to see their labels');
  return checkSelectionSize(devices, pointer, maxSelectedDevices);
}

/** Returns the pointer of the member of a request that selects the devices; of the first, if it combines several. */
function criteriaPointer({ labels, selector }: SelectionCriteria): string {
  if (labels !== undefined) return '/labels';
  return selector !== undefined ? '/selector' : '/group';
}

/**
 * Returns the requirements of criteria.
 * @param pointer JSON pointer of the group, or `query:` and the parameter.
 * @throws {Problem} `invalid-value` if the group does not exist.
 */
export async function resolveCriteria(
  connection: Connection,
  { labels, selector, group, scope }: SelectionCriteria,
  pointer?: string,
): Promise<LabelSelector> {
  const found = group === undefined ? null : await resolveGroup(connection, group, pointer);
  return [...toLabelSelector({ labels, selector, groupSelector: found?.selector }), ...(scope ?? [])];
}

/** Returns the requirements of labels, of a selector, and of the selector of a group, all validated. Null and undefined have none. */
export function toLabelSelector({
  labels,
  selector,
  groupSelector,
}: {
  readonly labels?: Readonly<Record<string, string>> | null | undefined;
  readonly selector?: string | null | undefined;
  readonly groupSelector?: string | null | undefined;
}): LabelSelector {
  const texts = [selector, groupSelector].filter((text) => typeof text === 'string');
  return [...selectorOfLabels(labels ?? {}), ...texts.flatMap(parseLabelSelector)];
}

/** Returns how a request selects devices, for the audit trail. It does not repeat identifiers: the loads name their devices. */
export function selectorFacts(selector: Selector): Record<string, string | Record<string, string>> {
  const scoped = selector.scope == null ? {} : { scope: formatLabelSelector(selector.scope) };
  if ('devices' in selector) return scoped;
  const { labels, selector: text, group } = selector;
  return {
    ...scoped,
    ...(labels === undefined ? {} : { labels: { ...labels } }),
    ...(text === undefined ? {} : { selector: text }),
    ...(group === undefined ? {} : { group }),
  };
}

/**
 * Reads the devices that several requests without a scope name.
 * @returns A function that returns the devices that one request selects, each once. It throws {Problem} as `selectDevices`.
 */
export async function deviceResolver(
  connection: Connection,
  selectors: readonly Selector[],
): Promise<(selector: Selector) => Promise<SelectedDevice[]>> {
  const known = await readNamed(
    connection,
    selectors.flatMap((selector) => (isUnscopedList(selector) ? selector.devices : [])),
  );
  return async (selector) =>
    isUnscopedList(selector) ? resolveNamed(known, selector.devices, 'no load was created') : selectDevices(connection, selector);
}

const isUnscopedList = (selector: Selector): selector is { readonly devices: readonly string[] } =>
  'devices' in selector && selector.scope == null;

/**
 * Returns devices by the identifiers or names that requests give. An identifier also finds a decommissioned device; a name does not.
 * @param scope Leaves out devices that do not match it, as if they did not exist.
 */
export async function readNamed(
  connection: Connection,
  all: readonly string[],
  scope?: LabelSelector | null,
): Promise<ReadonlyMap<string, KnownDevice>> {
  const texts = [...new Set(all)];
  const records = new DeviceRecords(connection);
  const known = new Map<string, KnownDevice>((await records.hostsOf(texts.filter(isDeviceId))).map((device) => [device.id, device]));
  for (const { name, id, hostId } of await records.hostsOfNamed(texts.filter((text) => !isDeviceId(text))))
    known.set(name, { id, hostId, decommissionedAt: null });
  if (scope == null) return known;
  const ids = [...known.values()].map(({ id }) => id);
  const inScope = new Set(await records.filterMatching(ids, scope));
  return new Map([...known].filter(([, { id }]) => inScope.has(id)));
}

function resolveNamed(known: ReadonlyMap<string, KnownDevice>, named: readonly string[], effect: string): SelectedDevice[] {
  const invalidValues = named.flatMap((id, index) => {
    const device = known.get(id);
    if (device?.decommissionedAt === null) return [];
    const detail = device === undefined ? `the device ${id} does not exist` : `the device ${id} is decommissioned`;
    return [{ pointer: `/devices/${index}`, detail }];
  });
  const [first] = invalidValues;
  if (first !== undefined) throw new Problem('invalid-value', `${first.detail}; ${effect}`, { invalidValues });
  const devices = named.flatMap((text) => known.get(text) ?? []).map(({ id, hostId }) => ({ id, hostId }));
  return [...new Map(devices.map((device) => [device.id, device])).values()];
}

/** Returns the devices if they are within the limit. @throws {Problem} `invalid-value`. */
export function checkSelectionSize(devices: SelectedDevice[], pointer: string, limit: number): SelectedDevice[] {
  if (devices.length > limit) throw invalidValue(pointer, `limit exceeded (${limit} devices per request): narrow the selection`);
  return devices;
}
