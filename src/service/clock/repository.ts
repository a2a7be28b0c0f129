// The time by which it is decided what is old enough to be removed.

import type { Prisma } from '../database/generated/client.ts';
import { Query, type Statements } from '../database/statements.ts';

/** The one row. */
const id = 1;
const readTime = new Query<{ readonly at: number }>({}, `SELECT "at" FROM "RetentionTime" WHERE "id" = 1`);

export class RetentionTimeRecords {
  readonly #client: Prisma.TransactionClient;
  readonly #statements: Statements;

  constructor(client: Prisma.TransactionClient, statements: Statements) {
    this.#client = client;
    this.#statements = statements;
  }

  /** Null where it was never set. */
  async find(): Promise<Date | null> {
    const [row] = await this.#statements.all(readTime, []);
    return row === undefined ? null : new Date(row.at);
  }

  /** The time, which every service sets when it opens the database. */
  async now(): Promise<Date> {
    const found = await this.find();
    if (found === null) throw new Error('the row of the retention time is gone: restart the service, which sets it again');
    return found;
  }

  async set(at: Date): Promise<void> {
    await this.#client.retentionTime.upsert({ where: { id }, create: { id, at }, update: { at } });
  }
}
