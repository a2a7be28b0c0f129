// The time by which it is decided what is old enough to be removed.

import type { Connection } from '../database/connection.ts';
import { PreparedQuery } from '../database/prepared-statements.ts';

/** The one row. */
const id = 1;
const readTime = new PreparedQuery({}, (sql) => sql.selectFrom('RetentionTime').select('at').where('id', '=', id));

export class RetentionTimeRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Null where it was never set. */
  async find(): Promise<Date | null> {
    const [row] = await this.#connection.query(readTime, {});
    return row?.at ?? null;
  }

  /** The time, which every service sets when it opens the database. */
  async now(): Promise<Date> {
    const found = await this.find();
    if (found === null) throw new Error('the row of the retention time is gone: restart the service, which sets it again');
    return found;
  }

  async set(at: Date): Promise<void> {
    const { sql } = this.#connection;
    await sql
      .insertInto('RetentionTime')
      .values({ id, at })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ at }))
      .execute();
  }
}
