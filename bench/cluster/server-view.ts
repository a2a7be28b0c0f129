// A database of PostgreSQL as it is seen from outside while replicas write it: what they wrote, how much of it, and what they told each other.

import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { channel } from '../../src/service/database/postgresql/notifier.ts';

/** The server counts a transaction of a connection that is idle after this, in milliseconds. */
const countedAfter = 2_000;

/** What a server has done so far. */
export type Work = {
  readonly transactions: number;
  /** Of the write-ahead log, which is what goes to its disk. */
  readonly walBytes: number;
  /** Devices whose state was written, each time once. */
  readonly deviceWrites: number;
  /** Of the tables and their indexes. */
  readonly tableBytes: number;
  readonly announcements: number;
  /** When it was seen, as `performance.now()` has it. */
  readonly at: number;
};

export class ServerView {
  readonly #client: pg.Client;
  #announcements = 0;

  static async open(url: string): Promise<ServerView> {
    const client = new pg.Client({ connectionString: url });
    const view = new ServerView(client);
    await client.connect();
    await client.query(`LISTEN ${channel}`);
    return view;
  }

  private constructor(client: pg.Client) {
    this.#client = client;
    client.on('notification', () => {
      this.#announcements += 1;
    });
  }

  /** The first value of the only row. */
  async number(sql: string, ...parameters: unknown[]): Promise<number> {
    const [value] = await this.#firstValues(sql, parameters);
    return Number(value ?? 0);
  }

  /** The first value of each row. */
  async texts(sql: string, ...parameters: unknown[]): Promise<string[]> {
    return (await this.#firstValues(sql, parameters)).map(String);
  }

  async #firstValues(sql: string, parameters: unknown[]): Promise<unknown[]> {
    const { rows } = await this.#client.query<unknown[]>({ text: sql, values: parameters, rowMode: 'array' });
    return rows.map(([first]) => first);
  }

  /** Identifiers in the order in which the devices were made. */
  devices(): Promise<string[]> {
    return this.texts('SELECT "id" FROM "Device" ORDER BY "createdAt", "id"');
  }

  attachedDevices(): Promise<number> {
    return this.number('SELECT COUNT(*) FROM "Device" WHERE "attachedBootId" IS NOT NULL');
  }

  /** Connections of the replicas. */
  connections(): Promise<number> {
    return this.number(
      `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
    );
  }

  /** What was done until now, as soon as the server has counted it. */
  async work(): Promise<Work> {
    const at = performance.now();
    const walBytes = await this.number(`SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')`);
    await setTimeout(countedAfter);
    return {
      transactions: await this.number('SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()'),
      walBytes,
      deviceWrites: await this.number(`SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'Device'`),
      tableBytes: await this.number(
        `SELECT SUM(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`,
      ),
      announcements: this.#announcements,
      at,
    };
  }

  async close(): Promise<void> {
    await this.#client.end();
  }
}
