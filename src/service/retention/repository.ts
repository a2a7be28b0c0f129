// Which images are needed, and the removal of those that are not.

import { readInChunks, splitIntoChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { BuildModel } from '../database/generated/models.ts';

/** A version that a device has had, by its image, and the number of its newest stay there. */
export type ImageResidency = { readonly deviceId: string; readonly module: string; readonly imageDigest: string; readonly newest: number };

export class ImageRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Digests of the images that were kept before a time. */
  async storedBefore(moment: Date): Promise<string[]> {
    const images = await this.#connection.sql.selectFrom('Image').select('digest').where('createdAt', '<', moment).execute();
    return images.map(({ digest }) => digest);
  }

  /**
   * Images that are needed whatever their age: some device has them in memory, a program that has not ended runs them, a load that has not ended
   * or a rollout that has not ended is to bring them, or they are the newest of their module.
   */
  async inUse(): Promise<Set<string>> {
    const { sql } = this.#connection;
    const modules = await sql.selectFrom('DeviceModule').select('imageDigest').distinct().execute();
    const programs = await sql
      .selectFrom('Program')
      .select('driverDigest')
      .distinct()
      .where('failure', 'is', null)
      .where('statistics', 'is', null)
      .execute();
    const loads = await sql.selectFrom('Load').select('buildId').distinct().where('outcome', 'is', null).execute();
    const newest = await sql
      .selectFrom('Build')
      .select(({ fn }) => fn.max('id').as('id'))
      .groupBy('module')
      .execute();
    const builds = await readInChunks([...loads.map(({ buildId }) => buildId), ...newest.map(({ id }) => id)], (some) =>
      sql.selectFrom('Build').select('imageDigest').where('id', 'in', some).execute(),
    );
    return new Set([
      ...modules.map(({ imageDigest }) => imageDigest),
      ...programs.map(({ driverDigest }) => driverDigest),
      ...builds.map(({ imageDigest }) => imageDigest),
      ...(await this.#ofOpenRollouts()),
    ]);
  }

  /** The images that rollouts that have not ended bring, or may have to bring back. */
  async #ofOpenRollouts(): Promise<string[]> {
    const builds = await this.#connection.sql
      .selectFrom('Rollout')
      .innerJoin('RolloutDevice', 'RolloutDevice.rolloutId', 'Rollout.id')
      .innerJoin('Build', (join) =>
        join
          .onRef('Build.module', '=', 'Rollout.module')
          .on(({ eb, ref }) => eb('Build.version', 'in', [ref('RolloutDevice.version'), ref('RolloutDevice.previousVersion')])),
      )
      .select('Build.imageDigest')
      .distinct()
      .where('Rollout.endedAt', 'is', null)
      .execute();
    return builds.map(({ imageDigest }) => imageDigest);
  }

  /** What some devices have had, each version once. */
  async residenciesOf(deviceIds: readonly string[]): Promise<ImageResidency[]> {
    return readInChunks(deviceIds, (some) =>
      this.#connection.sql
        .selectFrom('HistoryEntry')
        .select(({ fn }) => ['deviceId', 'module', 'imageDigest', fn.max('number').as('newest')])
        .where('deviceId', 'in', some)
        .groupBy(['deviceId', 'module', 'imageDigest'])
        .execute(),
    );
  }

  /** Identifiers of devices after one, in their order. */
  async deviceIdsAfter(id: string, limit: number): Promise<string[]> {
    const devices = await this.#connection.sql.selectFrom('Device').select('id').where('id', '>', id).orderBy('id').limit(limit).execute();
    return devices.map((device) => device.id);
  }

  /** The builds of these images. */
  async buildsOf(digests: readonly string[]): Promise<Pick<BuildModel, 'id' | 'module' | 'version' | 'imageDigest'>[]> {
    return readInChunks(digests, (some) =>
      this.#connection.sql
        .selectFrom('Build')
        .select(['id', 'module', 'version', 'imageDigest'])
        .where('imageDigest', 'in', some)
        .execute(),
    );
  }

  /** Removes images. */
  async delete(digests: readonly string[]): Promise<void> {
    for (const some of splitIntoChunks(digests)) await this.#connection.sql.deleteFrom('Image').where('digest', 'in', some).execute();
  }
}
