// Lists of assignments, outside transactions.

import type { Prisma } from '../database/generated/client.ts';
import { type Comparison, type PageByTime, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import type { AssignmentRow } from './repository.ts';

export class AssignmentQueries {
  readonly #readable: QueryClient;

  constructor({ readable }: Reader) {
    this.#readable = readable;
  }

  async list(page: PageByTime): Promise<MarkedRows<AssignmentRow>> {
    const createdAt = (comparison: Comparison<Date>): Prisma.AssignmentWhereInput => ({ createdAt: comparison });
    const assignments = await this.#readable.assignment.findMany({
      where: { AND: timeConditions({}, page, createdAt, (id) => ({ id })) },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    });
    return restoreMarks(assignments);
  }
}
