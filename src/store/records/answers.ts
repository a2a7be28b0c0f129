// Answers to requests with an Idempotency-Key, kept to be given again.

import type { Prisma } from '../generated/client.ts';
import type { IdempotentAnswerModel } from '../generated/models.ts';
import { insertion, Query, type Statements } from '../statements.ts';

export type AnswerRecord = IdempotentAnswerModel;

type Row = Omit<AnswerRecord, 'isSealed' | 'createdAt'> & { readonly isSealed: number; readonly createdAt: number };

const findAnswer = new Query<Row>(
  { actor: 'text', key: 'text' },
  `
  SELECT "actor", "key", "route", "bodyDigest", "status", "contentType", "location", "body", "isSealed", "createdAt" FROM "IdempotentAnswer"
  WHERE "actor" = :actor AND "key" = :key`,
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

  async find(actor: string, key: string): Promise<AnswerRecord | null> {
    const [row] = await this.#statements.all(findAnswer, [actor, key]);
    return row === undefined ? null : { ...row, isSealed: row.isSealed === 1, createdAt: new Date(row.createdAt) };
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
