// Device hosts: who they are, what they are sent, and what they report.

import type { Order, Registration, Reports } from '../protocol/agent.ts';
import { newIdentifier } from '../protocol/identifiers.ts';
import type { NewDevice } from '../store/records/devices.ts';
import type { HostRecord, HostWithDevices } from '../store/records/hosts.ts';
import type { Records } from '../store/records/records.ts';
import { attachment, bringUpDevices } from './bring-up.ts';
import { audit, type Context, type PageOf, type Requester, readPage } from './context.ts';
import { newDevices } from './devices.ts';
import { newOrder, toOrder } from './orders.ts';
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
    const { host, isNewBoot } = await this.#context.store.transaction(async (records) => {
      const known = await records.hosts.findByName(name);
      const isNewBoot = known?.bootId !== bootId;
      const host: HostRecord = { id: known?.id ?? newIdentifier('host'), name, bootId, capacity, registeredAt };
      await records.hosts.save(host);
      const made = await this.#adoptDevices(records, host, registration);
      if (isNewBoot) {
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
      return { host, isNewBoot };
    });
    // The old life of the host, should it still be there, is not to carry out the orders of the new one.
    if (isNewBoot) this.#context.orderBoard.disconnect(host.id);
    this.#context.orderBoard.announce([host.id]);
    const devices = await this.#context.store.records.devices.select({ hostId: host.id }, Number.MAX_SAFE_INTEGER);
    return { ...host, devices: devices.length };
  }

  /**
   * The host's orders, from the first that is not settled on; ends with the signal.
   * @throws {Problem} `not-found`, `stale-boot`.
   */
  async orders(hostId: string, bootId: string, signal: AbortSignal): Promise<AsyncIterable<Order>> {
    const { orderBoard, store } = this.#context;
    await checkBoot(store.records, hostId, bootId);
    return (async function* () {
      for await (const record of orderBoard.follow(hostId, signal)) yield toOrder(record);
    })();
  }

  /** Takes a host's reports; when it resolves they are on disk. @throws {Problem} `not-found`, `stale-boot`. */
  async report(hostId: string, reports: Reports, requester: Requester): Promise<void> {
    await this.#context.store.transaction(async (records) => {
      // Here, for the host may register anew while its old reports wait.
      await checkBoot(records, hostId, reports.bootId);
      await applyReports(records, { hostId, ...reports }, requester);
    });
  }

  async list(page: { limit: number; after: string | null }): Promise<PageOf<HostView, string>> {
    const { items, next } = await readPage(
      page,
      (wanted) => this.#context.store.records.hosts.list(wanted),
      ({ id }) => id,
    );
    return { items: items.map((host) => ({ host, connected: this.#context.orderBoard.isConnected(host.id) })), next };
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

async function checkBoot(records: Records, hostId: string, bootId: string): Promise<void> {
  const host = await records.hosts.find(hostId);
  if (host === null) throw notFound('host', hostId);
  if (host.bootId !== bootId)
    throw new Problem('stale-boot', `the host ${host.name} has registered with another boot id since: register again`);
}
