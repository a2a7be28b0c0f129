// Queries of publisher keys, outside transactions.

import type { Prisma } from '../database/generated/client.ts';
import { type Comparison, type PageByTime, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import type { PublisherKeyRecord } from './repository.ts';

export type PublisherKeyFilter = { readonly isRevoked?: boolean | undefined };

export class PublisherKeyQueries {
  readonly #readable: QueryClient;

  constructor({ readable }: Reader) {
    this.#readable = readable;
  }

  async list({ isRevoked }: PublisherKeyFilter, page: PageByTime): Promise<MarkedRows<PublisherKeyRecord>> {
    const createdAt = (comparison: Comparison<Date>): Prisma.PublisherKeyWhereInput => ({ createdAt: comparison });
    const filter = isRevoked === undefined ? [] : [{ revokedAt: isRevoked ? { not: null } : null }];
    const keys = await this.#readable.publisherKey.findMany({
      where: { AND: [...filter, ...timeConditions({}, page, createdAt, (id) => ({ id }))] },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    });
    return restoreMarks(keys);
  }
}
