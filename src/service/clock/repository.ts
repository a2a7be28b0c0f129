// The stored retention time.

import type { Connection } from '../database/connection.ts';
import { PreparedQuery } from '../database/prepared-statements.ts';

/** The identifier of the single row. */
const id = 1;
const readTime = new PreparedQuery({}, (sql) => sql.selectFrom('RetentionTime').select('at').where('id', '=', id));

export class RetentionTimeRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Returns the retention time, or null if it was never set. */
  async find(): Promise<Date | null> {
    const [row] = await this.#connection.query(readTime, {});
    return row?.at ?? null;
  }

  /** Returns the retention time; every service sets it when it opens the database. @throws {Error} if the row is missing. */
  async now(): Promise<Date> {
    const found = await this.find();
    if (found === null) throw new Error('the row of the retention time is missing: restart the service to create it again');
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
