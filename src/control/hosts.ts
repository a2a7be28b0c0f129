// Device hosts: who they are, what they are sent, and what they report.

import type { Order, Registration, Reports } from '../protocol/agent.ts';
import { newIdentifier } from '../protocol/identifiers.ts';
import type { DeviceModuleRecord, DeviceRecord, NewDevice } from '../store/records/devices.ts';
import type { HostRecord, HostWithDevices } from '../store/records/hosts.ts';
import type { NewOrder } from '../store/records/orders.ts';
import type { ProgramRecord } from '../store/records/programs.ts';
import type { Records } from '../store/records/records.ts';
import { audit, type Context, type PageOf, type Requester, readPage } from './context.ts';
import { newDevices } from './devices.ts';
import { newOrder, renewedOrder, toOrder, toProgramOrder } from './orders.ts';
import { notFound, Problem } from './problem.ts';
import { applyReports } from './reports.ts';

export type HostView = { readonly host: HostWithDevices; readonly connected: boolean };

export class Hosts {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  /**
   * A host says who it is. In a new boot its devices are empty: each gets an order to come up with the modules and programs that it had, before
   * the orders that were not settled.
   * @throws {Problem} `name-taken` when it brings a device whose name is another host's.
   */
  async register(registration: Registration, requester: Requester): Promise<HostRecord & { readonly devices: number }> {
    const { name, bootId, capacity } = registration;
    const registeredAt = new Date();
    const host = await this.#context.store.transaction(async (records) => {
      const known = await records.hosts.findByName(name);
      const host: HostRecord = { id: known?.id ?? newIdentifier('host'), name, bootId, capacity, registeredAt };
      await records.hosts.save(host);
      const made = await this.#adoptDevices(records, host, registration);
      if (known?.bootId !== bootId) {
        await bringUpDevices(records, host.id, registeredAt);
        const detail = { name, boot: bootId, capacity };
        await audit(records, requester, registeredAt, [{ action: 'host.registered', object: host.id, detail }]);
      } else {
        await records.orders.create(made.map((device) => newOrder(device, attachment(device, [], []), registeredAt)));
      }
      const detailOf = ({ ramPages, labels, ...device }: NewDevice) => ({ name: device.name, host: host.id, ramPages, labels });
      await audit(
        records,
        requester,
        registeredAt,
        made.map((device) => ({ action: 'device.created', object: device.id, detail: detailOf(device) })),
      );
      return host;
    });
    this.#context.orderBoard.announce([host.id]);
    const devices = await this.#context.store.records.devices.select({ hostId: host.id }, Number.MAX_SAFE_INTEGER);
    return { ...host, devices: devices.length };
  }

  /**
   * The host's orders, from the first that is not settled on; ends with the signal.
   * @throws {Problem} `not-found`, `stale-boot`.
   */
  async orders(hostId: string, bootId: string, signal: AbortSignal): Promise<AsyncIterable<Order>> {
    await this.#checkBoot(hostId, bootId);
    const { orderBoard } = this.#context;
    return (async function* () {
      for await (const record of orderBoard.follow(hostId, signal)) yield toOrder(record);
    })();
  }

  /** Takes a host's reports; when it resolves they are on disk. @throws {Problem} `not-found`, `stale-boot`. */
  async report(hostId: string, reports: Reports, requester: Requester): Promise<void> {
    await this.#checkBoot(hostId, reports.bootId);
    await this.#context.store.transaction((records) => applyReports(records, { hostId, ...reports }, requester));
  }

  async list(page: { limit: number; after: string | null }): Promise<PageOf<HostView, string>> {
    const { items, next } = await readPage(
      page,
      (wanted) => this.#context.store.records.hosts.list(wanted),
      ({ id }) => id,
    );
    return { items: items.map((host) => ({ host, connected: this.#context.orderBoard.isConnected(host.id) })), next };
  }

  async #checkBoot(hostId: string, bootId: string): Promise<void> {
    const host = await this.#context.store.records.hosts.find(hostId);
    if (host === null) throw notFound('host', hostId);
    if (host.bootId !== bootId)
      throw new Problem('stale-boot', `the host ${host.name} has registered with another boot id since: register again`);
  }

  /** Devices that the host brings along are made, or keep what they are and get its labels. Answers those made. */
  async #adoptDevices(records: Records, host: HostRecord, registration: Registration): Promise<NewDevice[]> {
    const known = await records.devices.findByNames(registration.devices.map(({ name }) => name));
    const stranger = known.find(({ hostId }) => hostId !== host.id);
    if (stranger !== undefined)
      throw new Problem('name-taken', `the device name "${stranger.name}" is taken by another host's device: choose another`);
    const byName = new Map(registration.devices.map((device) => [device.name, device]));
    await records.devices.relabel(known.map(({ id, name }) => ({ id, labels: byName.get(name)?.labels ?? {} })));
    const made = newDevices(host.id, [...byName.values()], new Set(known.map(({ name }) => name)), host.registeredAt);
    await records.devices.create(made);
    return made;
  }
}

/** Orders every device of a host to come up with what it had; orders that were not settled follow, under new numbers. */
async function bringUpDevices(records: Records, hostId: string, at: Date): Promise<void> {
  const devices = await records.devices.list({ hostId }, { limit: Number.MAX_SAFE_INTEGER, after: null });
  const ids = devices.map(({ id }) => id);
  const modules = Map.groupBy(await records.devices.modulesOf(ids), ({ deviceId }) => deviceId);
  const programs = Map.groupBy(await records.programs.runningOn(ids), ({ deviceId }) => deviceId);
  const unsettled = await records.orders.allUnsettled(hostId);
  await records.orders.remove(unsettled.map(({ id }) => id));
  const attachments: NewOrder[] = devices.map((device) =>
    newOrder(device, attachment(device, modules.get(device.id) ?? [], programs.get(device.id) ?? []), at),
  );
  const others = unsettled.filter(({ kind }) => kind !== 'attach-device').map(renewedOrder);
  await records.orders.create([...attachments, ...others]);
  await records.history.leave({ deviceIds: ids }, { leftAt: at, leftBy: 'reboot', interrupted: 0 });
  await records.devices.forgetStates(hostId);
}

function attachment(
  device: Pick<DeviceRecord, 'name' | 'ramPages'>,
  modules: readonly DeviceModuleRecord[],
  programs: readonly ProgramRecord[],
): { kind: 'attach-device' } & Record<string, unknown> {
  return {
    kind: 'attach-device',
    name: device.name,
    ramPages: device.ramPages,
    modules: modules.map(({ module, version, imageDigest }) => ({ module, version, image: imageDigest })),
    programs: programs.map(toProgramOrder),
  };
}
