// Stored responses to requests with an Idempotency-Key.

import type { Connection } from '../database/connection.ts';
import type { IdempotentResponseModel } from '../database/generated/models.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';

export type IdempotentResponseRecord = IdempotentResponseModel;

const findResponses = new PreparedQuery({ actors: 'list', keys: 'list' }, (sql, { actors, keys }) =>
  sql
    .selectFrom('IdempotentResponse')
    .select(['actor', 'key', 'route', 'bodyDigest', 'status', 'contentType', 'location', 'body', 'isSealed', 'createdAt'])
    .where(({ ref }) => actors.includes(ref('actor')))
    .where(({ ref }) => keys.includes(ref('key'))),
);

const upsertResponse = new RowStatement(
  {
    actor: 'text',
    key: 'text',
    route: 'text',
    bodyDigest: 'text',
    status: 'integer',
    contentType: 'text?',
    location: 'text?',
    body: 'text',
    isSealed: 'boolean',
    createdAt: 'time',
  },
  (sql, response) =>
    sql
      .insertInto('IdempotentResponse')
      .values(response)
      .onConflict((conflict) =>
        conflict.columns(['actor', 'key']).doUpdateSet(({ ref }) => ({
          route: ref('excluded.route'),
          bodyDigest: ref('excluded.bodyDigest'),
          status: ref('excluded.status'),
          contentType: ref('excluded.contentType'),
          location: ref('excluded.location'),
          body: ref('excluded.body'),
          isSealed: ref('excluded.isSealed'),
          createdAt: ref('excluded.createdAt'),
        })),
      ),
);

export class IdempotentResponseRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Returns the stored responses for these actors and keys: every combination of an actor and a key that exists, so with several actors more than was wanted. */
  async findMany(wanted: readonly Pick<IdempotentResponseRecord, 'actor' | 'key'>[]): Promise<IdempotentResponseRecord[]> {
    if (wanted.length === 0) return [];
    const [actors, keys] = [new Set(wanted.map(({ actor }) => actor)), new Set(wanted.map(({ key }) => key))];
    return this.#connection.query(findResponses, { actors: [...actors], keys: [...keys] });
  }

  async store(responses: readonly IdempotentResponseRecord[]): Promise<void> {
    await this.#connection.executeForRows(upsertResponse, responses);
  }

  async deleteOlderThan(time: Date): Promise<void> {
    await this.#connection.sql.deleteFrom('IdempotentResponse').where('createdAt', '<', time).execute();
  }
}
