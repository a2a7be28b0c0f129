// Where hosts wait for their orders: orders are read from the database, and the board tells who has new ones.

import { randomUUID } from 'node:crypto';
import { agentLimits } from '../../protocol/agent.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { ChangeNotification } from '../database/change-notification.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import { HostQueries } from '../hosts/queries.ts';
import { HostRecords } from '../hosts/repository.ts';
import { registrationKeyRevoked } from '../problem.ts';
import { OrderOffers, offerIntervals } from './order-offers.ts';
import type { OrderRecord } from './repository.ts';
import { OrderRecords } from './repository.ts';

/** Orders read at once. */
const batchSize = 500;

/** In which a host follows its orders, at this replica of the service. */
type OrderStream = { readonly id: string; readonly ending: AbortController };

/** Called in the transaction in which a host is offered orders, with the loads that they are for. */
export type OnDispatched = (connection: Connection, loads: readonly string[], at: Date) => Promise<void>;

export class OrderDispatcher {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #onDispatched: OnDispatched;
  readonly #offers: OrderOffers;
  readonly #streams = new Map<string, OrderStream>();
  /** Whoever waits for a host's orders, to be woken. */
  readonly #waiters = new Map<string, Set<() => void>>();
  readonly #closed = new AbortController();

  constructor(store: Store, clock: Clock, onDispatched: OnDispatched) {
    this.#onDispatched = onDispatched;
    this.#store = store;
    this.#clock = clock;
    this.#offers = new OrderOffers(clock);
  }

  /** How many hosts follow their orders in a stream. */
  get streamCount(): number {
    return this.#streams.size;
  }

  /** There may be new orders, or room for more; and streams are to end. */
  notify({ hosts, endedStreams }: ChangeNotification): void {
    const all = hosts === 'all' || endedStreams === 'all';
    // Also those whose streams end: where the host has no access any more, waiting for its next orders ends too.
    for (const hostId of all ? this.#waiters.keys() : [...hosts, ...endedStreams])
      for (const wake of this.#waiters.get(hostId) ?? []) wake();
    for (const hostId of endedStreams === 'all' ? [...this.#streams.keys()] : endedStreams) void this.#endIfReplaced(hostId);
  }

  /** The database says which stream is the host's. */
  async #endIfReplaced(hostId: string): Promise<void> {
    const stream = this.#streams.get(hostId);
    if (stream === undefined) return;
    try {
      if ((await new HostQueries(this.#store.reader).streamOf(hostId)) !== stream.id) stream.ending.abort();
    } catch {
      // A database that does not answer ends no stream.
    }
  }

  /** Ends every stream and every waiting; there will be no other. */
  close(): void {
    this.#closed.abort();
  }

  /**
   * A host's next orders after a number, as soon as there are any; none when the signal is aborted or the board closed. They count as sent.
   * Those up to that number that no report has settled are among them again when their offers are due: delivery is at least once.
   * @throws {Problem} `unauthenticated` when the host has no token any more.
   */
  async poll(hostId: string, after: number, signal: AbortSignal): Promise<OrderRecord[]> {
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    while (!this.#closed.signal.aborted) {
      const { promise: news, resolve } = Promise.withResolvers<void>();
      const wake = () => resolve();
      const waiting = this.#waiters.get(hostId) ?? new Set();
      this.#waiters.set(hostId, waiting.add(wake));
      ended.addEventListener('abort', wake);
      const offersDue = setTimeout(wake, offerIntervals.first);
      try {
        const orders = await this.#dispatch(hostId, after);
        // Whoever waits no time at all is told what there is.
        if (orders.length > 0 || ended.aborted) return orders;
        await news;
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
   * Every order of a host that no report has settled, then those to come, and again those that stay unsettled; until the signal is aborted, another
   * stream of the host begins, or the board is closed.
   */
  async *stream(hostId: string, signal: AbortSignal): AsyncGenerator<OrderRecord, void> {
    const stream: OrderStream = { id: randomUUID(), ending: new AbortController() };
    const ended = AbortSignal.any([signal, stream.ending.signal, this.#closed.signal]);
    this.#streams.get(hostId)?.ending.abort();
    this.#streams.set(hostId, stream);
    let last = 0;
    try {
      await this.#store.transaction((connection) => new HostRecords(connection).setStream(hostId, stream.id));
      while (!ended.aborted) {
        for (const order of await this.poll(hostId, last, ended)) {
          if (ended.aborted) return;
          last = Math.max(last, order.number);
          yield order;
        }
      }
    } finally {
      if (this.#streams.get(hostId) === stream) this.#streams.delete(hostId);
    }
  }

  /** Reads the next orders; before a host is sent one for the first time that is on disk, so that it cannot be withdrawn behind its back. */
  async #dispatch(hostId: string, after: number): Promise<OrderRecord[]> {
    const again = await this.#dispatchDue(hostId, after);
    if (again.length > 0) return again;
    const [first] = await new OrderRecords(this.#store.readConnection).next(hostId, after, agentLimits.ordersInFlight, 1);
    if (first === undefined) {
      await checkAccess(this.#store.readConnection, hostId);
      return [];
    }
    return this.#offer(hostId, (connection) => new OrderRecords(connection).next(hostId, after, agentLimits.ordersInFlight, batchSize));
  }

  /** Offers a host orders that are read in the transaction that notes it. */
  #offer(hostId: string, read: (connection: Connection) => Promise<OrderRecord[]>): Promise<OrderRecord[]> {
    return this.#store.transaction(async (connection) => {
      await checkAccess(connection, hostId);
      const found = await read(connection);
      await this.#onDispatched(
        connection,
        found.flatMap(({ loadId }) => loadId ?? []),
        this.#clock.now(),
      );
      this.#offers.record(hostId, found);
      return found;
    });
  }

  /**
   * Orders up to a number that no report has settled, where it is time to offer them again. A host may know of a higher number than the database has
   * given to any order, as after a restored backup: then this finds new orders too.
   */
  async #dispatchDue(hostId: string, after: number): Promise<OrderRecord[]> {
    if (after === 0) return [];
    const orders = new OrderRecords(this.#store.readConnection);
    const isStream = this.#streams.has(hostId);
    if (!this.#offers.mayBeDue(hostId) && (isStream || (await orders.lastNumber()) >= after)) return [];
    const isDue = this.#offers.findDue(hostId, await orders.listUpTo(hostId, after, agentLimits.ordersInFlight)).length > 0;
    if (!isDue) return [];
    return this.#offer(hostId, async (connection) => {
      return this.#offers
        .findDue(hostId, await new OrderRecords(connection).listUpTo(hostId, after, agentLimits.ordersInFlight))
        .slice(0, batchSize);
    });
  }
}

/** @throws {Problem} `unauthenticated` when the host has no token any more. */
async function checkAccess(connection: Connection, hostId: string): Promise<void> {
  if ((await new HostRecords(connection).bootOf(hostId))?.isRegistered === false) throw registrationKeyRevoked(hostId);
}
