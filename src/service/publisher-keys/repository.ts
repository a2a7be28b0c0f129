// Rows of publishers' public keys.

import { readInChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { PublisherKeyModel } from '../database/generated/models.ts';

export type PublisherKeyRecord = PublisherKeyModel;

export class PublisherKeyRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create(key: PublisherKeyRecord): Promise<void> {
    await this.#connection.sql.insertInto('PublisherKey').values(key).execute();
  }

  async find(id: string): Promise<PublisherKeyRecord | null> {
    const key = await this.#keys().where('id', '=', id).executeTakeFirst();
    return key ?? null;
  }

  async findMany(ids: readonly string[]): Promise<PublisherKeyRecord[]> {
    return readInChunks(ids, (some) => this.#keys().where('id', 'in', some).execute());
  }

  /** Returns the key with a digest, even if it is revoked. */
  async findByKeyId(keyId: string): Promise<PublisherKeyRecord | null> {
    const key = await this.#keys().where('keyId', '=', keyId).executeTakeFirst();
    return key ?? null;
  }

  /** Returns the key with a name that is not revoked. */
  async findByName(name: string): Promise<PublisherKeyRecord | null> {
    const key = await this.#keys().where('name', '=', name).where('revokedAt', 'is', null).executeTakeFirst();
    return key ?? null;
  }

  #keys() {
    return this.#connection.sql.selectFrom('PublisherKey').selectAll();
  }

  /** Returns the number of keys that are not revoked. */
  async countInUse(): Promise<number> {
    const { count } = await this.#connection.sql
      .selectFrom('PublisherKey')
      .select(({ fn }) => fn.countAll<number | bigint>().as('count'))
      .where('revokedAt', 'is', null)
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  async revoke(id: string, revokedAt: Date): Promise<void> {
    await this.#connection.sql.updateTable('PublisherKey').set({ revokedAt }).where('id', '=', id).execute();
  }
}
