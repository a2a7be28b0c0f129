// Answers to requests with an Idempotency-Key, kept to be given again.

import type { Prisma } from '../generated/client.ts';
import type { IdempotentAnswerModel } from '../generated/models.ts';

export type AnswerRecord = IdempotentAnswerModel;

export class AnswerRecords {
  readonly #client: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient) {
    this.#client = client;
  }

  async find(key: string): Promise<AnswerRecord | null> {
    return this.#client.idempotentAnswer.findUnique({ where: { key } });
  }

  async keep(answer: AnswerRecord): Promise<void> {
    await this.#client.idempotentAnswer.upsert({ where: { key: answer.key }, create: answer, update: answer });
  }

  async removeOlderThan(moment: Date): Promise<void> {
    await this.#client.idempotentAnswer.deleteMany({ where: { createdAt: { lt: moment } } });
  }
}
