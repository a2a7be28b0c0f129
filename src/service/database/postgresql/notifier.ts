// Notifications between replicas over LISTEN and NOTIFY. They only wake replicas up: all data is also in tables.

import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { connectionOptions } from './connection-options.ts';

export const channel = 'patchbay';
/** Backoff of reconnects in milliseconds. */
const backoff = { min: 100, max: 5_000 } as const;
/** Interval of heartbeat queries, and the time without traffic after which the connection is closed, in milliseconds. */
const heartbeat = { interval: 3_000, silence: 8_000 } as const;

export class Notifier {
  readonly #url: string;
  /** Identifies the notifications of this replica. */
  readonly #replica = randomUUID();
  #client: pg.Client | null = null;
  #listener: (text: string | null) => void = () => {};
  #isClosed = false;

  private constructor(url: string) {
    this.#url = url;
  }

  /** Connects and starts to listen. @throws {Error} of the driver if the server cannot be reached. */
  static async start(url: string): Promise<Notifier> {
    const notifier = new Notifier(url);
    await notifier.#connect();
    return notifier;
  }

  /** Sets the listener for notifications of other replicas; it receives null if some may have been missed. */
  listen(listener: (text: string | null) => void): void {
    this.#listener = listener;
  }

  /** Returns the NOTIFY payload of a text. */
  toPayload(text: string): string {
    return `${this.#replica} ${text}`;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#client?.end().catch(() => {});
  }

  async #connect(): Promise<void> {
    const client = new pg.Client(connectionOptions(this.#url, [], heartbeat.silence));
    client.on('notification', ({ payload = '' }) => {
      const [replica = '', ...words] = payload.split(' ');
      if (replica !== this.#replica) this.#listener(words.join(' '));
    });
    // An error is followed by `end`.
    client.on('error', () => {});
    client.once('end', () => {
      if (!this.#isClosed && this.#client === client) void this.#reconnect();
    });
    await client.connect();
    await client.query(`LISTEN ${channel}`);
    this.#client = client;
    void this.#sendHeartbeats(client);
  }

  /** Causes traffic as long as the server responds. */
  async #sendHeartbeats(client: pg.Client): Promise<void> {
    try {
      for (;;) {
        await delay(heartbeat.interval, undefined, { ref: false });
        await client.query('SELECT');
      }
    } catch {
      // The connection has ended.
    }
  }

  async #reconnect(): Promise<void> {
    for (let wait: number = backoff.min; !this.#isClosed; wait = Math.min(2 * wait, backoff.max)) {
      await delay(wait);
      try {
        await this.#connect();
        // Notifications may have been missed while the connection was lost.
        return this.#listener(null);
      } catch {
        // Try again.
      }
    }
    await this.#client?.end().catch(() => {});
  }
}
