// Agents of device hosts: they register, receive orders and send reports.

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
import { HostBootRecords } from '../hosts/boots.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { HostRecord, KnownHost } from '../hosts/repository.ts';
import { encodeCapabilities, HostRecords } from '../hosts/repository.ts';
import type { OrderDispatcher } from '../orders/order-dispatcher.ts';
import { toOfferedOrder } from '../orders/orders.ts';
import type { OrderRecord } from '../orders/repository.ts';
import { hostDecommissioned, notFound, Problem, registrationKeyRevoked, staleBoot } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { newSecret } from '../secrets.ts';
import type { SigningKeyRecord } from '../signing-keys/repository.ts';
import type { SigningKeys } from '../signing-keys/signing-keys.ts';
import { type CheckedBoot, isHeldByOther, refuseSecond } from './name-conflicts.ts';
import { attachNewDevices } from './reattach-devices.ts';
import { beginBoot, checkNotRevoked, deviceCreatedEvent, type RegistrationKey, registerDevices } from './registration.ts';
import { applyReports } from './reports.ts';

/** Maximum number of report batches in progress. A host sends one batch at a time. */
const maxReportBatches = 64;

/** The kind under which health lists reports that a damaged row blocks. */
const deviceReportKind = 'report of device';

export type RegisteredHost = HostRecord & {
  readonly devices: number;
  /** The bearer token for the host's other requests. Returned only here. */
  readonly token: string;
  /** The service's current and earlier signing keys. */
  readonly signingKeys: readonly SigningKeyRecord[];
};

type Uses = {
  readonly store: Store;
  readonly clock: Clock;
  readonly signingKeys: SigningKeys;
  readonly orderDispatcher: OrderDispatcher;
  readonly damagedRows: DamagedRows;
  readonly hosts: Pick<Hosts, 'joinTokenCredential' | 'silenceLimit'>;
};

export class Agents {
  readonly #uses: Uses;
  #reportBatchesInProgress = 0;

  constructor(uses: Uses) {
    this.#uses = uses;
  }

  /** The number of report batches in progress. */
  get reportBatchesInProgress(): number {
    return this.#reportBatchesInProgress;
  }

  /**
   * Registers a host. With a new boot id, its devices are empty: each gets an order to reattach with the modules and programs that it had, and then
   * the orders that were not settled.
   * @param key The API key of the request, or null if the request has the join token. A key for one host registers only that host.
   * @param address The network address of the host; null if unknown.
   * @throws {Problem} `forbidden`; `unauthenticated` if the key was revoked; `host-conflict` if another process has this name and is alive;
   * `name-taken` if another host has a device of the same name, or another host was renamed to this one's name; `too-many-devices`;
   * `decommissioned` if the host was decommissioned in this boot.
   */
  async register(
    registration: HostRegistration,
    key: RegistrationKey | null,
    requester: Requester,
    address: string | null = null,
  ): Promise<RegisteredHost> {
    const { name, bootId, capacity } = registration;
    if (key !== null && key.host !== null && name !== key.host)
      throw new Problem('forbidden', `the key is valid for the host ${key.host} only, not for ${name}: use a key for ${name}`);
    const checked = await this.#findHolder(registration);
    const registeredAt = this.#uses.clock.now();
    const token = `agt_${newSecret()}`;
    const registered = await this.#uses.store.transaction(async (connection) => {
      if (key !== null) await checkNotRevoked(connection, key);
      const known = await findRegistered(connection, name);
      const isNewBoot = known?.bootId !== bootId;
      if (isNewBoot && (await new HostRecords(connection).wasDecommissioned(name, bootId))) throw hostDecommissioned(name);
      if (isHeldByOther(known, registration)) {
        const { silenceLimit } = this.#uses.hosts;
        const act = { requester, at: registeredAt };
        const refusal = await refuseSecond(connection, known, { bootId, address }, { checked, silenceLimit }, act);
        // Returned, not thrown: the refusal is recorded.
        if (refusal !== null) return { refusal };
      }
      if (known !== null && isNewBoot)
        await new HostBootRecords(connection).replace(
          bootId,
          { hostId: known.id, bootId: known.bootId, address: known.address },
          registeredAt,
        );
      const id = known?.id ?? newIdentifier('host');
      const credential = key?.id ?? this.#uses.hosts.joinTokenCredential;
      const contact = { registeredAt, unreachableSince: null };
      const capabilities = encodeCapabilities(registration.capabilities);
      // A renamed host keeps its name.
      const identity = { id, name: known?.name ?? name, bootId };
      const host: HostRecord = { ...identity, capacity, tokenDigest: digestOf(token), credential, capabilities, address, ...contact };
      await new HostRecords(connection).save(host);
      const created = await registerDevices(connection, host, registration);
      if (known?.isUnreachable === true)
        await audit(connection, requester, registeredAt, [{ action: 'host.reachable', object: host.id, detail: {} }]);
      if (isNewBoot) await beginBoot(connection, host, requester);
      else await processInSlices(created, (slice) => attachNewDevices(connection, slice, requester, registeredAt));
      await processInSlices(created, (slice) => audit(connection, requester, registeredAt, slice.map(deviceCreatedEvent)));
      await this.#uses.signingKeys.refresh(connection);
      return { host, signingKeys: await this.#uses.signingKeys.listTrusted(connection) };
    });
    if ('refusal' in registered) throw registered.refusal;
    const { host, signingKeys } = registered;
    return { ...host, devices: await new DeviceRecords(this.#uses.store.readConnection).countOnHost(host.id), token, signingKeys };
  }

  /** Returns the boot that has the name of a registration, and whether it stays connected if it is another one. */
  async #findHolder(registration: HostRegistration): Promise<CheckedBoot> {
    const { store, orderDispatcher } = this.#uses;
    const host = await findRegistered(store.readConnection, registration.name);
    const isConnected = isHeldByOther(host, registration) && (await orderDispatcher.remainsConnected(host.id));
    return { bootId: host?.bootId ?? null, isConnected };
  }

  /** Returns the service's current and earlier signing keys, for hosts. */
  signingKeys(): Promise<SigningKeyRecord[]> {
    const { store, signingKeys } = this.#uses;
    return store.transaction(async (connection) => {
      await signingKeys.refresh(connection);
      return signingKeys.listTrusted(connection);
    });
  }

  /**
   * Streams the host's unsettled orders, then new ones. Repeats orders that remain unsettled. Ends when the signal is aborted.
   * @throws {Problem} `not-found`, `stale-boot`.
   */
  async streamOrders(hostId: string, bootId: string, signal: AbortSignal): Promise<AsyncIterable<Order>> {
    const { orderDispatcher, store } = this.#uses;
    await checkBoot(store.readConnection, hostId, bootId);
    const readable = (record: OrderRecord) => this.#toOffered(record);
    return (async function* () {
      for await (const record of orderDispatcher.stream({ hostId, bootId }, signal)) yield* readable(record);
    })();
  }

  /**
   * Waits for orders after a sequence and returns them; returns none if the signal is aborted first.
   * @throws {Problem} `not-found`, `stale-boot`.
   */
  async pollOrders(hostId: string, bootId: string, after: number, signal: AbortSignal): Promise<Order[]> {
    await checkBoot(this.#uses.store.readConnection, hostId, bootId);
    return (await this.#uses.orderDispatcher.poll({ hostId, bootId }, after, signal)).flatMap((record) => this.#toOffered(record));
  }

  /** Returns the order to send, or nothing if its row is damaged. Health lists the damaged order; the other orders still reach the host. */
  #toOffered(record: OrderRecord): Order[] {
    const order = readOrMark(record, record.id, (stored) => toOfferedOrder(stored, this.#uses.clock.now()));
    if (!(order instanceof DamagedItem)) {
      this.#uses.damagedRows.remove('order', record.id);
      return [order];
    }
    this.#uses.damagedRows.record('order', order);
    return [];
  }

  /** Accepts a heartbeat of this boot of the host. @throws {Problem} `not-found`, `stale-boot`. */
  heartbeat(hostId: string, bootId: string): Promise<void> {
    return checkBoot(this.#uses.store.readConnection, hostId, bootId);
  }

  /** Applies a host's reports. Resolves when they are on disk. @throws {Problem} `not-found`, `stale-boot`, `busy`. */
  async acceptReports(hostId: string, reports: Reports, requester: Requester): Promise<void> {
    if (this.#reportBatchesInProgress >= maxReportBatches)
      throw new Problem('busy', `limit reached (${maxReportBatches} report batches in progress): send the batch again after Retry-After`);
    this.#reportBatchesInProgress += 1;
    try {
      await runBatchOrEach(
        [...new Set(reports.reports.map(({ device }) => device))],
        (devices) => this.#apply(hostId, filterByDevice(reports, new Set(devices)), requester),
        // The orders remain unsettled: the service offers them again, and the host reports again.
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
      // Checked inside the transaction: the host may have registered a new boot while this batch was queued.
      await checkBoot(connection, hostId, reports.bootId);
      await applyReports(connection, { hostId, ...reports }, clock.now(), requester);
    });
    for (const { device } of reports.reports) damagedRows.remove(deviceReportKind, device);
  }
}

/** Returns the reports of the given devices, in order. */
function filterByDevice(reports: Reports, devices: ReadonlySet<string>): Reports {
  return { ...reports, reports: reports.reports.filter(({ device }) => devices.has(device)) };
}

/** Returns the host that registers with this name, or null. @throws {Problem} `name-taken` if another host was renamed to it. */
async function findRegistered(connection: Connection, name: string): Promise<KnownHost | null> {
  const hosts = await new HostRecords(connection).findByName(name);
  const known = hosts.find((host) => (host.registeredName ?? host.name) === name);
  const [other] = hosts;
  if (known === undefined && other !== undefined)
    throw new Problem(
      'name-taken',
      `the host name "${name}" is taken by the host ${other.id}, which was renamed to it: choose another name`,
    );
  return known ?? null;
}

async function checkBoot(connection: Connection, hostId: string, bootId: string): Promise<void> {
  const host = await new HostRecords(connection).bootOf(hostId);
  if (host === null) throw notFound('host', hostId);
  if (host.isDecommissioned) throw hostDecommissioned(host.name);
  if (!host.isRegistered) throw registrationKeyRevoked(host.name);
  if (host.bootId !== bootId) throw staleBoot(host.name);
}
