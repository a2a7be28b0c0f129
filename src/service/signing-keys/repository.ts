// Rows of the service's signing keys: their public keys and endorsements.

import type { Connection } from '../database/connection.ts';
import type { SigningKeyModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { withoutMarks } from '../database/readable-rows.ts';

export type SigningKeyRecord = SigningKeyModel;
type NamedSigningKey = Pick<SigningKeyModel, 'id' | 'keyId' | 'publicKey'>;
export type CurrentKeys = { readonly active: NamedSigningKey; readonly first: NamedSigningKey };
export type NewSigningKey = Omit<SigningKeyModel, 'retiredAt' | 'endorsement'> & { readonly endorsement: object | null };

export class SigningKeyRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create({ endorsement, ...key }: NewSigningKey): Promise<SigningKeyRecord> {
    return this.#connection.sql
      .insertInto('SigningKey')
      .values({ ...key, endorsement: endorsement && Json.of(endorsement) })
      .returningAll()
      .executeTakeFirstOrThrow();
  }

  async find(id: string): Promise<SigningKeyRecord | null> {
    const key = await this.#connection.sql.selectFrom('SigningKey').selectAll().where('id', '=', id).executeTakeFirst();
    return key ?? null;
  }

  /** Returns the active key and the first key; null if there is none. Reads only the columns that a start needs. */
  async current(): Promise<CurrentKeys | null> {
    const keys = this.#connection.sql.selectFrom('SigningKey').select(['id', 'keyId', 'publicKey']).limit(1);
    const active = await keys.where('retiredAt', 'is', null).orderBy('id', 'desc').executeTakeFirst();
    // The first key has no predecessor. Creation times are no criterion: a key created while the clock was behind would seem to be the first.
    const oldest = keys.orderBy('createdAt').orderBy('id');
    const first = (await oldest.where('predecessorEndorsement', 'is', null).executeTakeFirst()) ?? (await oldest.executeTakeFirst());
    return active === undefined || first === undefined ? null : { active, first };
  }

  async count(): Promise<number> {
    const { count } = await this.#connection.sql
      .selectFrom('SigningKey')
      .select(({ fn }) => fn.countAll<number | bigint>().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  /** Returns all keys, retired ones included, oldest first. Keys that cannot be decoded are left out. */
  async all(): Promise<SigningKeyRecord[]> {
    const keys = this.#connection.sql.selectFrom('SigningKey').selectAll().orderBy('createdAt').orderBy('id');
    return withoutMarks(await this.#connection.queryReadable(keys, { kind: 'signing key', table: 'SigningKey', key: ['id'] }));
  }

  /** Retires all keys. */
  async retireAll(retiredAt: Date): Promise<void> {
    await this.#connection.sql.updateTable('SigningKey').set({ retiredAt }).where('retiredAt', 'is', null).execute();
  }
}
