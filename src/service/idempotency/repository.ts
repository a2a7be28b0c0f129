// Answers to requests with an Idempotency-Key, kept to be given again.

import type { Prisma } from '../database/generated/client.ts';
import type { IdempotentAnswerModel } from '../database/generated/models.ts';
import { insertion, Query, type Statements } from '../database/statements.ts';

export type AnswerRecord = IdempotentAnswerModel;

type Row = Omit<AnswerRecord, 'isSealed' | 'createdAt'> & { readonly isSealed: number; readonly createdAt: number };

const findAnswers = new Query<Row>(
  { actors: 'list', keys: 'list' },
  `
  SELECT "actor", "key", "route", "bodyDigest", "status", "contentType", "location", "body", "isSealed", "createdAt" FROM "IdempotentAnswer"
  WHERE "actor" IN :actors AND "key" IN :keys`,
);

const keepAnswer = insertion(
  'IdempotentAnswer',
  {
    actor: 'text',
    key: 'text',
    route: 'text',
    bodyDigest: 'text',
    status: 'integer',
    contentType: 'text',
    location: 'text',
    body: 'text',
    isSealed: 'truth',
    createdAt: 'time',
  },
  `ON CONFLICT ("actor", "key") DO UPDATE SET "route" = excluded."route", "bodyDigest" = excluded."bodyDigest", "status" = excluded."status",
    "contentType" = excluded."contentType", "location" = excluded."location", "body" = excluded."body", "isSealed" = excluded."isSealed",
    "createdAt" = excluded."createdAt"`,
);

export class AnswerRecords {
  readonly #client: Prisma.TransactionClient;
  readonly #statements: Statements;

  constructor(client: Prisma.TransactionClient, statements: Statements) {
    this.#client = client;
    this.#statements = statements;
  }

  /** All that were kept for these actors under these keys: those that are wanted, and others where several actors are. */
  async findMany(wanted: readonly Pick<AnswerRecord, 'actor' | 'key'>[]): Promise<AnswerRecord[]> {
    if (wanted.length === 0) return [];
    const [actors, keys] = [new Set(wanted.map(({ actor }) => actor)), new Set(wanted.map(({ key }) => key))];
    const rows = await this.#statements.all(findAnswers, [JSON.stringify([...actors]), JSON.stringify([...keys])]);
    return rows.map((row) => ({ ...row, isSealed: row.isSealed === 1, createdAt: new Date(row.createdAt) }));
  }

  async keep(answers: readonly AnswerRecord[]): Promise<void> {
    await this.#statements.each(
      keepAnswer,
      answers.map(({ actor, key, route, bodyDigest, status, contentType, location, body, isSealed, createdAt }) => {
        return [actor, key, route, bodyDigest, status, contentType, location, body, isSealed ? 1 : 0, createdAt.getTime()];
      }),
    );
  }

  async removeOlderThan(moment: Date): Promise<void> {
    await this.#client.idempotentAnswer.deleteMany({ where: { createdAt: { lt: moment } } });
  }
}
