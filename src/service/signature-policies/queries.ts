// Queries of signature policies, outside transactions.

import type { Prisma } from '../database/generated/client.ts';
import type { SignaturePolicyModel } from '../database/generated/models.ts';
import { type Comparison, type PageByTime, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';

export class SignaturePolicyQueries {
  readonly #readable: QueryClient;

  constructor({ readable }: Reader) {
    this.#readable = readable;
  }

  /** Returns unparsed rows, so that one invalid policy does not prevent reading the others. */
  async list(page: PageByTime): Promise<MarkedRows<SignaturePolicyModel>> {
    const createdAt = (comparison: Comparison<Date>): Prisma.SignaturePolicyWhereInput => ({ createdAt: comparison });
    const policies = await this.#readable.signaturePolicy.findMany({
      where: { AND: timeConditions({}, page, createdAt, (id) => ({ id })) },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    });
    return restoreMarks(policies);
  }
}
