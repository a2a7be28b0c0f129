// Lists of programs, read outside transactions.

import type { Prisma } from '../database/generated/client.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import type { ProgramRecord } from './repository.ts';

export type ProgramFilter = TimeRange & { readonly deviceId: string; readonly module?: string | undefined };

export class ProgramQueries {
  readonly #readable: QueryClient;

  constructor({ readable }: Reader) {
    this.#readable = readable;
  }

  async list({ from, until, ...filter }: ProgramFilter, page: PageByTime): Promise<MarkedRows<ProgramRecord>> {
    const createdAt = (comparison: Comparison<Date>): Prisma.ProgramWhereInput => ({ createdAt: comparison });
    const programs = await this.#readable.program.findMany({
      where: { AND: [equalTo(filter), ...timeConditions({ from, until }, page, createdAt, (id) => ({ id }))] },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    });
    return restoreMarks(programs);
  }
}
