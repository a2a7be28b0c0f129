// Observes a PostgreSQL database while replicas write to it: transactions, bytes of write-ahead log, and notifications.

import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { channel } from '../../src/service/database/postgresql/notifier.ts';

/** Delay after which the server statistics include a transaction of an idle connection, in milliseconds. */
const countedAfter = 2_000;

/** Statistics of a server so far. */
export type Work = {
  readonly transactions: number;
  /** Bytes of write-ahead log, which are what is written to disk synchronously. */
  readonly walBytes: number;
  /** Writes of device states. */
  readonly deviceWrites: number;
  /** Size of the tables and their indexes in bytes. */
  readonly tableBytes: number;
  readonly announcements: number;
  /** When the statistics were read, by `performance.now()`. */
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

  /** Returns the first value of the only row. */
  async number(sql: string, ...parameters: unknown[]): Promise<number> {
    const [value] = await this.#firstValues(sql, parameters);
    return Number(value ?? 0);
  }

  /** Returns the first value of each row. */
  async texts(sql: string, ...parameters: unknown[]): Promise<string[]> {
    return (await this.#firstValues(sql, parameters)).map(String);
  }

  async #firstValues(sql: string, parameters: unknown[]): Promise<unknown[]> {
    const { rows } = await this.#client.query<unknown[]>({ text: sql, values: parameters, rowMode: 'array' });
    return rows.map(([first]) => first);
  }

  /** Returns the device identifiers in creation order. */
  devices(): Promise<string[]> {
    return this.texts('SELECT "id" FROM "Device" ORDER BY "createdAt", "id"');
  }

  attachedDevices(): Promise<number> {
    return this.number('SELECT COUNT(*) FROM "Device" WHERE "attachedBootId" IS NOT NULL');
  }

  /** Returns the number of connections of the replicas. */
  connections(): Promise<number> {
    return this.number(
      `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
    );
  }

  /** Returns the statistics until now, once the server has counted them. */
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
