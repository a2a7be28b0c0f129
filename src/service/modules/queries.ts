// Queries of builds, modules, images and provenance statements, outside transactions.

import { readInChunks } from '../database/chunks.ts';
import type { Prisma } from '../database/generated/client.ts';
import {
  type Comparison,
  equalTo,
  nameConditions,
  type PageByName,
  type PageByTime,
  type TimeRange,
  timeConditions,
} from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, type OnUndecodable, readOneByOne, readOrFallBack, restoreMarks, timeBound } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import { checkDates } from '../database/undecodable-row.ts';
import type { BuildRecord } from './repository.ts';

export type BuildFilter = TimeRange & {
  readonly module: string;
  readonly language?: string | undefined;
  readonly isYanked?: boolean | undefined;
};

export type ModuleSummary = { readonly module: string; readonly builds: number; readonly lastBuildAt: Date };

export class BuildQueries {
  readonly #client: QueryClient;
  readonly #readable: QueryClient;
  readonly #onUndecodable: OnUndecodable;

  constructor({ client, readable, onUndecodable }: Reader) {
    this.#client = client;
    this.#readable = readable;
    this.#onUndecodable = onUndecodable;
  }

  async findByImage(module: string, imageDigest: string): Promise<BuildRecord | null> {
    return this.#client.build.findFirst({ where: { module, imageDigest } });
  }

  /** Returns the builds without provenance after an identifier, sorted by identifier. */
  async listWithoutProvenance(after: string, limit: number): Promise<MarkedRows<BuildRecord>> {
    const where = { envelope: null, id: { gt: after } };
    return restoreMarks(await this.#readable.build.findMany({ where, orderBy: { id: 'asc' }, take: limit }));
  }

  async list(filter: BuildFilter, page: PageByTime): Promise<MarkedRows<BuildRecord>> {
    return restoreMarks(await this.#readable.build.findMany(this.#pageQuery(filter, page)));
  }

  #pageQuery({ from, until, isYanked, ...filter }: BuildFilter, page: PageByTime) {
    const createdAt = (comparison: Comparison<Date>): Prisma.BuildWhereInput => ({ createdAt: comparison });
    const yanked = isYanked === undefined ? [] : [{ yankedAt: isYanked ? { not: null } : null }];
    return {
      where: { AND: [equalTo(filter), ...yanked, ...timeConditions({ from, until }, page, createdAt, (id) => ({ id }))] },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    } satisfies Prisma.BuildFindManyArgs;
  }

  /** Returns modules with their number of builds and the time of the last build, sorted by name or by that time. */
  async listModules(page: PageByTime | PageByName): Promise<MarkedRows<ModuleSummary>> {
    const { build: builds } = this.#client;
    const count = { _count: { _all: true }, _max: { createdAt: true } } as const;
    const query = {
      by: ['module' as const],
      where: { AND: page.sort === 'name' ? nameConditions('', page, (module): Prisma.BuildWhereInput => ({ module })) : [] },
      having: { AND: page.sort === 'time' ? timeConditions({}, page, lastBuildAt, (module) => ({ module })) : [] },
      orderBy: [...(page.sort === 'time' ? [{ _max: { createdAt: page.order } }] : []), { module: page.order }],
      take: page.limit,
    } satisfies Prisma.BuildGroupByArgs;
    return readOrFallBack(
      async () => (await builds.groupBy({ ...query, ...count })).map(toModuleSummary),
      async () =>
        readOneByOne(await builds.groupBy(query), {
          nameOf: ({ module }) => ({ kind: 'module', id: module, location: null }),
          read: async ({ module }) =>
            (await builds.groupBy({ by: ['module'], where: { module }, ...count })).map(toModuleSummary)[0] ?? null,
          sortedBy: ({ module }) =>
            page.sort === 'name' ? module : timeBound(page.order, (moment) => this.#isLastBuiltBefore(module, moment)),
          onUndecodable: this.#onUndecodable,
        }),
    );
  }

  async #isLastBuiltBefore(module: string, moment: Date): Promise<boolean> {
    const groups = await this.#client.build.groupBy({ by: ['module'], where: { module }, having: lastBuildAt({ lt: moment }) });
    return groups.length > 0;
  }

  /** Returns the signed statement of a driver (JSON); null if the image does not exist or is that of a build. */
  async findDriverStatement(digest: string): Promise<string | null> {
    return (await this.findDriverStatements([digest])).get(digest) ?? null;
  }

  /** Returns the signed statements of the drivers that have one, by image digest. */
  async findDriverStatements(digests: readonly string[]): Promise<Map<string, string>> {
    const images = await readInChunks(digests, (some) =>
      this.#client.image.findMany({ where: { digest: { in: some } }, select: { digest: true, statement: true } }),
    );
    return new Map(images.flatMap(({ digest, statement }) => (statement === null ? [] : [[digest, statement] as const])));
  }

  async image(digest: string): Promise<Uint8Array | null> {
    const image = await this.#client.image.findUnique({ where: { digest } });
    return image?.bytes ?? null;
  }
}

type ModuleGroup = {
  readonly module: string;
  readonly _count: { readonly _all: number };
  readonly _max: { readonly createdAt: Date | null };
};

function toModuleSummary({ module, _count, _max }: ModuleGroup): ModuleSummary {
  return checkDates({ module, builds: _count._all, lastBuildAt: _max.createdAt ?? new Date(0) });
}

function lastBuildAt(comparison: Comparison<Date>): Prisma.BuildScalarWhereWithAggregatesInput {
  return { createdAt: { _max: comparison } };
}
