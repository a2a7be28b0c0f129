// Device hosts: who they are, what they are sent, and what they report.

import { digestOf } from '../../compiler/compiler.ts';
import { agentLimits, type Order, type Registration, type Reports } from '../../protocol/agent.ts';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { attachment, bringUpDevices } from '../agents/bring-up.ts';
import { applyReports } from '../agents/reports.ts';
import { type AuditEntry, audit } from '../audit-entry.ts';
import type { Context } from '../context.ts';
import { DamagedItem, eachApart, readOrMark } from '../database/damaged-rows.ts';
import type { PageByName, PageByTime } from '../database/page.ts';
import { type PageOf, readMarkedPage } from '../database/page-reader.ts';
import { unreadablePosition } from '../database/readable-rows.ts';
import type { Records } from '../database/records.ts';
import { inSlices } from '../database/slices.ts';
import { newDevices } from '../devices/devices.ts';
import type { NamedDevice, NewDevice } from '../devices/repository.ts';
import type { KeyHolder } from '../keys/keys.ts';
import { newOrder, offeredOrder } from '../orders/orders.ts';
import type { OrderRecord } from '../orders/repository.ts';
import { accessEnded, notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { isSame, newSecret, slowDigest } from '../secrets.ts';
import type { SigningKeyRecord } from '../signing-keys/repository.ts';
import type { Reachability } from './reachability.ts';
import type { HostFilter, HostRecord, HostWithDevices } from './repository.ts';

/** Batches of reports that are taken at once; each host sends one after another. */
const reportLimit = 64;

/** What reports that cannot be applied because of a damaged row are called. */
const reportOfDevice = 'report of device';

const joinTokenPrefix = 'join-token:';

/** The API key that a host registers with. */
export type RegistrationKey = Pick<KeyHolder, 'id' | 'host'>;

export type RegisteredHost = HostRecord & {
  readonly devices: number;
  /** Shown once: what the host's other requests show. */
  readonly token: string;
  /** What the service signs or has signed builds with. */
  readonly signingKeys: readonly SigningKeyRecord[];
};

export class Hosts {
  readonly #context: Context;
  readonly #reachability: Reachability;
  readonly #joinTokenDigest: string;
  /** What is kept of the join token with the hosts that have registered with it. */
  readonly #joinTokenMark: string;
  #reportsUnderWay = 0;

  /** @param joinToken What a host must show to register. */
  constructor(context: Context, reachability: Reachability, joinToken: string) {
    this.#context = context;
    this.#reachability = reachability;
    this.#joinTokenDigest = digestOf(joinToken);
    this.#joinTokenMark = `${joinTokenPrefix}${slowDigest(joinToken, 'patchbay join token')}`;
  }

  /** Lets those register who have the join token. @throws {Problem} `unauthenticated`. */
  checkJoinToken(token: string | null): void {
    if (token === null || !isSame(digestOf(token), this.#joinTokenDigest)) {
      throw new Problem(
        'unauthenticated',
        'a host registers with the join token, as `Authorization: Bearer TOKEN`: the service keeps it in the file join-token beside its database; or with a key of the role agent',
      );
    }
  }

  /** The host whose token this is; it has been heard of. @throws {Problem} `unauthenticated`. */
  async authenticate(token: string | null): Promise<string> {
    // Found by its digest, of which an attacker cannot choose a prefix: the time that it takes says nothing of the token.
    const host = token === null ? null : await this.#context.store.records.hosts.findByToken(digestOf(token));
    // A host that registered with a join token which has been replaced since registers again, with the new one.
    const isOutdated = host?.credential?.startsWith(joinTokenPrefix) && host.credential !== this.#joinTokenMark;
    if (host === null || isOutdated) {
      throw new Problem(
        'unauthenticated',
        'a host shows the token that it got when it last registered, as `Authorization: Bearer TOKEN`: register again for a new one',
      );
    }
    await this.#reachability.heard(host.id, host.isUnreachable);
    return host.id;
  }

  /** Batches of reports that are being taken. */
  get reportsUnderWay(): number {
    return this.#reportsUnderWay;
  }

  /** How often a host is to say that it is there, in milliseconds, where it says nothing else. */
  get heartbeatInterval(): number {
    return this.#reachability.heartbeatInterval;
  }

  /**
   * A host says who it is. In a new boot its devices are empty: each gets an order to come up with the modules and programs that it had, before
   * the orders that were not settled.
   * @param key The API key that the host shows, which registers the host that it names; null where it shows the join token.
   * @throws {Problem} `forbidden`, `unauthenticated` when the key has been revoked, `name-taken` when it brings a device whose name is another host's,
   * `too-many-devices`.
   */
  async register(registration: Registration, key: RegistrationKey | null, requester: Requester): Promise<RegisteredHost> {
    const { name, bootId, capacity } = registration;
    if (key !== null && key.host !== null && name !== key.host)
      throw new Problem('forbidden', `the key is for the host ${key.host}, and does not register ${name}`);
    const registeredAt = this.#context.clock.now();
    const token = `agt_${newSecret()}`;
    const { host, signingKeys } = await this.#context.store.transaction(async (records) => {
      if (key !== null) await checkNotRevoked(records, key);
      const known = await records.hosts.findByName(name);
      const isNewBoot = known?.bootId !== bootId;
      const id = known?.id ?? newIdentifier('host');
      const credential = key?.id ?? this.#joinTokenMark;
      const heard = { registeredAt, unreachableSince: null };
      const host: HostRecord = { id, name, bootId, capacity, tokenDigest: digestOf(token), credential, ...heard };
      await records.hosts.save(host);
      const made = await adoptDevices(records, host, registration);
      if (known?.isUnreachable === true)
        await audit(records, requester, registeredAt, [{ action: 'host.reachable', object: host.id, detail: {} }]);
      if (isNewBoot) await beginBoot(records, host, requester);
      else await inSlices(made, (slice) => attachEmpty(records, slice, requester, registeredAt));
      await inSlices(made, (slice) => audit(records, requester, registeredAt, slice.map(creationOf)));
      await this.#context.signingKeys.renew(records);
      return { host, signingKeys: await this.#context.signingKeys.vouchedFor(records) };
    });
    return { ...host, devices: await this.#context.store.records.devices.countOf(host.id), token, signingKeys };
  }

  /** What the service signs or has signed builds with, as a host is to be told. */
  signingKeys(): Promise<SigningKeyRecord[]> {
    const { store, signingKeys } = this.#context;
    return store.transaction(async (records) => {
      await signingKeys.renew(records);
      return signingKeys.vouchedFor(records);
    });
  }

  /**
   * The host's orders that are not settled, then those to come, and again those that stay unsettled; ends with the signal.
   * @throws {Problem} `not-found`, `stale-boot`.
   */
  async orders(hostId: string, bootId: string, signal: AbortSignal): Promise<AsyncIterable<Order>> {
    const { orderBoard, store } = this.#context;
    await checkBoot(store.records, hostId, bootId);
    const readable = (record: OrderRecord) => this.#readable(record);
    return (async function* () {
      for await (const record of orderBoard.follow(hostId, signal)) yield* readable(record);
    })();
  }

  /** The host's next orders after a sequence, as soon as there are any; none when the signal ends the waiting. @throws {Problem} as `orders`. */
  async nextOrders(hostId: string, bootId: string, after: number, signal: AbortSignal): Promise<Order[]> {
    await checkBoot(this.#context.store.records, hostId, bootId);
    return (await this.#context.orderBoard.next(hostId, after, signal)).flatMap((record) => this.#readable(record));
  }

  /** The order, or nothing where the row is damaged: the others still reach the host, and the health names this one. */
  #readable(record: OrderRecord): Order[] {
    const order = readOrMark(record, record.id, (one) => offeredOrder(one, this.#context.clock.now()));
    if (!(order instanceof DamagedItem)) {
      this.#context.damagedRows.clear('order', record.id);
      return [order];
    }
    this.#context.damagedRows.note('order', order);
    return [];
  }

  /** The host says that it is there, in this boot. @throws {Problem} `not-found`, `stale-boot`. */
  heartbeat(hostId: string, bootId: string): Promise<void> {
    return checkBoot(this.#context.store.records, hostId, bootId);
  }

  /** Takes a host's reports; when it resolves they are on disk. @throws {Problem} `not-found`, `stale-boot`, `busy`. */
  async report(hostId: string, reports: Reports, requester: Requester): Promise<void> {
    if (this.#reportsUnderWay >= reportLimit)
      throw new Problem('busy', `${reportLimit} batches of reports are being taken: send this one again when Retry-After has passed`);
    this.#reportsUnderWay += 1;
    try {
      await eachApart(
        [...new Set(reports.reports.map(({ device }) => device))],
        (devices) => this.#apply(hostId, ofDevices(reports, new Set(devices)), requester),
        // Orders that are reported on stay unsettled: they are offered again, and the host reports again.
        (device, error) => this.#context.damagedRows.note(reportOfDevice, new DamagedItem(device, error)),
      );
    } finally {
      this.#reportsUnderWay -= 1;
    }
  }

  /** Applies reports in one transaction. */
  async #apply(hostId: string, reports: Reports, requester: Requester): Promise<void> {
    const { store, clock, damagedRows } = this.#context;
    await store.transaction(async (records) => {
      // Read here because the host may register again while its old reports wait.
      await checkBoot(records, hostId, reports.bootId);
      await applyReports(records, { hostId, ...reports }, clock.now(), requester);
    });
    for (const { device } of reports.reports) damagedRows.clear(reportOfDevice, device);
  }

  list(filter: HostFilter, page: PageByTime | PageByName): Promise<PageOf<HostWithDevices | DamagedItem, PageByTime | PageByName>> {
    return readMarkedPage(page, {
      read: (wanted) => this.#context.store.records.hosts.list(filter, wanted),
      positionOfUnreadable: page.sort === 'name' ? unreadablePosition.byName : unreadablePosition.byTime,
      positionOf: ({ id, name, registeredAt }) => (page.sort === 'name' ? { name } : { time: registeredAt, key: id }),
    });
  }
}

/** The reports of some devices, in their order. */
function ofDevices(reports: Reports, devices: ReadonlySet<string>): Reports {
  return { ...reports, reports: reports.reports.filter(({ device }) => devices.has(device)) };
}

/** @throws {Problem} `unauthenticated`. */
async function checkNotRevoked(records: Records, { id }: RegistrationKey): Promise<void> {
  const key = await records.keys.find(id);
  if (key === null || key.revokedAt !== null) throw new Problem('unauthenticated', 'the key was revoked: ask an administrator for another');
}

/** A host has empty devices: they come up with what they had. */
async function beginBoot(records: Records, { id, name, bootId, capacity, registeredAt }: HostRecord, requester: Requester): Promise<void> {
  await bringUpDevices(records, id, requester, registeredAt);
  // The old life of the host, should it still be there, is not to carry out the orders of the new one.
  await records.hosts.endStreams([id]);
  await audit(records, requester, registeredAt, [{ action: 'host.registered', object: id, detail: { name, boot: bootId, capacity } }]);
}

/** Orders new devices to come up. */
async function attachEmpty(records: Records, devices: readonly NewDevice[], requester: Requester, at: Date): Promise<void> {
  await records.orders.create(devices.map((device) => newOrder(device, attachment(device, [], []), requester, at)));
}

function creationOf({ id, name, hostId, ramPages, labels }: NewDevice): AuditEntry {
  return { action: 'device.created', object: id, detail: { name, host: hostId, ramPages, labels } };
}

/**
 * Devices that the host brings along are made, or keep what they are and get its labels, unless an operator has set them. Returns those made.
 * @throws {Problem} `name-taken`, `too-many-devices`.
 */
async function adoptDevices(records: Records, host: HostRecord, registration: Registration): Promise<NewDevice[]> {
  const byName = new Map(registration.devices.map((device) => [device.name, device]));
  const known: NamedDevice[] = [];
  await inSlices([...byName.keys()], async (slice) => void known.push(...(await records.devices.named(slice))));
  const stranger = known.find(({ hostId }) => hostId !== host.id);
  if (stranger !== undefined)
    throw new Problem('name-taken', `the device name "${stranger.name}" is taken by another host's device: choose another`);
  const made = newDevices(host.id, [...byName.values()], new Set(known.map(({ name }) => name)), host.registeredAt);
  if (made.length > 0) checkDeviceLimit(host.name, await records.devices.countOf(host.id), made.length);
  const labelledByHost = known.filter(({ labelsByOperator }) => !labelsByOperator);
  await inSlices(labelledByHost, (slice) =>
    records.devices.relabel(slice.map(({ id, name }) => ({ id, labels: byName.get(name)?.labels ?? {} }))),
  );
  await inSlices(made, (slice) => records.devices.create(slice));
  return made;
}

/** @throws {Problem} `too-many-devices`. */
function checkDeviceLimit(host: string, present: number, added: number): void {
  const limit = agentLimits.devicesPerHost;
  if (present + added <= limit) return;
  throw new Problem(
    'too-many-devices',
    `the host ${host} has ${present} devices and brings ${added} more, ${present + added} in all; the limit is ${limit} devices per host: register the others under the name of another host`,
  );
}

async function checkBoot(records: Records, hostId: string, bootId: string): Promise<void> {
  const host = await records.hosts.bootOf(hostId);
  if (host === null) throw notFound('host', hostId);
  if (!host.isRegistered) throw accessEnded(host.name);
  if (host.bootId !== bootId)
    throw new Problem('stale-boot', `the host ${host.name} has registered with another boot id since: register again`);
}
