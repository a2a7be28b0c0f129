// Lists of load batches, read outside transactions.

import type { Prisma } from '../database/generated/client.ts';
import type { LoadBatchModel } from '../database/generated/models.ts';
import { type Comparison, equalTo, type PageByTime, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import type { LoadBatchFilter } from './repository.ts';

export class LoadBatchQueries {
  readonly #readable: QueryClient;

  constructor({ readable }: Reader) {
    this.#readable = readable;
  }

  /** @param ids Only these batches; null: all. */
  async list(
    { from, until, ...filter }: LoadBatchFilter,
    page: PageByTime,
    ids: readonly string[] | null = null,
  ): Promise<MarkedRows<LoadBatchModel>> {
    const requestedAt = (comparison: Comparison<Date>): Prisma.LoadBatchWhereInput => ({ requestedAt: comparison });
    return restoreMarks(
      await this.#readable.loadBatch.findMany({
        where: {
          AND: [
            equalTo(filter),
            ...(ids === null ? [] : [{ id: { in: [...ids] } }]),
            ...timeConditions({ from, until }, page, requestedAt, (id) => ({ id })),
          ],
        },
        orderBy: [{ requestedAt: page.order }, { id: page.order }],
        take: page.limit,
      }),
    );
  }
}
