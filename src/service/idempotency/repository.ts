// Answers to requests with an Idempotency-Key, kept to be given again.

import type { Connection } from '../database/connection.ts';
import type { IdempotentResponseModel } from '../database/generated/models.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';

export type AnswerRecord = IdempotentResponseModel;

const findAnswers = new PreparedQuery({ actors: 'list', keys: 'list' }, (sql, { actors, keys }) =>
  sql
    .selectFrom('IdempotentResponse')
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
    isSealed: 'truth',
    createdAt: 'time',
  },
  (sql, answer) =>
    sql
      .insertInto('IdempotentResponse')
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

export class AnswerRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** All that were kept for these actors under these keys: those that are wanted, and others where several actors are. */
  async findMany(wanted: readonly Pick<AnswerRecord, 'actor' | 'key'>[]): Promise<AnswerRecord[]> {
    if (wanted.length === 0) return [];
    const [actors, keys] = [new Set(wanted.map(({ actor }) => actor)), new Set(wanted.map(({ key }) => key))];
    return this.#connection.all(findAnswers, { actors: [...actors], keys: [...keys] });
  }

  async keep(answers: readonly AnswerRecord[]): Promise<void> {
    await this.#connection.each(keepAnswer, answers);
  }

  async removeOlderThan(moment: Date): Promise<void> {
    await this.#connection.sql.deleteFrom('IdempotentResponse').where('createdAt', '<', moment).execute();
  }
}
