// Devices: placement on hosts, labels, and the last reported state.

import { isDeepStrictEqual } from 'node:util';
import type { HostRegistration } from '../../protocol/agent.ts';
import { DeviceState } from '../../protocol/device-state.ts';
import { isDeviceId, type Labels, newIdentifier } from '../../protocol/identifiers.ts';
import type { LabelSelector } from '../../protocol/label-selector.ts';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import { type DamagedItem, readViewsOrMarks } from '../database/damaged-rows.ts';
import type { PageByName, PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { HostRecords } from '../hosts/repository.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { LinkedModuleCache } from '../modules/linked-module-cache.ts';
import { decommissioned, invalidValue, nameTaken, notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { type AbiViolationFilter, AbiViolationQueries, type AbiViolationRecord } from './abi-violation-queries.ts';
import { buildModuleGraph, graphLimits, type ModuleGraph } from './module-graph.ts';
import { type DeviceFilter, DeviceQueries, type DriftRecord } from './queries.ts';
import type { DeviceRecord, NewDevice } from './repository.ts';
import { DeviceRecords } from './repository.ts';
import { readNamed, resolveCriteria, type SelectionCriteria } from './selection.ts';

export type NewDeviceRequest = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ramPages: number;
  /** Identifier or name of the host; null: the connected host with the most free capacity. */
  readonly host: string | null;
};

export type DeviceView = {
  readonly device: DeviceRecord;
  /** The last reported state in this boot of the host; null before the first report. */
  readonly state: DeviceState | null;
  readonly drift: readonly DriftRecord[];
};

/** The part of a device that its ETag covers. */
export type DeviceNames = Pick<DeviceRecord, 'id' | 'name' | 'registeredName'>;

/** The capacity of a host and its number of devices. */
type HostCapacity = {
  readonly id: string;
  readonly name: string;
  readonly capacity: number;
  readonly devices: number;
  readonly unreachableSince: Date | null;
};

/** Called in the transaction that creates devices. */
type OnDevicesCreated = (connection: Connection, devices: readonly NewDevice[], requester: Requester, at: Date) => Promise<void>;

export class Devices {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #onCreated: OnDevicesCreated;
  readonly #linkedModules = new LinkedModuleCache();

  /** @param onCreated Orders new devices to attach on their hosts. */
  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }, onCreated: OnDevicesCreated) {
    this.#store = store;
    this.#clock = clock;
    this.#onCreated = onCreated;
  }

  /** Places a new device on a host. @throws {Problem} `name-taken`, `no-host`, `invalid-value`. */
  async create(request: NewDeviceRequest, requester: Requester, toResponse: ToResponse<DeviceView>): Promise<DeviceView> {
    const createdAt = this.#clock.now();
    return this.#store.transaction(async (connection) => {
      await checkNameFree(connection, request.name, null);
      const host = this.#chooseHost(await new HostRecords(connection).listAll(), request.host);
      const { name, labels, ramPages } = request;
      const newDevice: NewDevice = { id: newIdentifier('device'), name, labels, ramPages, hostId: host.id, createdAt };
      await new DeviceRecords(connection).create([newDevice]);
      await this.#onCreated(connection, [newDevice], requester, createdAt);
      await audit(connection, requester, createdAt, [
        { action: 'device.created', object: newDevice.id, detail: { name, host: host.id, ramPages, labels } },
      ]);
      const device = await new DeviceRecords(connection).find(newDevice.id);
      if (device === null) throw notFound('device', newDevice.id);
      const created = toView(device, []);
      await storeResponse(connection, requester, toResponse, created);
      return created;
    });
  }

  /** Returns the identifier of the device with an identifier or a name. Does not check that an identifier exists. @throws {Problem} `not-found`. */
  async findId(reference: string): Promise<string> {
    if (isDeviceId(reference)) return reference;
    const [device] = await new DeviceRecords(this.#store.readConnection).hostsOfNamed([reference]);
    if (device === undefined) throw notFound('device', reference);
    return device.id;
  }

  /** @throws {Problem} `not-found` if the device with an identifier or a name does not match a scope, or does not exist. */
  async checkScope(reference: string, scope: LabelSelector): Promise<void> {
    const known = await readNamed(this.#store.readConnection, [reference], scope);
    if (known.size === 0) throw notFound('device', reference);
  }

  /** @throws {Problem} `not-found`. */
  async get(id: string): Promise<DeviceView> {
    const { reader, readConnection } = this.#store;
    const [device, drift] = await Promise.all([new DeviceRecords(readConnection).find(id), new DeviceQueries(reader).driftOf([id])]);
    if (device === null) throw notFound('device', id);
    return toView(device, drift);
  }

  /** Returns a device with its module graph. @throws {Problem} `not-found`. */
  async getWithGraph(id: string): Promise<{ view: DeviceView; graph: ModuleGraph }> {
    const view = await this.get(id);
    const table = view.state?.moduleTable ?? [];
    const images = table.slice(0, graphLimits.modules).map(({ image }) => image);
    const known = await this.#linkedModules.find(this.#store.readConnection, images);
    return { view, graph: buildModuleGraph(table, known) };
  }

  /**
   * Renames a device. Its host continues to register it with the name that it had. Does nothing if the name is the same.
   * @param isExpected Whether the current names match the client's precondition.
   * @throws {Problem} `not-found`, `decommissioned`, `precondition-failed`, `name-taken`.
   */
  async rename(id: string, name: string, isExpected: (current: DeviceNames) => boolean, requester: Requester): Promise<void> {
    await this.#store.transaction(async (connection) => {
      const device = await new DeviceRecords(connection).find(id);
      if (device === null) throw notFound('device', id);
      if (device.decommissionedAt !== null) throw decommissioned('device', device.name);
      if (!isExpected(device))
        throw new Problem('precondition-failed', `the device is now called ${device.name}: read it again, then repeat the request`);
      if (device.name === name) return;
      await checkNameFree(connection, name, id);
      const registered = device.registeredName ?? device.name;
      await new DeviceRecords(connection).rename(id, name, registered === name ? null : registered);
      const detail = { before: device.name, after: name, registeredName: registered };
      await audit(connection, requester, this.#clock.now(), [{ action: 'device.renamed', object: id, detail }]);
    });
  }

  /**
   * Replaces the labels of a device. The host does not change them when it registers again. Does nothing if the labels are the same.
   * @param isExpected Whether the current labels match the client's precondition.
   * @throws {Problem} `not-found`, `decommissioned`, `precondition-failed`.
   */
  async replaceLabels(
    id: string,
    labels: Labels,
    isExpected: (current: DeviceRecord['labels']) => boolean,
    requester: Requester,
  ): Promise<void> {
    await this.#store.transaction(async (connection) => {
      const device = await new DeviceRecords(connection).find(id);
      if (device === null) throw notFound('device', id);
      if (device.decommissionedAt !== null) throw decommissioned('device', device.name);
      const { labels: before, labelsByOperator } = device;
      if (!isExpected(before))
        throw new Problem(
          'precondition-failed',
          `the labels of ${device.name} have changed since they were read: read them again, then repeat the request`,
        );
      if (labelsByOperator && isDeepStrictEqual(before, labels)) return;
      await new DeviceRecords(connection).setOperatorLabels([{ id, labels }]);
      await audit(connection, requester, this.#clock.now(), [
        { action: 'device.relabelled', object: id, detail: { before, after: labels } },
      ]);
    });
  }

  /**
   * Lists devices.
   * @param filter `host` is an identifier or a name; an unknown host has no devices.
   * @throws {Problem} `invalid-value` if the group does not exist.
   */
  async list(
    {
      host,
      criteria = {},
      ...filter
    }: Omit<DeviceFilter, 'hostId' | 'selector'> & { readonly host?: string | undefined; readonly criteria?: SelectionCriteria },
    page: PageByTime | PageByName,
  ): Promise<PageResult<DeviceView | DamagedItem, PageByTime | PageByName>> {
    const { reader, readConnection } = this.#store;
    const devices = new DeviceQueries(reader);
    const hostId = host === undefined ? undefined : (await new HostRecords(readConnection).findByIdOrName(host))?.id;
    const selector = await resolveCriteria(readConnection, criteria, 'query:group');
    if (host !== undefined && hostId === undefined) return { items: [], next: null, pageAfter: () => page };
    const found = await readMarkedPage(page, {
      read: (chunkPage) => devices.list({ ...filter, selector, hostId }, chunkPage),
      positionOfUndecodable: page.sort === 'name' ? undecodablePosition.byName : undecodablePosition.byTime,
      positionOf: ({ id, name, createdAt }) => (page.sort === 'name' ? { name } : { time: createdAt, key: id }),
      bytesOf: ({ state }) => JSON.stringify(state).length,
    });
    return { ...found, items: await this.#toViews(found.items) };
  }

  /** Adds state and drift to device records. A device whose drift cannot be read is marked as damaged. */
  #toViews(items: readonly (DeviceRecord | DamagedItem)[]): Promise<(DeviceView | DamagedItem)[]> {
    const devices = new DeviceQueries(this.#store.reader);
    return readViewsOrMarks(
      items,
      ({ id }) => id,
      async (chunk) => {
        const drift = Map.groupBy(await devices.driftOf(chunk.map(({ id }) => id)), ({ deviceId }) => deviceId);
        return chunk.map((device) => toView(device, drift.get(device.id) ?? []));
      },
    );
  }

  /** Lists the ABI violations of a device by the time of the first fault. @throws {Problem} `not-found`. */
  async abiViolations(
    filter: AbiViolationFilter,
    page: PageByTime<number>,
  ): Promise<PageResult<AbiViolationRecord | DamagedItem, PageByTime<number>>> {
    await this.get(filter.deviceId);
    return readMarkedPage(page, {
      read: (chunkPage) => new AbiViolationQueries(this.#store.reader).list(filter, chunkPage),
      positionOf: ({ firstFaultAt, number }) => ({ time: firstFaultAt, key: number }),
      positionOfUndecodable: undecodablePosition.byTimeAndNumber,
    });
  }

  #chooseHost(hosts: readonly HostCapacity[], requested: string | null): HostCapacity {
    if (requested !== null) {
      const host = hosts.find(({ id, name }) => id === requested || name === requested);
      if (host === undefined) throw invalidValue('/host', `the host ${requested} does not exist: list the hosts to see their names`);
      if (host.devices >= host.capacity)
        throw new Problem(
          'no-host',
          `the host ${host.name} is full (${host.devices} devices, capacity ${host.capacity}): choose another host, or start one`,
        );
      return host;
    }
    const connected = hosts.filter(({ unreachableSince }) => unreachableSince === null);
    const [freest] = connected.toSorted((left, right) => right.capacity - right.devices - (left.capacity - left.devices));
    const start = 'start a device host with `npm run host -- --control URL --name NAME`';
    if (freest === undefined) throw new Problem('no-host', `no device host is connected: ${start}`);
    if (freest.devices >= freest.capacity) throw new Problem('no-host', `all ${connected.length} connected hosts are full: ${start}`);
    return freest;
  }
}

/** @throws {Problem} `name-taken` if another device has the name, or registers with it. */
async function checkNameFree(connection: Connection, name: string, ownId: string | null): Promise<void> {
  const holder = (await new DeviceRecords(connection).findIdentities([name])).find(({ id }) => id !== ownId);
  if (holder !== undefined) throw nameTaken('device', name, holder);
}

/** @throws {Problem} `decommissioned` if the device is. */
export async function checkNotDecommissioned(
  connection: Connection,
  { id, name }: { readonly id: string; readonly name: string },
): Promise<void> {
  if ((await new DeviceRecords(connection).filterDecommissioned([id])).has(id)) throw decommissioned('device', name);
}

/** Returns a new device for each registered device whose name is not known. */
export function newDevices(hostId: string, devices: HostRegistration['devices'], known: ReadonlySet<string>, createdAt: Date): NewDevice[] {
  return devices
    .filter(({ name }) => !known.has(name))
    .map(({ name, labels, ramPages }) => ({ id: newIdentifier('device'), name, labels, ramPages, hostId, createdAt }));
}

function toView(device: DeviceRecord, drift: readonly DriftRecord[]): DeviceView {
  const state = device.stateReportedAt === null ? null : DeviceState.safeParse(device.state);
  return { device, state: state?.success ? state.data : null, drift };
}
