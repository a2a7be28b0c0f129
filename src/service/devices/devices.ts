// Devices: where they are placed, how they are labelled, and what they last reported.

import { isDeepStrictEqual } from 'node:util';
import type { HostRegistration } from '../../protocol/agent.ts';
import { DeviceState } from '../../protocol/device-state.ts';
import { type Labels, newIdentifier } from '../../protocol/identifiers.ts';
import { audit } from '../audit-events/entry.ts';
import type { Connection } from '../database/connection.ts';
import { type DamagedItem, readViewsOrMarks } from '../database/damaged-rows.ts';
import type { PageByName, PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { unreadablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { HostRecords } from '../hosts/repository.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { invalidValue, notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { type AbiViolationFilter, AbiViolationQueries, type AbiViolationRecord } from './abi-violation-queries.ts';
import { type DeviceFilter, DeviceQueries, type DriftRecord } from './queries.ts';
import type { DeviceRecord, NewDevice } from './repository.ts';
import { DeviceRecords } from './repository.ts';

export type NewDeviceRequest = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ramPages: number;
  /** Identifier or name of the host to place it on; null: the one with the most room. */
  readonly host: string | null;
};

export type DeviceView = {
  readonly device: DeviceRecord;
  /** What the device last reported in this boot of its host; null until it has. */
  readonly state: DeviceState | null;
  readonly drift: readonly DriftRecord[];
};

/** What a host has room for. */
type HostCapacity = {
  readonly id: string;
  readonly name: string;
  readonly capacity: number;
  readonly devices: number;
  readonly unreachableSince: Date | null;
};

/** Called in the transaction in which devices are made. */
type OnDevicesCreated = (connection: Connection, devices: readonly NewDevice[], requester: Requester, at: Date) => Promise<void>;

export class Devices {
  readonly #store: Store;
  readonly #onCreated: OnDevicesCreated;

  /** @param onCreated Orders new devices to come up on their hosts. */
  constructor(store: Store, onCreated: OnDevicesCreated) {
    this.#store = store;
    this.#onCreated = onCreated;
  }

  /** Places a new device on a host. @throws {Problem} `name-taken`, `no-host`, `invalid-value`. */
  async create(request: NewDeviceRequest, requester: Requester, answerOf: ToResponse<DeviceView>): Promise<DeviceView> {
    const createdAt = new Date();
    const get = await this.#store.transaction(async (connection) => {
      const [taken] = await new DeviceRecords(connection).findByNames([request.name]);
      if (taken !== undefined) throw new Problem('name-taken', `the device ${taken.id} has the name "${request.name}": choose another`);
      const host = this.#chooseHost(await new HostRecords(connection).listAll(), request.host);
      const { name, labels, ramPages } = request;
      const made: NewDevice = { id: newIdentifier('device'), name, labels, ramPages, hostId: host.id, createdAt };
      await new DeviceRecords(connection).create([made]);
      await this.#onCreated(connection, [made], requester, createdAt);
      await audit(connection, requester, createdAt, [
        { action: 'device.created', object: made.id, detail: { name, host: host.id, ramPages, labels } },
      ]);
      const device = await new DeviceRecords(connection).find(made.id);
      if (device === null) throw notFound('device', made.id);
      const created = toView(device, []);
      await storeResponse(connection, requester, answerOf, created);
      return created;
    });
    return get;
  }

  /** @throws {Problem} `not-found`. */
  async view(id: string): Promise<DeviceView> {
    const { reader, readConnection } = this.#store;
    const [device, drift] = await Promise.all([new DeviceRecords(readConnection).find(id), new DeviceQueries(reader).driftOf([id])]);
    if (device === null) throw notFound('device', id);
    return toView(device, drift);
  }

  /**
   * Gives a device other labels, which its host leaves as they are when it registers again; the same once more changes nothing.
   * @param isExpected Whether the labels that it has are those that whoever asks has seen.
   * @throws {Problem} `not-found`, `precondition-failed`.
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
      const { labels: before, labelsByOperator } = device;
      if (!isExpected(before))
        throw new Problem(
          'precondition-failed',
          `the labels of ${device.name} have changed since they were read: read them again, and decide anew`,
        );
      if (labelsByOperator && isDeepStrictEqual(before, labels)) return;
      await new DeviceRecords(connection).setOperatorLabels(id, labels);
      await audit(connection, requester, new Date(), [{ action: 'device.relabelled', object: id, detail: { before, after: labels } }]);
    });
  }

  /** @param filter With the identifier or name of a host; none has one that there is not. */
  async list(
    { host, ...filter }: Omit<DeviceFilter, 'hostId'> & { readonly host?: string | undefined },
    page: PageByTime | PageByName,
  ): Promise<PageResult<DeviceView | DamagedItem, PageByTime | PageByName>> {
    const { reader, readConnection } = this.#store;
    const devices = new DeviceQueries(reader);
    const hostId = host === undefined ? undefined : (await new HostRecords(readConnection).findByIdOrName(host))?.id;
    if (host !== undefined && hostId === undefined) return { items: [], next: null, pageAfter: () => page };
    const found = await readMarkedPage(page, {
      read: (wanted) => devices.list({ ...filter, hostId }, wanted),
      positionOfUnreadable: page.sort === 'name' ? unreadablePosition.byName : unreadablePosition.byTime,
      positionOf: ({ id, name, createdAt }) => (page.sort === 'name' ? { name } : { time: createdAt, key: id }),
      bytesOf: ({ state }) => JSON.stringify(state).length,
    });
    return { ...found, items: await this.#toViews(found.items) };
  }

  /** What lists show of devices; one whose drift cannot be read is marked. */
  #toViews(items: readonly (DeviceRecord | DamagedItem)[]): Promise<(DeviceView | DamagedItem)[]> {
    const devices = new DeviceQueries(this.#store.reader);
    return readViewsOrMarks(
      items,
      ({ id }) => id,
      async (some) => {
        const drift = Map.groupBy(await devices.driftOf(some.map(({ id }) => id)), ({ deviceId }) => deviceId);
        return some.map((device) => toView(device, drift.get(device.id) ?? []));
      },
    );
  }

  /** Programs that held on to the addresses of code that had gone, by when that was found. @throws {Problem} `not-found`. */
  async abiViolations(
    filter: AbiViolationFilter,
    page: PageByTime<number>,
  ): Promise<PageResult<AbiViolationRecord | DamagedItem, PageByTime<number>>> {
    await this.view(filter.deviceId);
    return readMarkedPage(page, {
      read: (wanted) => new AbiViolationQueries(this.#store.reader).list(filter, wanted),
      positionOf: ({ firstFaultAt, number }) => ({ time: firstFaultAt, key: number }),
      positionOfUnreadable: unreadablePosition.byTimeAndNumber,
    });
  }

  #chooseHost(hosts: readonly HostCapacity[], wanted: string | null): HostCapacity {
    if (wanted !== null) {
      const host = hosts.find(({ id, name }) => id === wanted || name === wanted);
      if (host === undefined) throw invalidValue('/host', `there is no host ${wanted}: GET /v1/hosts lists those there are`);
      if (host.devices >= host.capacity)
        throw new Problem(
          'no-host',
          `the host ${host.name} has ${host.devices} devices, as many as it can run: name another, or start one more`,
        );
      return host;
    }
    const connected = hosts.filter(({ unreachableSince }) => unreachableSince === null);
    const [roomiest] = connected.toSorted((left, right) => right.capacity - right.devices - (left.capacity - left.devices));
    const start = 'start a device host with `npm run host -- --control URL --name NAME`';
    if (roomiest === undefined) throw new Problem('no-host', `no device host is connected: ${start}`);
    if (roomiest.devices >= roomiest.capacity) throw new Problem('no-host', `all ${connected.length} connected hosts are full: ${start}`);
    return roomiest;
  }
}

/** Devices that a host brings along and that are not known yet. */
export function newDevices(hostId: string, devices: HostRegistration['devices'], known: ReadonlySet<string>, createdAt: Date): NewDevice[] {
  return devices
    .filter(({ name }) => !known.has(name))
    .map(({ name, labels, ramPages }) => ({ id: newIdentifier('device'), name, labels, ramPages, hostId, createdAt }));
}

function toView(device: DeviceRecord, drift: readonly DriftRecord[]): DeviceView {
  const state = device.stateReportedAt === null ? null : DeviceState.safeParse(device.state);
  return { device, state: state?.success ? state.data : null, drift };
}
