// Where hosts wait for their orders: orders are read from the database, and the board tells who has new ones.

import type { OrderRecord } from '../store/records/orders.ts';
import type { Store } from '../store/store.ts';

/** Orders read at once. */
const batchSize = 500;

type Stream = { readonly end: () => void; wake: () => void };

export class OrderBoard {
  readonly #store: Store;
  readonly #streams = new Map<string, Stream>();
  readonly #onChange: (hostId: string, connected: boolean) => void;
  #closed = false;

  /** @param onChange Told when a host's stream begins and when it has ended. */
  constructor(store: Store, onChange: (hostId: string, connected: boolean) => void) {
    this.#store = store;
    this.#onChange = onChange;
  }

  /** Whether a host is waiting for orders now. */
  isConnected(hostId: string): boolean {
    return this.#streams.has(hostId);
  }

  /** These hosts have new orders. */
  announce(hostIds: Iterable<string>): void {
    for (const hostId of new Set(hostIds)) this.#streams.get(hostId)?.wake();
  }

  /** Ends a host's stream, if it has one. */
  disconnect(hostId: string): void {
    this.#streams.get(hostId)?.end();
  }

  /** Ends every stream; there will be no other. */
  close(): void {
    this.#closed = true;
    for (const { end } of this.#streams.values()) end();
  }

  /**
   * A host's unsettled orders, and then those to come, until the signal is aborted, another stream of the host begins, or the board is closed.
   * An order that is not settled is there again in the next stream: delivery is at least once.
   */
  async *follow(hostId: string, signal: AbortSignal): AsyncGenerator<OrderRecord, void> {
    const ended = new AbortController();
    const stream: Stream = { end: () => ended.abort(), wake: () => {} };
    if (this.#closed || signal.aborted) return;
    signal.addEventListener('abort', stream.end, { once: true });
    this.#streams.get(hostId)?.end();
    this.#streams.set(hostId, stream);
    this.#onChange(hostId, true);
    let after = 0;
    try {
      while (!ended.signal.aborted) {
        const news = new Promise<void>((resolve) => {
          stream.wake = resolve;
          ended.signal.addEventListener('abort', () => resolve(), { once: true });
        });
        const orders = await this.#store.records.orders.unsettled(hostId, after, batchSize);
        for (const order of orders) {
          if (ended.signal.aborted) return;
          after = order.number;
          yield order;
        }
        if (orders.length < batchSize && !ended.signal.aborted) await news;
      }
    } finally {
      signal.removeEventListener('abort', stream.end);
      if (this.#streams.get(hostId) === stream) {
        this.#streams.delete(hostId);
        this.#onChange(hostId, false);
      }
    }
  }
}
