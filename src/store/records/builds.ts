// Builds, and the images of builds and drivers.

import type { Prisma } from '../generated/client.ts';
import type { BuildModel } from '../generated/models.ts';
import type { Page } from './page.ts';

export type BuildRecord = BuildModel;
export type NewBuild = Omit<BuildModel, 'interface'> & { readonly interface: Prisma.InputJsonValue };

export class BuildRecords {
  readonly #client: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient) {
    this.#client = client;
  }

  async create(build: NewBuild): Promise<BuildRecord> {
    return this.#client.build.create({ data: build });
  }

  async find(module: string, version: string): Promise<BuildRecord | null> {
    // Not `findUnique`: those of many requests at once become one statement, which may have too many parameters.
    return this.#client.build.findFirst({ where: { module, version } });
  }

  async findByImage(module: string, imageDigest: string): Promise<BuildRecord | null> {
    return this.#client.build.findFirst({ where: { module, imageDigest } });
  }

  async list(module: string, page: Page<string>): Promise<BuildRecord[]> {
    return this.#client.build.findMany({
      where: { module, ...(page.after === null ? {} : { id: { lt: page.after } }) },
      orderBy: { id: 'desc' },
      take: page.limit,
    });
  }

  /** Names of modules that have builds, in alphabetical order, with the number of builds and the time of the last. */
  async listModules(page: Page<string>): Promise<{ module: string; builds: number; lastBuildAt: Date }[]> {
    const groups = await this.#client.build.groupBy({
      by: ['module'],
      where: page.after === null ? {} : { module: { gt: page.after } },
      orderBy: { module: 'asc' },
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

  /** Keeps an image; one that is there already is the same, for it has the same digest. */
  async keepImage(digest: string, bytes: Uint8Array<ArrayBuffer>, createdAt: Date): Promise<void> {
    await this.#client.image.upsert({ where: { digest }, create: { digest, bytes, createdAt }, update: {} });
  }

  async image(digest: string): Promise<Uint8Array | null> {
    const image = await this.#client.image.findUnique({ where: { digest } });
    return image?.bytes ?? null;
  }
}
