// Finds the images that are in use, and deletes others.

import { readInChunks, splitIntoChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { BuildModel } from '../database/generated/models.ts';
import { isExpected } from '../devices/repository.ts';

/** An image that a device has had, and the number of its latest residency there. */
export type ImageResidency = { readonly deviceId: string; readonly module: string; readonly imageDigest: string; readonly newest: number };

export class ImageRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Returns the digests of the images that were stored before a time. */
  async storedBefore(time: Date): Promise<string[]> {
    const images = await this.#connection.sql.selectFrom('Image').select('digest').where('createdAt', '<', time).execute();
    return images.map(({ digest }) => digest);
  }

  /**
   * Returns the images that are needed regardless of their age: those in the memory of a device, those of running programs, of pending loads, of open
   * rollouts and of patch sets, and the newest of each module.
   */
  async inUse(): Promise<Set<string>> {
    const { sql } = this.#connection;
    const modules = await sql.selectFrom('DeviceModule').select('imageDigest').distinct().where(isExpected).execute();
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
    const builds = await readInChunks([...loads.map(({ buildId }) => buildId), ...newest.map(({ id }) => id)], (chunk) =>
      sql.selectFrom('Build').select('imageDigest').where('id', 'in', chunk).execute(),
    );
    return new Set([
      ...modules.map(({ imageDigest }) => imageDigest),
      ...programs.map(({ driverDigest }) => driverDigest),
      ...builds.map(({ imageDigest }) => imageDigest),
      ...(await this.#imagesOfOpenRollouts()),
      ...(await this.#imagesOfPatchSets()),
      ...(await this.#imagesOfPromotions()),
    ]);
  }

  /** Returns the images of all patch sets: a set is immutable and can be loaded at any time. */
  async #imagesOfPatchSets(): Promise<string[]> {
    const builds = await this.#connection.sql
      .selectFrom('PatchSetMember')
      .innerJoin('Build', 'Build.id', 'PatchSetMember.buildId')
      .select('Build.imageDigest')
      .distinct()
      .execute();
    return builds.map(({ imageDigest }) => imageDigest);
  }

  /** Returns the images of the builds that are promoted to channels: devices that join later load them. */
  async #imagesOfPromotions(): Promise<string[]> {
    const builds = await this.#connection.sql
      .selectFrom('ChannelPromotion')
      .innerJoin('Build', 'Build.id', 'ChannelPromotion.contentId')
      .select('Build.imageDigest')
      .distinct()
      .execute();
    return builds.map(({ imageDigest }) => imageDigest);
  }

  /** Returns the images that open rollouts install or may roll back to. */
  async #imagesOfOpenRollouts(): Promise<string[]> {
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

  /** Returns the images that these devices have had, each once per device and module. */
  async residenciesOf(deviceIds: readonly string[]): Promise<ImageResidency[]> {
    return readInChunks(deviceIds, (chunk) =>
      this.#connection.sql
        .selectFrom('HistoryEntry')
        .select(({ fn }) => ['deviceId', 'module', 'imageDigest', fn.max('number').as('newest')])
        .where('deviceId', 'in', chunk)
        .groupBy(['deviceId', 'module', 'imageDigest'])
        .execute(),
    );
  }

  /** Returns the identifiers of devices after an identifier, in ascending order. Leaves out decommissioned ones, which need no image. */
  async deviceIdsAfter(id: string, limit: number): Promise<string[]> {
    const devices = await this.#connection.sql
      .selectFrom('Device')
      .select('id')
      .where('id', '>', id)
      .where('decommissionedAt', 'is', null)
      .orderBy('id')
      .limit(limit)
      .execute();
    return devices.map((device) => device.id);
  }

  /** Returns the builds of these images. */
  async buildsOf(digests: readonly string[]): Promise<Pick<BuildModel, 'id' | 'module' | 'version' | 'imageDigest'>[]> {
    return readInChunks(digests, (chunk) =>
      this.#connection.sql
        .selectFrom('Build')
        .select(['id', 'module', 'version', 'imageDigest'])
        .where('imageDigest', 'in', chunk)
        .execute(),
    );
  }

  /** Deletes images. */
  async delete(digests: readonly string[]): Promise<void> {
    for (const chunk of splitIntoChunks(digests)) await this.#connection.sql.deleteFrom('Image').where('digest', 'in', chunk).execute();
  }
}
