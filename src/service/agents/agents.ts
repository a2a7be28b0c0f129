// The agents of device hosts: they register, are sent orders, and report.

import { digestOf } from '../../machine/digest.ts';
import type { HostRegistration, Order, Reports } from '../../protocol/agent.ts';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import { DamagedItem, type DamagedRows, readOrMark, runBatchOrEach } from '../database/damaged-rows.ts';
import { processInSlices } from '../database/slices.ts';
import type { Store } from '../database/store.ts';
import { DeviceRecords } from '../devices/repository.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { HostRecord } from '../hosts/repository.ts';
import { HostRecords } from '../hosts/repository.ts';
import type { OrderDispatcher } from '../orders/order-dispatcher.ts';
import { toOfferedOrder } from '../orders/orders.ts';
import type { OrderRecord } from '../orders/repository.ts';
import { notFound, Problem, registrationKeyRevoked } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { newSecret } from '../secrets.ts';
import type { SigningKeyRecord } from '../signing-keys/repository.ts';
import type { SigningKeys } from '../signing-keys/signing-keys.ts';
import { attachNewDevices } from './reattach-devices.ts';
import { beginBoot, checkNotRevoked, deviceCreatedEvent, type RegistrationKey, registerDevices } from './registration.ts';
import { applyReports } from './reports.ts';

/** Batches of reports that are taken at once; each host sends one after another. */
const maxReportBatches = 64;

/** What reports that cannot be applied because of a damaged row are called. */
const deviceReportKind = 'report of device';

export type RegisteredHost = HostRecord & {
  readonly devices: number;
  /** Shown once: what the host's other requests show. */
  readonly token: string;
  /** What the service signs or has signed builds with. */
  readonly signingKeys: readonly SigningKeyRecord[];
};

type Uses = {
  readonly store: Store;
  readonly clock: Clock;
  readonly signingKeys: SigningKeys;
  readonly orderDispatcher: OrderDispatcher;
  readonly damagedRows: DamagedRows;
  readonly hosts: Pick<Hosts, 'joinTokenCredential'>;
};

export class Agents {
  readonly #uses: Uses;
  #reportBatchesInProgress = 0;

  constructor(uses: Uses) {
    this.#uses = uses;
  }

  /** Batches of reports that are being taken. */
  get reportBatchesInProgress(): number {
    return this.#reportBatchesInProgress;
  }

  /**
   * A host says who it is. In a new boot its devices are empty: each gets an order to come up with the modules and programs that it had, before
   * the orders that were not settled.
   * @param key The API key that the host shows, which registers the host that it names; null where it shows the join token.
   * @throws {Problem} `forbidden`, `unauthenticated` when the key has been revoked, `name-taken` when it brings a device whose name is another host's,
   * `too-many-devices`.
   */
  async register(registration: HostRegistration, key: RegistrationKey | null, requester: Requester): Promise<RegisteredHost> {
    const { name, bootId, capacity } = registration;
    if (key !== null && key.host !== null && name !== key.host)
      throw new Problem('forbidden', `the key is for the host ${key.host}, and does not register ${name}`);
    const registeredAt = this.#uses.clock.now();
    const token = `agt_${newSecret()}`;
    const { host, signingKeys } = await this.#uses.store.transaction(async (connection) => {
      if (key !== null) await checkNotRevoked(connection, key);
      const known = await new HostRecords(connection).findByName(name);
      const isNewBoot = known?.bootId !== bootId;
      const id = known?.id ?? newIdentifier('host');
      const credential = key?.id ?? this.#uses.hosts.joinTokenCredential;
      const heard = { registeredAt, unreachableSince: null };
      const host: HostRecord = { id, name, bootId, capacity, tokenDigest: digestOf(token), credential, ...heard };
      await new HostRecords(connection).save(host);
      const made = await registerDevices(connection, host, registration);
      if (known?.isUnreachable === true)
        await audit(connection, requester, registeredAt, [{ action: 'host.reachable', object: host.id, detail: {} }]);
      if (isNewBoot) await beginBoot(connection, host, requester);
      else await processInSlices(made, (slice) => attachNewDevices(connection, slice, requester, registeredAt));
      await processInSlices(made, (slice) => audit(connection, requester, registeredAt, slice.map(deviceCreatedEvent)));
      await this.#uses.signingKeys.refresh(connection);
      return { host, signingKeys: await this.#uses.signingKeys.listTrusted(connection) };
    });
    return { ...host, devices: await new DeviceRecords(this.#uses.store.readConnection).countOnHost(host.id), token, signingKeys };
  }

  /** What the service signs or has signed builds with, as a host is to be told. */
  signingKeys(): Promise<SigningKeyRecord[]> {
    const { store, signingKeys } = this.#uses;
    return store.transaction(async (connection) => {
      await signingKeys.refresh(connection);
      return signingKeys.listTrusted(connection);
    });
  }

  /**
   * The host's orders that are not settled, then those to come, and again those that stay unsettled; ends with the signal.
   * @throws {Problem} `not-found`, `stale-boot`.
   */
  async streamOrders(hostId: string, bootId: string, signal: AbortSignal): Promise<AsyncIterable<Order>> {
    const { orderDispatcher, store } = this.#uses;
    await checkBoot(store.readConnection, hostId, bootId);
    const readable = (record: OrderRecord) => this.#toOffered(record);
    return (async function* () {
      for await (const record of orderDispatcher.stream(hostId, signal)) yield* readable(record);
    })();
  }

  /** The host's next orders after a sequence, as soon as there are any; none when the signal ends the waiting. @throws {Problem} as `orders`. */
  async pollOrders(hostId: string, bootId: string, after: number, signal: AbortSignal): Promise<Order[]> {
    await checkBoot(this.#uses.store.readConnection, hostId, bootId);
    return (await this.#uses.orderDispatcher.poll(hostId, after, signal)).flatMap((record) => this.#toOffered(record));
  }

  /** The order, or nothing where the row is damaged: the others still reach the host, and the health names this one. */
  #toOffered(record: OrderRecord): Order[] {
    const order = readOrMark(record, record.id, (one) => toOfferedOrder(one, this.#uses.clock.now()));
    if (!(order instanceof DamagedItem)) {
      this.#uses.damagedRows.remove('order', record.id);
      return [order];
    }
    this.#uses.damagedRows.record('order', order);
    return [];
  }

  /** The host says that it is there, in this boot. @throws {Problem} `not-found`, `stale-boot`. */
  heartbeat(hostId: string, bootId: string): Promise<void> {
    return checkBoot(this.#uses.store.readConnection, hostId, bootId);
  }

  /** Takes a host's reports; when it resolves they are on disk. @throws {Problem} `not-found`, `stale-boot`, `busy`. */
  async acceptReports(hostId: string, reports: Reports, requester: Requester): Promise<void> {
    if (this.#reportBatchesInProgress >= maxReportBatches)
      throw new Problem('busy', `${maxReportBatches} batches of reports are being taken: send this one again when Retry-After has passed`);
    this.#reportBatchesInProgress += 1;
    try {
      await runBatchOrEach(
        [...new Set(reports.reports.map(({ device }) => device))],
        (devices) => this.#apply(hostId, filterByDevice(reports, new Set(devices)), requester),
        // Orders that are reported on stay unsettled: they are offered again, and the host reports again.
        (device, error) => this.#uses.damagedRows.record(deviceReportKind, new DamagedItem(device, error)),
      );
    } finally {
      this.#reportBatchesInProgress -= 1;
    }
  }

  /** Applies reports in one transaction. */
  async #apply(hostId: string, reports: Reports, requester: Requester): Promise<void> {
    const { store, clock, damagedRows } = this.#uses;
    await store.transaction(async (connection) => {
      // Read here because the host may register again while its old reports wait.
      await checkBoot(connection, hostId, reports.bootId);
      await applyReports(connection, { hostId, ...reports }, clock.now(), requester);
    });
    for (const { device } of reports.reports) damagedRows.remove(deviceReportKind, device);
  }
}

/** The reports of some devices, in their order. */
function filterByDevice(reports: Reports, devices: ReadonlySet<string>): Reports {
  return { ...reports, reports: reports.reports.filter(({ device }) => devices.has(device)) };
}

async function checkBoot(connection: Connection, hostId: string, bootId: string): Promise<void> {
  const host = await new HostRecords(connection).bootOf(hostId);
  if (host === null) throw notFound('host', hostId);
  if (!host.isRegistered) throw registrationKeyRevoked(host.name);
  if (host.bootId !== bootId)
    throw new Problem('stale-boot', `the host ${host.name} has registered with another boot id since: register again`);
}
