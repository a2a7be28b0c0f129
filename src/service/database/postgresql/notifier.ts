// What replicas tell each other over the database (LISTEN and NOTIFY): a wake-up, never the only place where something is said.

import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { connectionOptions } from './connection-options.ts';

export const channel = 'patchbay';
/** After a connection that was lost another is tried, in milliseconds: the first soon, the next later. */
const waits = { shortest: 100, longest: 5_000 } as const;
/** The server is asked this often whether it is there, and given up when it has not answered for so long, in milliseconds. */
const heartbeat = { interval: 3_000, silence: 8_000 } as const;

export class Notifier {
  readonly #url: string;
  /** By what this replica knows its own announcements. */
  readonly #replica = randomUUID();
  #client: pg.Client | null = null;
  #listener: (text: string | null) => void = () => {};
  #isClosed = false;

  private constructor(url: string) {
    this.#url = url;
  }

  /** @throws {Error} of the driver where the database is not there. */
  static async start(url: string): Promise<Notifier> {
    const announcements = new Notifier(url);
    await announcements.#connect();
    return announcements;
  }

  /** Has this one called with what other replicas announce; with null when some may have been missed. */
  listen(listener: (text: string | null) => void): void {
    this.#listener = listener;
  }

  /** A text as this replica sends it. */
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
    // An error is followed by the end.
    client.on('error', () => {});
    client.once('end', () => {
      if (!this.#isClosed && this.#client === client) void this.#reconnect();
    });
    await client.connect();
    await client.query(`LISTEN ${channel}`);
    this.#client = client;
    void this.#keepAsking(client);
  }

  /** So that something comes as long as the server is there. */
  async #keepAsking(client: pg.Client): Promise<void> {
    try {
      for (;;) {
        await delay(heartbeat.interval, undefined, { ref: false });
        await client.query('SELECT');
      }
    } catch {
      // It has ended.
    }
  }

  async #reconnect(): Promise<void> {
    for (let wait: number = waits.shortest; !this.#isClosed; wait = Math.min(2 * wait, waits.longest)) {
      await delay(wait);
      try {
        await this.#connect();
        // What was announced meanwhile, nobody has heard.
        return this.#listener(null);
      } catch {
        // The next time.
      }
    }
    await this.#client?.end().catch(() => {});
  }
}
