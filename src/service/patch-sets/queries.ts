// Lists of patch sets, read outside transactions.

import type { Prisma } from '../database/generated/client.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, mapReadable, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import type { PatchSetRecord } from './repository.ts';

export type PatchSetFilter = TimeRange & {
  readonly name?: string | undefined;
  readonly version?: string | undefined;
  /** Only patch sets that have a build of this module. */
  readonly module?: string | undefined;
};

const withMembers = {
  members: {
    include: { build: { select: { imageDigest: true, imagePrunedAt: true, yankReason: true, envelope: true } } },
  },
} as const;

export class PatchSetQueries {
  readonly #readable: QueryClient;

  constructor({ readable }: Reader) {
    this.#readable = readable;
  }

  async list({ from, until, module, ...columns }: PatchSetFilter, page: PageByTime): Promise<MarkedRows<PatchSetRecord>> {
    const createdAt = (comparison: Comparison<Date>): Prisma.PatchSetWhereInput => ({ createdAt: comparison });
    const ofModule = module === undefined ? [] : [{ members: { some: { module } } }];
    const patchSets = await this.#readable.patchSet.findMany({
      where: { AND: [equalTo(columns), ...ofModule, ...timeConditions({ from, until }, page, createdAt, (id) => ({ id }))] },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
      include: withMembers,
    });
    return mapReadable(restoreMarks(patchSets), ({ members, ...patchSet }) => ({
      ...patchSet,
      members: members
        .map(({ build, patchSetId: _, ...member }) => ({ ...member, ...build }))
        .toSorted((left, right) => (left.module < right.module ? -1 : 1)),
    }));
  }
}
