// Rows of API keys, with the digests of their secrets.

import type { Connection } from '../database/connection.ts';
import type { ApiKeyModel } from '../database/generated/models.ts';
import { PreparedQuery } from '../database/prepared-statements.ts';

export type KeyRecord = ApiKeyModel;
export type KeyFilter = { readonly role?: string | undefined; readonly isRevoked?: boolean | undefined };

// Named: a column that is added while the service runs would make the statement another.
const keyColumns = ['id', 'name', 'role', 'host', 'secretDigest', 'createdAt', 'createdBy', 'lastUsedAt', 'revokedAt'] as const;
/** Each request asks for its key. */
const keyById = new PreparedQuery({ id: 'text' }, (sql, { id }) => sql.selectFrom('ApiKey').select(keyColumns).where('id', '=', id));

export class KeyRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create(key: KeyRecord): Promise<void> {
    await this.#connection.sql.insertInto('ApiKey').values(key).execute();
  }

  async find(id: string): Promise<KeyRecord | null> {
    const [key] = await this.#connection.query(keyById, { id });
    return key ?? null;
  }

  /** Returns the key with a name that is not revoked. */
  async findByName(name: string): Promise<KeyRecord | null> {
    const { sql } = this.#connection;
    const key = await sql.selectFrom('ApiKey').selectAll().where('name', '=', name).where('revokedAt', 'is', null).executeTakeFirst();
    return key ?? null;
  }

  async count({ role, isRevoked }: KeyFilter): Promise<number> {
    const { count } = await this.#connection.sql
      .selectFrom('ApiKey')
      .select(({ fn }) => fn.countAll<number | bigint>().as('count'))
      .$if(role !== undefined, (keys) => keys.where('role', '=', role ?? ''))
      .$if(isRevoked !== undefined, (keys) => keys.where('revokedAt', isRevoked === true ? 'is not' : 'is', null))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  async revoke(id: string, revokedAt: Date): Promise<void> {
    await this.#connection.sql.updateTable('ApiKey').set({ revokedAt }).where('id', '=', id).execute();
  }

  async setLastUsed(id: string, lastUsedAt: Date): Promise<void> {
    await this.#connection.sql.updateTable('ApiKey').set({ lastUsedAt }).where('id', '=', id).execute();
  }
}
