// Rows of API keys, with the digests of their secrets.

import type { Connection } from '../database/connection.ts';
import type { ApiKeyModel } from '../database/generated/models.ts';
import { PreparedQuery } from '../database/prepared-statements.ts';

export type KeyRecord = ApiKeyModel;
export type KeyFilter = { readonly role?: string | undefined; readonly isRevoked?: boolean | undefined };
/** Keys that are neither revoked nor expired. */
type ValidKeys = { readonly at: Date; readonly role?: string; readonly isPermanent?: true };

// Named: a column that is added while the service runs would make the statement another.
const keyColumns = [
  'id',
  'name',
  'role',
  'host',
  'secretDigest',
  'createdAt',
  'createdBy',
  'lastUsedAt',
  'revokedAt',
  'expiresAt',
  'requestsPerMinute',
  'scope',
] as const;
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

  /** Returns the valid key with a name. */
  async findByName(name: string, at: Date): Promise<KeyRecord | null> {
    const key = await this.#valid({ at }).where('name', '=', name).selectAll().executeTakeFirst();
    return key ?? null;
  }

  /** Returns whether any key was ever created. */
  async hasAny(): Promise<boolean> {
    return (await this.#connection.sql.selectFrom('ApiKey').select('id').limit(1).executeTakeFirst()) !== undefined;
  }

  async countValid(keys: ValidKeys): Promise<number> {
    const { count } = await this.#valid(keys)
      .select(({ fn }) => fn.countAll<number | bigint>().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  #valid({ at, role, isPermanent }: ValidKeys) {
    return this.#connection.sql
      .selectFrom('ApiKey')
      .where('revokedAt', 'is', null)
      .where(({ or, eb }) => or([eb('expiresAt', 'is', null), eb('expiresAt', '>', at)]))
      .$if(role !== undefined, (keys) => keys.where('role', '=', role ?? ''))
      .$if(isPermanent === true, (keys) => keys.where('expiresAt', 'is', null));
  }

  async revoke(id: string, revokedAt: Date): Promise<void> {
    await this.#connection.sql.updateTable('ApiKey').set({ revokedAt }).where('id', '=', id).execute();
  }

  async setLastUsed(id: string, lastUsedAt: Date): Promise<void> {
    await this.#connection.sql.updateTable('ApiKey').set({ lastUsedAt }).where('id', '=', id).execute();
  }
}
