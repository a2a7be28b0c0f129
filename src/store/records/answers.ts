// Answers to requests with an Idempotency-Key, kept to be given again.

import type { Prisma } from '../generated/client.ts';
import type { IdempotentAnswerModel } from '../generated/models.ts';

export type AnswerRecord = IdempotentAnswerModel;

export class AnswerRecords {
  readonly #client: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient) {
    this.#client = client;
  }

  async find(actor: string, key: string): Promise<AnswerRecord | null> {
    // Not `findUnique`: those of many requests at once become one statement, which may have too many parameters.
    return this.#client.idempotentAnswer.findFirst({ where: { actor, key } });
  }

  async keep(answer: AnswerRecord): Promise<void> {
    const { actor, key } = answer;
    await this.#client.idempotentAnswer.upsert({ where: { actor_key: { actor, key } }, create: answer, update: answer });
  }

  async removeOlderThan(moment: Date): Promise<void> {
    await this.#client.idempotentAnswer.deleteMany({ where: { createdAt: { lt: moment } } });
  }
}
