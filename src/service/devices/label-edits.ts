// Edits labels of many devices: sets some and removes others, without changing the rest.

import { isDeepStrictEqual } from 'node:util';
import type { Labels } from '../../protocol/identifiers.ts';
import { labelLimit } from '../../protocol/label-rules.ts';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import { invalidValue } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { DeviceRecords } from './repository.ts';
import { type Selector, selectDevices } from './selection.ts';

/** Devices edited in one transaction. */
const groupSize = 100;
/** Devices that an error message names. */
const namedDeviceLimit = 10;

/** Labels to set, with their values, and keys of labels to remove. No key is in both. */
export type LabelEdit = { readonly set: Labels; readonly remove: readonly string[] };
/** The devices whose labels the edit changes, and the number of other selected devices. */
export type LabelEditResult = { readonly devices: readonly string[]; readonly unchanged: number };

type ChangedLabels = {
  readonly id: string;
  readonly before: Readonly<Record<string, string>>;
  readonly after: Readonly<Record<string, string>>;
};

export class LabelEdits {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Returns which devices an edit would change. @throws {Problem} as `apply`. */
  async preview(selector: Selector, edit: LabelEdit): Promise<LabelEditResult> {
    const ids = await this.#select(selector);
    const changed = await changedLabels(this.#store.readConnection, ids, edit);
    return { devices: changed.map(({ id }) => id), unchanged: ids.length - changed.length };
  }

  /**
   * Edits the labels of the selected devices, a group at a time. From then on, labels that the hosts of changed devices register are ignored. If it
   * fails midway, the same request continues.
   * @throws {Problem} `invalid-value` if no device matches, too many match, or a device would have too many labels. Nothing is changed unless another
   * request adds labels at the same time.
   */
  async apply(selector: Selector, edit: LabelEdit, requester: Requester): Promise<LabelEditResult> {
    const ids = await this.#select(selector);
    await changedLabels(this.#store.readConnection, ids, edit);
    const devices: string[] = [];
    for (let first = 0; first < ids.length; first += groupSize) {
      const group = ids.slice(first, first + groupSize);
      devices.push(
        ...(await this.#store.transaction((connection) => editGroup(connection, group, edit, { requester, at: this.#clock.now() }))),
      );
    }
    return { devices, unchanged: ids.length - devices.length };
  }

  async #select(selector: Selector): Promise<string[]> {
    return (await selectDevices(this.#store.readConnection, selector, 'no label was changed')).map(({ id }) => id);
  }
}

/** Edits the labels of devices; leaves out those that were decommissioned since they were selected. Returns the devices that it changed. */
async function editGroup(
  connection: Connection,
  ids: readonly string[],
  edit: LabelEdit,
  { requester, at }: { readonly requester: Requester; readonly at: Date },
): Promise<string[]> {
  const ended = await new DeviceRecords(connection).filterDecommissioned(ids);
  const changed = await changedLabels(
    connection,
    ids.filter((id) => !ended.has(id)),
    edit,
  );
  await new DeviceRecords(connection).setOperatorLabels(changed.map(({ id, after }) => ({ id, labels: after })));
  const events = changed.map(({ id, before, after }) => ({ action: 'device.relabelled', object: id, detail: { before, after } }));
  await audit(connection, requester, at, events);
  return changed.map(({ id }) => id);
}

/** Returns the devices whose labels an edit changes, with their labels. @throws {Problem} `invalid-value` if one would have too many labels. */
async function changedLabels(connection: Connection, ids: readonly string[], edit: LabelEdit): Promise<ChangedLabels[]> {
  const labels = await new DeviceRecords(connection).labelsOf(ids);
  const changed = ids
    .map((id) => ({ id, before: labels.get(id) ?? {}, after: editLabels(labels.get(id) ?? {}, edit) }))
    .filter(({ before, after }) => !isDeepStrictEqual(before, after));
  const exceeding = changed.filter(({ before, after }) => {
    const count = Object.keys(after).length;
    // A device that has too many already may lose some.
    return count > labelLimit && count > Object.keys(before).length;
  });
  if (exceeding.length > 0) throw await tooManyLabels(connection, exceeding);
  return changed;
}

/** Returns labels with an edit. */
export function editLabels(labels: Readonly<Record<string, string>>, { set, remove }: LabelEdit): Record<string, string> {
  const kept = Object.entries(labels).filter(([key]) => !remove.includes(key));
  return { ...Object.fromEntries(kept), ...set };
}

async function tooManyLabels(connection: Connection, exceeding: readonly ChangedLabels[]) {
  const some = exceeding.slice(0, namedDeviceLimit);
  const named = await new DeviceRecords(connection).findMany(some.map(({ id }) => id));
  const others = exceeding.length > some.length ? ` and ${exceeding.length - some.length} more` : '';
  const names = `${named
    .map(({ name }) => name)
    .toSorted()
    .join(', ')}${others}`;
  return invalidValue(
    '/set',
    `limit exceeded (${labelLimit} labels per device) on ${names}: remove labels of these devices in the same request, or leave them out`,
  );
}
