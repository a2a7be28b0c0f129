// API keys: who may use the API, in which role. Their secrets are not kept.

import type { Prisma } from '../generated/client.ts';
import type { ApiKeyModel } from '../generated/models.ts';
import { type Comparison, type PageByTime, type TimeRange, timeConditions } from './page.ts';

export type KeyRecord = ApiKeyModel;
export type KeyFilter = { readonly role?: string | undefined; readonly isRevoked?: boolean | undefined };

export class KeyRecords {
  readonly #client: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient) {
    this.#client = client;
  }

  async create(key: KeyRecord): Promise<void> {
    await this.#client.apiKey.create({ data: key });
  }

  async find(id: string): Promise<KeyRecord | null> {
    return this.#client.apiKey.findUnique({ where: { id } });
  }

  /** The key of that name that is not revoked. */
  async findByName(name: string): Promise<KeyRecord | null> {
    return this.#client.apiKey.findFirst({ where: { name, revokedAt: null } });
  }

  async list(filter: KeyFilter & TimeRange, page: PageByTime): Promise<KeyRecord[]> {
    const createdAt = (comparison: Comparison<Date>): Prisma.ApiKeyWhereInput => ({ createdAt: comparison });
    return this.#client.apiKey.findMany({
      where: { AND: [whereOf(filter), ...timeConditions(filter, page, createdAt, (id) => ({ id }))] },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    });
  }

  async count(filter: KeyFilter): Promise<number> {
    return this.#client.apiKey.count({ where: whereOf(filter) });
  }

  async revoke(id: string, revokedAt: Date): Promise<void> {
    await this.#client.apiKey.update({ where: { id }, data: { revokedAt } });
  }

  async setLastUsed(id: string, lastUsedAt: Date): Promise<void> {
    await this.#client.apiKey.update({ where: { id }, data: { lastUsedAt } });
  }
}

function whereOf({ role, isRevoked }: KeyFilter): Prisma.ApiKeyWhereInput {
  return {
    ...(role === undefined ? {} : { role }),
    ...(isRevoked === undefined ? {} : { revokedAt: isRevoked ? { not: null } : null }),
  };
}
