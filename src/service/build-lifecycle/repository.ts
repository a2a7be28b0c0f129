// What refers to a build: loads, rollouts, patch sets, channels, devices and their history.

import { z } from 'zod';
import { readInChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { BuildRecord } from '../modules/repository.ts';

export type QueuedLoad = { readonly id: string; readonly deviceId: string };

type NamedBuild = Pick<BuildRecord, 'id' | 'module' | 'version'>;

/** The number of rows of each kind that refer to a build. */
export type References = {
  /** Devices that have it now. */
  readonly devices: number;
  /** Periods in which devices had it. */
  readonly residencies: number;
  readonly loads: number;
  readonly rollouts: number;
  readonly patchSets: readonly { readonly name: string; readonly version: string }[];
  /** Names of the channels that it is promoted to. */
  readonly channels: readonly string[];
};

/** Counting ends at this number. */
export const countLimit = 1_000;

/** The part of an order to load a patch set that names its builds. */
const SetOrder = z.object({ members: z.array(z.object({ module: z.string(), version: z.string().optional() })) });

export class BuildReferences {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Returns the queued loads that would install a build: its own, those of patch sets with it, and rollbacks of patch sets to it. A rollback of a patch set
   * with it is left out, because it removes the build.
   */
  async queuedLoads(build: NamedBuild): Promise<QueuedLoad[]> {
    const direct = await this.#queued()
      .where(({ and, eb, or, selectFrom }) =>
        or([
          eb('Load.buildId', '=', build.id),
          and([
            eb('Load.rollback', '=', false),
            eb('Load.patchSetId', 'in', selectFrom('PatchSetMember').select('PatchSetMember.patchSetId').where('buildId', '=', build.id)),
          ]),
        ]),
      )
      .execute();
    return [...direct, ...(await this.#queuedSetRollbacks(build))];
  }

  /** Only the order of a rollback of a patch set names its builds. */
  async #queuedSetRollbacks({ module, version }: NamedBuild): Promise<QueuedLoad[]> {
    const rollbacks = await this.#queued().where('Load.kind', '=', 'patch-set').where('Load.rollback', '=', true).execute();
    const orders = await readInChunks(
      rollbacks.map(({ id }) => id),
      (some) => this.#connection.sql.selectFrom('AgentOrder').select(['loadId', 'body']).where('loadId', 'in', some).execute(),
    );
    const installs = (body: unknown) =>
      SetOrder.safeParse(body).data?.members.some((member) => member.module === module && member.version === version) === true;
    const installing = new Set(orders.flatMap(({ loadId, body }) => (installs(body) ? [loadId] : [])));
    return rollbacks.filter(({ id }) => installing.has(id));
  }

  #queued() {
    return this.#connection.sql
      .selectFrom('Load')
      .select(['Load.id', 'Load.deviceId'])
      .where('Load.outcome', 'is', null)
      .where('Load.state', '=', 'queued');
  }

  /** Returns those of the loads that are still queued. */
  async filterQueued(loads: readonly QueuedLoad[]): Promise<QueuedLoad[]> {
    return readInChunks(
      loads.map(({ id }) => id),
      (some) => this.#queued().where('Load.id', 'in', some).execute(),
    );
  }

  /** Counts what refers to a build, each up to `countLimit`. */
  async count({ id, module, version }: NamedBuild): Promise<References> {
    const { sql } = this.#connection;
    const devices = await sql
      .selectFrom('DeviceModule')
      .select('deviceId')
      .where('module', '=', module)
      .where('version', '=', version)
      .limit(countLimit)
      .execute();
    const residencies = await sql
      .selectFrom('HistoryEntry')
      .select('number')
      .where('module', '=', module)
      .where('version', '=', version)
      .limit(countLimit)
      .execute();
    const loads = await sql
      .selectFrom('Load')
      .select('id')
      .where('version', '=', version)
      .where('module', '=', module)
      .where('buildId', '=', id)
      .limit(countLimit)
      .execute();
    const rollouts = await sql
      .selectFrom('Rollout')
      .select('Rollout.id')
      .where('module', '=', module)
      .where('patchSetId', 'is', null)
      .where(({ eb, exists, or, selectFrom }) =>
        or([
          eb('Rollout.version', '=', version),
          exists(
            selectFrom('RolloutDevice')
              .select('RolloutDevice.deviceId')
              .whereRef('RolloutDevice.rolloutId', '=', 'Rollout.id')
              .where(({ eb: compare, or: either }) =>
                either([compare('RolloutDevice.version', '=', version), compare('RolloutDevice.previousVersion', '=', version)]),
              ),
          ),
        ]),
      )
      .limit(countLimit)
      .execute();
    const patchSets = await sql
      .selectFrom('PatchSetMember')
      .innerJoin('PatchSet', 'PatchSet.id', 'PatchSetMember.patchSetId')
      .select(['PatchSet.name', 'PatchSet.version'])
      .where('PatchSetMember.buildId', '=', id)
      .orderBy('PatchSet.createdAt')
      .limit(countLimit)
      .execute();
    const channels = await sql
      .selectFrom('ChannelPromotion')
      .innerJoin('Channel', 'Channel.id', 'ChannelPromotion.channelId')
      .select('Channel.name')
      .where('ChannelPromotion.contentId', '=', id)
      .orderBy('Channel.name')
      .execute();
    return {
      channels: channels.map(({ name }) => name),
      devices: devices.length,
      residencies: residencies.length,
      loads: loads.length,
      rollouts: rollouts.length,
      patchSets,
    };
  }
}
