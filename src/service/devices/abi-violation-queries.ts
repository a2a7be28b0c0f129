// Queries for lists of ABI violations, outside transactions.

import type { Prisma } from '../database/generated/client.ts';
import type { AbiViolationModel } from '../database/generated/models.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';

export type AbiViolationRecord = AbiViolationModel;
export type AbiViolationFilter = TimeRange & {
  readonly deviceId: string;
  readonly programId?: string | undefined;
  readonly module?: string | undefined;
};

export class AbiViolationQueries {
  readonly #readable: QueryClient;

  constructor({ readable }: Reader) {
    this.#readable = readable;
  }

  async list({ from, until, ...filter }: AbiViolationFilter, page: PageByTime<number>): Promise<MarkedRows<AbiViolationRecord>> {
    const firstFaultAt = (comparison: Comparison<Date>): Prisma.AbiViolationWhereInput => ({ firstFaultAt: comparison });
    const violations = await this.#readable.abiViolation.findMany({
      where: { AND: [equalTo(filter), ...timeConditions({ from, until }, page, firstFaultAt, (number) => ({ number }))] },
      orderBy: [{ firstFaultAt: page.order }, { number: page.order }],
      take: page.limit,
    });
    return restoreMarks(violations);
  }
}
