// Answers to requests with an Idempotency-Key, kept to be given again.

import type { Connection } from '../database/connection.ts';
import type { IdempotentAnswerModel } from '../database/generated/models.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';

export type IdempotentResponseRecord = IdempotentAnswerModel;

const findAnswers = new PreparedQuery({ actors: 'list', keys: 'list' }, (sql, { actors, keys }) =>
  sql
    .selectFrom('IdempotentAnswer')
    .select(['actor', 'key', 'route', 'bodyDigest', 'status', 'contentType', 'location', 'body', 'isSealed', 'createdAt'])
    .where(({ ref }) => actors.includes(ref('actor')))
    .where(({ ref }) => keys.includes(ref('key'))),
);

const keepAnswer = new RowStatement(
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
  (sql, answer) =>
    sql
      .insertInto('IdempotentAnswer')
      .values(answer)
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

  /** All that were kept for these actors under these keys: those that are wanted, and others where several actors are. */
  async findMany(wanted: readonly Pick<IdempotentResponseRecord, 'actor' | 'key'>[]): Promise<IdempotentResponseRecord[]> {
    if (wanted.length === 0) return [];
    const [actors, keys] = [new Set(wanted.map(({ actor }) => actor)), new Set(wanted.map(({ key }) => key))];
    return this.#connection.query(findAnswers, { actors: [...actors], keys: [...keys] });
  }

  async store(answers: readonly IdempotentResponseRecord[]): Promise<void> {
    await this.#connection.executeForRows(keepAnswer, answers);
  }

  async deleteOlderThan(moment: Date): Promise<void> {
    await this.#connection.sql.deleteFrom('IdempotentAnswer').where('createdAt', '<', moment).execute();
  }
}
