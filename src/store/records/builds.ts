// Builds, and the images of builds and drivers.

import type { Prisma } from '../generated/client.ts';
import type { BuildModel } from '../generated/models.ts';
import { Query, type Statements } from '../statements.ts';
import { readInChunks } from './chunks.ts';
import { type Comparison, equalTo, nameConditions, type PageByName, type PageByTime, type TimeRange, timeConditions } from './page.ts';
import { type MarkedRows, readRowByRow, timePosition } from './row-by-row.ts';

export type BuildRecord = BuildModel;
export type NewBuild = Omit<BuildModel, 'interface' | 'imagePrunedAt'> & { readonly interface: Prisma.InputJsonValue };

export type BuildFilter = TimeRange & { readonly module: string; readonly language?: string | undefined };

/** What a load needs to know of its build. */
export type LoadableBuild = Pick<BuildModel, 'id' | 'module' | 'version' | 'imageDigest' | 'imagePrunedAt'>;

const loadableBuilds = new Query<Omit<LoadableBuild, 'imagePrunedAt'> & { readonly imagePrunedAt: number | null }>(
  { modules: 'list', versions: 'list' },
  `
  SELECT "id", "module", "version", "imageDigest", "imagePrunedAt" FROM "Build" WHERE "module" IN :modules AND "version" IN :versions`,
);

export class BuildRecords {
  readonly #client: Prisma.TransactionClient;
  readonly #statements: Statements;

  constructor(client: Prisma.TransactionClient, statements: Statements) {
    this.#client = client;
    this.#statements = statements;
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
  async unstated(after: string, limit: number): Promise<BuildRecord[]> {
    return this.#client.build.findMany({ where: { envelope: null, id: { gt: after } }, orderBy: { id: 'asc' }, take: limit });
  }

  /** Keeps a build's statement with its signatures. */
  async setStatement(id: string, statement: Pick<BuildRecord, 'pushedBy' | 'envelope'>): Promise<void> {
    await this.#client.build.update({ where: { id }, data: statement });
  }

  async list(filter: BuildFilter, page: PageByTime): Promise<BuildRecord[]> {
    return this.#client.build.findMany(this.#pageQuery(filter, page));
  }

  /** The same, read row by row: rows that cannot be decoded are marked. */
  async listRowByRow(filter: BuildFilter, page: PageByTime): Promise<MarkedRows<BuildRecord, PageByTime['after']>> {
    const { build } = this.#client;
    const found = await build.findMany({ ...this.#pageQuery(filter, page), select: { id: true } });
    return readRowByRow(
      found,
      ({ id }) => build.findFirst({ where: { id } }),
      ({ id }) =>
        timePosition(page.order, id, {
          time: async () => (await build.findFirst({ where: { id }, select: { createdAt: true } }))?.createdAt,
          isBefore: async (moment) => (await build.count({ where: { AND: [{ id }, { createdAt: { lt: moment } }] } })) > 0,
        }),
    );
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
  async listModules(page: PageByTime | PageByName): Promise<{ module: string; builds: number; lastBuildAt: Date }[]> {
    const groups = await this.#client.build.groupBy({
      by: ['module'],
      where: { AND: page.sort === 'name' ? nameConditions('', page, (module): Prisma.BuildWhereInput => ({ module })) : [] },
      having: { AND: page.sort === 'time' ? timeConditions({}, page, lastBuildAt, (module) => ({ module })) : [] },
      orderBy: [...(page.sort === 'time' ? [{ _max: { createdAt: page.order } }] : []), { module: page.order }],
      take: page.limit,
      _count: { _all: true },
      _max: { createdAt: true },
    });
    return groups.map(({ module, _count, _max }) => ({ module, builds: _count._all, lastBuildAt: _max.createdAt ?? new Date(0) }));
  }

  async versions(module: string): Promise<string[]> {
    const builds = await this.#client.build.findMany({ where: { module }, select: { version: true } });
    return builds.map(({ version }) => version);
  }

  /** Keeps an image; one that is there already is the same, for it has the same digest. @param createdAt By the retention time. */
  async keepImage(digest: string, bytes: Uint8Array<ArrayBuffer>, createdAt: Date): Promise<void> {
    await this.#client.image.upsert({ where: { digest }, create: { digest, bytes, createdAt }, update: {} });
  }

  async image(digest: string): Promise<Uint8Array | null> {
    const image = await this.#client.image.findUnique({ where: { digest } });
    return image?.bytes ?? null;
  }
}

function lastBuildAt(comparison: Comparison<Date>): Prisma.BuildScalarWhereWithAggregatesInput {
  return { createdAt: { _max: comparison } };
}
