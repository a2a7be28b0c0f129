// Delivers orders to hosts that wait for them. Orders are read from the database; a notification wakes the hosts that have new ones.

import { randomUUID } from 'node:crypto';
import { agentLimits } from '../../protocol/agent.ts';
import { delay } from '../../protocol/back-off.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { ChangeNotification } from '../database/change-notification.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import { HostQueries } from '../hosts/queries.ts';
import { HostRecords } from '../hosts/repository.ts';
import { hostDecommissioned, Problem, registrationKeyRevoked, staleBoot } from '../problem.ts';
import { OrderOffers, offerIntervals } from './order-offers.ts';
import type { OrderRecord } from './repository.ts';
import { isUrgent, OrderRecords } from './repository.ts';

/** Orders read per query. */
const batchSize = 500;

/** How long the connection of a host that has ended may take to close, and how often it is checked, in milliseconds. */
const closingMilliseconds = 1_000;
const closingInterval = 25;

/** One run of a host process. Orders are for one boot: those of the next boot are for other, empty devices. */
export type HostBoot = { readonly hostId: string; readonly bootId: string };

/** The order stream of a host, at this replica of the service. */
type OrderStream = { readonly id: string; readonly ending: AbortController };

/** Called in the transaction that offers orders to a host. Returns the loads whose orders are held instead. */
export type OnDispatched = (connection: Connection, orders: readonly OrderRecord[], at: Date) => Promise<ReadonlySet<string>>;

export class OrderDispatcher {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #onDispatched: OnDispatched;
  readonly #offers: OrderOffers;
  readonly #streams = new Map<string, OrderStream>();
  /** Callbacks that wake polls and streams, by host. */
  readonly #waiters = new Map<string, Set<() => void>>();
  readonly #closed = new AbortController();

  constructor(store: Store, clock: Clock, onDispatched: OnDispatched) {
    this.#onDispatched = onDispatched;
    this.#store = store;
    this.#clock = clock;
    this.#offers = new OrderOffers(clock);
  }

  /** The number of hosts with an order stream at this replica. */
  get streamCount(): number {
    return this.#streams.size;
  }

  /** Wakes hosts that may have new orders or room for more, and ends replaced streams. */
  notify({ hosts, endedStreams }: ChangeNotification): void {
    const all = hosts === 'all' || endedStreams === 'all';
    // Hosts whose streams end are woken too: if the token of a host was revoked, its poll must end.
    for (const hostId of all ? this.#waiters.keys() : [...hosts, ...endedStreams])
      for (const wake of this.#waiters.get(hostId) ?? []) wake();
    for (const hostId of endedStreams === 'all' ? [...this.#streams.keys()] : endedStreams) void this.#endIfReplaced(hostId);
  }

  /** Ends the stream of a host if the database has another one. Otherwise confirms the stream if another replica asks for it. */
  async #endIfReplaced(hostId: string): Promise<void> {
    const stream = this.#streams.get(hostId);
    if (stream === undefined) return;
    try {
      const recorded = await new HostQueries(this.#store.reader).streamOf(hostId);
      if (recorded?.streamId !== stream.id) return stream.ending.abort();
      const { streamQuestion } = recorded;
      if (streamQuestion !== null)
        await this.#store.transaction((connection) => new HostRecords(connection).confirmStream(hostId, stream.id, streamQuestion));
    } catch {
      // An unavailable database does not end a stream.
    }
  }

  /**
   * Returns whether a host keeps its order stream open, at any replica, or a poll at this one. A host that has just ended may seem to for a moment:
   * waits up to `closingMilliseconds` for its connection to close.
   */
  async remainsConnected(hostId: string): Promise<boolean> {
    const ended = AbortSignal.any([AbortSignal.timeout(closingMilliseconds), this.#closed.signal]);
    if (!this.#isServed(hostId)) return this.#isServedElsewhere(hostId, ended);
    while (!ended.aborted && this.#isServed(hostId)) await delay(closingInterval, ended);
    return this.#isServed(hostId);
  }

  /** Whether the host has an order stream or a poll at this replica. */
  #isServed(hostId: string): boolean {
    return this.#streams.has(hostId) || this.#waiters.has(hostId);
  }

  /** Asks the other replicas for the order stream of a host. A stream of a replica that was killed is recorded too, but none confirms it. */
  async #isServedElsewhere(hostId: string, ended: AbortSignal): Promise<boolean> {
    const read = () => new HostRecords(this.#store.readConnection).streamOf(hostId);
    if ((await read())?.streamId == null || (await this.#store.clusterTime()) === null) return false;
    const question = randomUUID();
    await this.#store.transaction((connection) => new HostRecords(connection).askForStream(hostId, question));
    for (;;) {
      await delay(closingInterval, ended);
      const recorded = await read();
      if (recorded?.streamId == null) return false;
      if (ended.aborted) return recorded.streamQuestion !== question;
    }
  }

  /** Ends every stream and poll. Later calls return no orders. */
  close(): void {
    this.#closed.abort();
  }

  /**
   * Waits for orders of a host after a number, and returns them marked as dispatched. Returns none if the signal is aborted or the dispatcher closes.
   * Also returns unsettled orders up to that number when they are due for another offer: delivery is at least once.
   * @throws {Problem} `unauthenticated` if the token of the host was revoked; `stale-boot` if the host has registered another boot meanwhile.
   */
  async poll(boot: HostBoot, after: number, signal: AbortSignal): Promise<OrderRecord[]> {
    const { hostId } = boot;
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    while (!this.#closed.signal.aborted) {
      const { promise: woken, resolve } = Promise.withResolvers<void>();
      const wake = () => resolve();
      const waiting = this.#waiters.get(hostId) ?? new Set();
      this.#waiters.set(hostId, waiting.add(wake));
      ended.addEventListener('abort', wake);
      const offersDue = setTimeout(wake, offerIntervals.first);
      try {
        const orders = await this.#dispatch(boot, after);
        // A poll that does not wait still returns the orders that exist.
        if (orders.length > 0 || ended.aborted) return orders;
        await woken;
      } finally {
        clearTimeout(offersDue);
        ended.removeEventListener('abort', wake);
        waiting.delete(wake);
        if (waiting.size === 0 && this.#waiters.get(hostId) === waiting) this.#waiters.delete(hostId);
      }
      if (ended.aborted) return [];
    }
    return [];
  }

  /**
   * Yields every unsettled order of a host, then new ones, and repeats orders that remain unsettled. Ends when the signal is aborted, another stream of
   * the host begins, or the dispatcher closes. A stream of an earlier boot ends at once, and does not end the stream of the last registered boot.
   */
  async *stream(boot: HostBoot, signal: AbortSignal): AsyncGenerator<OrderRecord, void> {
    const { hostId, bootId } = boot;
    const stream: OrderStream = { id: randomUUID(), ending: new AbortController() };
    const ended = AbortSignal.any([signal, stream.ending.signal, this.#closed.signal]);
    const isLastBoot = await this.#store.transaction((connection) => new HostRecords(connection).setStream(hostId, bootId, stream.id));
    if (!isLastBoot) return;
    this.#streams.get(hostId)?.ending.abort();
    this.#streams.set(hostId, stream);
    let last = 0;
    try {
      // A later stream may have begun before this one was known here.
      await this.#endIfReplaced(hostId);
      while (!ended.aborted) {
        for (const order of await this.poll(boot, last, ended)) {
          if (ended.aborted) return;
          // An urgent order may have overtaken orders that are not offered yet.
          if (!isUrgent(order)) last = Math.max(last, order.number);
          yield order;
        }
      }
    } catch (error) {
      // Orders of the new boot may wake the stream of an earlier one before it learns that it ends.
      if (!(error instanceof Problem && error.kind === 'stale-boot')) throw error;
    } finally {
      if (this.#streams.get(hostId) === stream) this.#streams.delete(hostId);
      if (!this.#closed.signal.aborted && !stream.ending.signal.aborted) void this.#recordStreamEnd(hostId, stream);
    }
  }

  async #recordStreamEnd(hostId: string, { id }: OrderStream): Promise<void> {
    // A record that cannot be written is harmless: no replica confirms the stream.
    await this.#store.transaction((connection) => new HostRecords(connection).clearStream(hostId, id)).catch(() => {});
  }

  /** Reads the next orders. Marks them as dispatched on disk before the host gets them, so that their loads cannot be cancelled after that. */
  async #dispatch(boot: HostBoot, after: number): Promise<OrderRecord[]> {
    const { hostId } = boot;
    const due = await this.#dispatchDue(boot, after);
    if (due.length > 0) return due;
    const [first] = await new OrderRecords(this.#store.readConnection).next(hostId, after, agentLimits.ordersInFlight, 1);
    if (first === undefined) return this.#dispatchUrgent(boot, after);
    return this.#offer(boot, (connection) => new OrderRecords(connection).next(hostId, after, agentLimits.ordersInFlight, batchSize));
  }

  /** Reads the urgent orders that are due, although the host has too many orders in flight for others. */
  async #dispatchUrgent(boot: HostBoot, after: number): Promise<OrderRecord[]> {
    const { hostId } = boot;
    const findDue = async (connection: Connection) => {
      const urgent = await new OrderRecords(connection).listUrgent(hostId, after, batchSize);
      return urgent.filter((order) => this.#offers.isDue(hostId, order));
    };
    if ((await findDue(this.#store.readConnection)).length > 0) return this.#offer(boot, findDue);
    await checkAccess(this.#store.readConnection, boot);
    return [];
  }

  /** Reads orders and marks them as dispatched in one transaction. */
  #offer(boot: HostBoot, read: (connection: Connection) => Promise<OrderRecord[]>): Promise<OrderRecord[]> {
    const { hostId } = boot;
    return this.#store.transaction(async (connection) => {
      await checkAccess(connection, boot);
      const found = await read(connection);
      const held = await this.#onDispatched(connection, found, this.#clock.now());
      // The host may have room for other orders now.
      if (held.size > 0) connection.commitEffects.hosts.add(hostId);
      const offered = found.filter(({ loadId }) => loadId === null || !held.has(loadId));
      this.#offers.record(hostId, offered);
      return offered;
    });
  }

  /**
   * Returns unsettled orders up to a number that are due for another offer. After a restored backup, the number of the host can be higher than any
   * number in the database: then this finds new orders too.
   */
  async #dispatchDue(boot: HostBoot, after: number): Promise<OrderRecord[]> {
    const { hostId } = boot;
    if (after === 0) return [];
    const orders = new OrderRecords(this.#store.readConnection);
    const isStream = this.#streams.has(hostId);
    if (!this.#offers.mayBeDue(hostId) && (isStream || (await orders.lastNumber()) >= after)) return [];
    const isDue = this.#offers.findDue(hostId, await orders.listUpTo(hostId, after, agentLimits.ordersInFlight)).length > 0;
    if (!isDue) return [];
    return this.#offer(boot, async (connection) => {
      return this.#offers
        .findDue(hostId, await new OrderRecords(connection).listUpTo(hostId, after, agentLimits.ordersInFlight))
        .slice(0, batchSize);
    });
  }
}

/** @throws {Problem} `decommissioned`; `unauthenticated` if the token of the host was revoked; `stale-boot` if the host has registered another boot. */
async function checkAccess(connection: Connection, { hostId, bootId }: HostBoot): Promise<void> {
  const host = await new HostRecords(connection).bootOf(hostId);
  if (host === null) return;
  if (host.isDecommissioned) throw hostDecommissioned(host.name);
  if (!host.isRegistered) throw registrationKeyRevoked(hostId);
  if (host.bootId !== bootId) throw staleBoot(host.name);
}
