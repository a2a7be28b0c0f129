// Which images are needed, and the removal of those that are not.

import { z } from 'zod';
import { chunksOf, readInChunks } from '../database/chunks.ts';
import { Prisma } from '../database/generated/client.ts';
import type { BuildModel } from '../database/generated/models.ts';
import { isOpen } from '../loads/repository.ts';

/** A version that a device has had, by its image, and the number of its newest stay there. */
export type ImageStay = { readonly deviceId: string; readonly module: string; readonly imageDigest: string; readonly newest: number };

const Awaited = z.array(z.object({ imageDigest: z.string() }));

export class ImageRecords {
  readonly #client: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient) {
    this.#client = client;
  }

  /** Digests of the images that were kept before a time. */
  async keptBefore(moment: Date): Promise<string[]> {
    const images = await this.#client.image.findMany({ where: { createdAt: { lt: moment } }, select: { digest: true } });
    return images.map(({ digest }) => digest);
  }

  /**
   * Images that are needed whatever their age: some device has them in memory, a program that has not ended runs them, a load that has not ended
   * or a rollout that has not ended is to bring them, or they are the newest of their module.
   */
  async inUse(): Promise<Set<string>> {
    const modules = await this.#client.deviceModule.groupBy({ by: ['imageDigest'] });
    const programs = await this.#client.program.groupBy({
      by: ['driverDigest'],
      where: { failure: null, statistics: { equals: Prisma.DbNull } },
    });
    const loads = await this.#client.load.groupBy({ by: ['buildId'], where: isOpen });
    const newest = await this.#client.build.groupBy({ by: ['module'], _max: { id: true } });
    const buildIds = [...loads.map(({ buildId }) => buildId), ...newest.flatMap(({ _max }) => _max.id ?? [])];
    const builds = await readInChunks(buildIds, (some) =>
      this.#client.build.findMany({ where: { id: { in: some } }, select: { imageDigest: true } }),
    );
    const awaited = await this.#client.$queryRaw`
      SELECT DISTINCT "Build"."imageDigest" FROM "Rollout"
      JOIN "RolloutDevice" ON "RolloutDevice"."rolloutId" = "Rollout".id
      JOIN "Build" ON "Build".module = "Rollout".module AND "Build".version IN ("RolloutDevice".version, "RolloutDevice"."previousVersion")
      WHERE "Rollout"."endedAt" IS NULL`;
    return new Set([
      ...modules.map(({ imageDigest }) => imageDigest),
      ...programs.map(({ driverDigest }) => driverDigest),
      ...builds.map(({ imageDigest }) => imageDigest),
      ...Awaited.parse(awaited).map(({ imageDigest }) => imageDigest),
    ]);
  }

  /** What some devices have had, each version once. */
  async staysOf(deviceIds: readonly string[]): Promise<ImageStay[]> {
    const stays = await readInChunks(deviceIds, (some) =>
      this.#client.historyEntry.groupBy({
        by: ['deviceId', 'module', 'imageDigest'],
        where: { deviceId: { in: some } },
        _max: { number: true },
      }),
    );
    return stays.map(({ _max, ...stay }) => ({ ...stay, newest: _max.number ?? 0 }));
  }

  /** Identifiers of devices after one, in their order. */
  async deviceIdsAfter(id: string, limit: number): Promise<string[]> {
    const devices = await this.#client.device.findMany({
      where: { id: { gt: id } },
      orderBy: { id: 'asc' },
      take: limit,
      select: { id: true },
    });
    return devices.map((device) => device.id);
  }

  /** The builds of these images. */
  async buildsOf(digests: readonly string[]): Promise<Pick<BuildModel, 'id' | 'module' | 'version' | 'imageDigest'>[]> {
    const select = { id: true, module: true, version: true, imageDigest: true } as const;
    return readInChunks(digests, (some) => this.#client.build.findMany({ where: { imageDigest: { in: some } }, select }));
  }

  /** Removes images. */
  async remove(digests: readonly string[]): Promise<void> {
    for (const some of chunksOf(digests)) await this.#client.image.deleteMany({ where: { digest: { in: some } } });
  }
}
