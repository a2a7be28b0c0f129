// Builds, and the images of builds and drivers.

import { chunksOf, readInChunks } from '../database/chunks.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { BuildModel } from '../database/generated/models.ts';
import {
  type Comparison,
  equalTo,
  nameConditions,
  type PageByName,
  type PageByTime,
  type TimeRange,
  timeConditions,
} from '../database/page.ts';
import { type MarkedRows, markedRows, type OnUnreadable, readOneByOne, readOrElse, timeBound } from '../database/readable-rows.ts';
import { Query, type Statements } from '../database/statements.ts';
import { checkDates } from '../database/unreadable.ts';

export type BuildRecord = BuildModel;
export type NewBuild = Omit<BuildModel, 'interface' | 'imagePrunedAt'> & { readonly interface: Prisma.InputJsonValue };

export type BuildFilter = TimeRange & { readonly module: string; readonly language?: string | undefined };

export type ModuleSummary = { readonly module: string; readonly builds: number; readonly lastBuildAt: Date };

/** A program's driver, with the DSSE envelope of its statement, JSON. */
export type Driver = { readonly digest: string; readonly bytes: Uint8Array<ArrayBuffer>; readonly statement: string };

/** What a load needs to know of its build. */
export type LoadableBuild = Pick<BuildModel, 'id' | 'module' | 'version' | 'imageDigest' | 'imagePrunedAt'>;

const loadableBuilds = new Query<Omit<LoadableBuild, 'imagePrunedAt'> & { readonly imagePrunedAt: number | null }>(
  { modules: 'list', versions: 'list' },
  `
  SELECT "id", "module", "version", "imageDigest", "imagePrunedAt" FROM "Build" WHERE "module" IN :modules AND "version" IN :versions`,
);

export class BuildRecords {
  readonly #client: Prisma.TransactionClient;
  /** Reads rows that do not depend on each other: those that cannot be decoded are left out. */
  readonly #readable: Prisma.TransactionClient;
  readonly #statements: Statements;
  readonly #onUnreadable: OnUnreadable;

  constructor(client: Prisma.TransactionClient, readable: Prisma.TransactionClient, statements: Statements, onUnreadable: OnUnreadable) {
    this.#client = client;
    this.#readable = readable;
    this.#statements = statements;
    this.#onUnreadable = onUnreadable;
  }

  async create(build: NewBuild): Promise<BuildRecord> {
    return this.#client.build.create({ data: build });
  }

  async find(module: string, version: string): Promise<BuildRecord | null> {
    // Not `findUnique`: those of many requests at once become one statement, which may have too many parameters.
    return this.#client.build.findFirst({ where: { module, version } });
  }

  /** All builds of these modules and versions: those that are wanted, and others where several modules are. */
  async findLoadable(wanted: readonly Pick<BuildModel, 'module' | 'version'>[]): Promise<LoadableBuild[]> {
    const [modules, versions] = [new Set(wanted.map(({ module }) => module)), new Set(wanted.map(({ version }) => version))];
    const builds = await this.#statements.all(loadableBuilds, [JSON.stringify([...modules]), JSON.stringify([...versions])]);
    return builds.map((build) => ({ ...build, imagePrunedAt: build.imagePrunedAt === null ? null : new Date(build.imagePrunedAt) }));
  }

  async findMany(module: string, versions: readonly string[]): Promise<BuildRecord[]> {
    return readInChunks(versions, (some) => this.#client.build.findMany({ where: { module, version: { in: some } } }));
  }

  async findByImage(module: string, imageDigest: string): Promise<BuildRecord | null> {
    return this.#client.build.findFirst({ where: { module, imageDigest } });
  }

  /** The build that the image is of; null where there is none, for a program's driver is of no build. */
  async ofImage(imageDigest: string): Promise<BuildRecord | null> {
    return this.#client.build.findFirst({ where: { imageDigest } });
  }

  /** Builds without a statement, after that identifier, by their identifiers. */
  async unstated(after: string, limit: number): Promise<MarkedRows<BuildRecord>> {
    const where = { envelope: null, id: { gt: after } };
    return markedRows(await this.#readable.build.findMany({ where, orderBy: { id: 'asc' }, take: limit }));
  }

  /** Keeps a build's statement with its signatures. */
  async setStatement(id: string, statement: Pick<BuildRecord, 'pushedBy' | 'envelope'>): Promise<void> {
    await this.#client.build.update({ where: { id }, data: statement });
  }

  async list(filter: BuildFilter, page: PageByTime): Promise<MarkedRows<BuildRecord>> {
    return markedRows(await this.#readable.build.findMany(this.#pageQuery(filter, page)));
  }

  #pageQuery({ from, until, ...filter }: BuildFilter, page: PageByTime) {
    const createdAt = (comparison: Comparison<Date>): Prisma.BuildWhereInput => ({ createdAt: comparison });
    return {
      where: { AND: [equalTo(filter), ...timeConditions({ from, until }, page, createdAt, (id) => ({ id }))] },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    } satisfies Prisma.BuildFindManyArgs;
  }

  /** Names of modules that have builds, with the number of builds and the time of the last, which is what they are sorted by where it is by time. */
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
    return readOrElse(
      async () => (await builds.groupBy({ ...query, ...count })).map(toModuleSummary),
      async () =>
        readOneByOne(await builds.groupBy(query), {
          nameOf: ({ module }) => ({ kind: 'module', id: module, place: null }),
          read: async ({ module }) =>
            (await builds.groupBy({ by: ['module'], where: { module }, ...count })).map(toModuleSummary)[0] ?? null,
          sortedBy: ({ module }) =>
            page.sort === 'name' ? module : timeBound(page.order, (moment) => this.#isLastBuiltBefore(module, moment)),
          onUnreadable: this.#onUnreadable,
        }),
    );
  }

  async #isLastBuiltBefore(module: string, moment: Date): Promise<boolean> {
    const groups = await this.#client.build.groupBy({ by: ['module'], where: { module }, having: lastBuildAt({ lt: moment }) });
    return groups.length > 0;
  }

  async versions(module: string): Promise<string[]> {
    const builds = await this.#client.build.findMany({ where: { module }, select: { version: true } });
    return builds.map(({ version }) => version);
  }

  /** Keeps an image; one that is there already is the same, for it has the same digest. @param createdAt By the retention time. */
  async keepImage(digest: string, bytes: Uint8Array<ArrayBuffer>, createdAt: Date): Promise<void> {
    await this.#client.image.upsert({ where: { digest }, create: { digest, bytes, createdAt }, update: {} });
  }

  /** Keeps a driver's image with its signed statement; where the database has the image already, both are replaced. @param createdAt By the retention time. */
  async keepDriver({ digest, bytes, statement }: Driver, createdAt: Date): Promise<void> {
    await this.#client.image.upsert({
      where: { digest },
      create: { digest, bytes, statement, createdAt },
      update: { bytes, statement },
    });
  }

  /** The signed statement of a driver, JSON; null where the image is of a build, or there is none. */
  async driverStatement(digest: string): Promise<string | null> {
    return (await this.driverStatements([digest])).get(digest) ?? null;
  }

  /** The signed statements of those of these drivers that have one. */
  async driverStatements(digests: readonly string[]): Promise<Map<string, string>> {
    const images = await readInChunks(digests, (some) =>
      this.#client.image.findMany({ where: { digest: { in: some } }, select: { digest: true, statement: true } }),
    );
    return new Map(images.flatMap(({ digest, statement }) => (statement === null ? [] : [[digest, statement] as const])));
  }

  async image(digest: string): Promise<Uint8Array | null> {
    const image = await this.#client.image.findUnique({ where: { digest } });
    return image?.bytes ?? null;
  }

  /** Builds of these images are without them since then; null: they have them. */
  async setPruned(digests: readonly string[], imagePrunedAt: Date | null): Promise<void> {
    for (const some of chunksOf(digests))
      await this.#client.build.updateMany({ where: { imageDigest: { in: some } }, data: { imagePrunedAt } });
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
