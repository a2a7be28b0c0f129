// Queries of API keys, outside transactions.

import type { Prisma } from '../database/generated/client.ts';
import { type Comparison, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import type { KeyFilter, KeyRecord } from './repository.ts';

export class KeyQueries {
  readonly #readable: QueryClient;

  constructor({ readable }: Reader) {
    this.#readable = readable;
  }

  async list({ role, isRevoked, ...range }: KeyFilter & TimeRange, page: PageByTime): Promise<MarkedRows<KeyRecord>> {
    const createdAt = (comparison: Comparison<Date>): Prisma.ApiKeyWhereInput => ({ createdAt: comparison });
    const filter = {
      ...(role === undefined ? {} : { role }),
      ...(isRevoked === undefined ? {} : { revokedAt: isRevoked ? { not: null } : null }),
    };
    const keys = await this.#readable.apiKey.findMany({
      where: { AND: [filter, ...timeConditions(range, page, createdAt, (id) => ({ id }))] },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    });
    return restoreMarks(keys);
  }
}
