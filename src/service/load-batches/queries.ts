// Lists of load batches, read outside transactions.

import type { Prisma } from '../database/generated/client.ts';
import type { LoadBatchModel } from '../database/generated/models.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';

export type LoadBatchFilter = TimeRange & { readonly module?: string | undefined; readonly version?: string | undefined };

export class LoadBatchQueries {
  readonly #readable: QueryClient;

  constructor({ readable }: Reader) {
    this.#readable = readable;
  }

  async list({ from, until, ...filter }: LoadBatchFilter, page: PageByTime): Promise<MarkedRows<LoadBatchModel>> {
    const requestedAt = (comparison: Comparison<Date>): Prisma.LoadBatchWhereInput => ({ requestedAt: comparison });
    return restoreMarks(
      await this.#readable.loadBatch.findMany({
        where: { AND: [equalTo(filter), ...timeConditions({ from, until }, page, requestedAt, (id) => ({ id }))] },
        orderBy: [{ requestedAt: page.order }, { id: page.order }],
        take: page.limit,
      }),
    );
  }
}
