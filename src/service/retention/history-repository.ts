// Reads and deletes residencies that are expired.

import { sql as sqlTemplate } from 'kysely';
import { splitIntoChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';

export type HistoryLimits = {
  /** Residencies that ended earlier are expired; null: none is because of its age. */
  readonly endedBefore: Date | null;
  /** Residencies of a module on a device that are not among so many newest ones are expired; null: any number. */
  readonly number: number | null;
  /** Number of the newest versions of a module on a device, installed by loads or observed, that never expire: rollbacks need them. */
  readonly loadedVersions: number;
};

export type ExpiredResidency = { readonly number: number; readonly deviceId: string; readonly module: string; readonly isLoaded: boolean };

/** Whether the version stack contains a residency (see `HistoryRecords.loadedVersions`): 1 or 0. */
const isLoaded = sqlTemplate<number>`case when ("loadId" is not null or "observed" or "removalCause" = 'unloaded')
  and ("removalCause" is null or "removalCause" <> 'reverted') then 1 else 0 end`;
const latestFirst = sqlTemplate`partition by "deviceId", "module" order by "installedAt" desc, "number" desc`;

export class HistoryPruningRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Returns the identifiers of devices after an identifier, in ascending order, decommissioned ones too. */
  async deviceIdsAfter(id: string, limit: number): Promise<string[]> {
    const devices = await this.#connection.sql.selectFrom('Device').select('id').where('id', '>', id).orderBy('id').limit(limit).execute();
    return devices.map((device) => device.id);
  }

  /** Returns expired residencies of devices, in ascending order. @param deviceIds At most 500. */
  async findExpired(deviceIds: readonly string[], { endedBefore, number, loadedVersions }: HistoryLimits): Promise<ExpiredResidency[]> {
    if (deviceIds.length === 0) return [];
    const ranked = this.#connection.sql
      .selectFrom('HistoryEntry')
      .select([
        'number',
        'deviceId',
        'module',
        'removedAt',
        isLoaded.as('isLoaded'),
        sqlTemplate<number>`row_number() over (${latestFirst})`.as('position'),
        sqlTemplate<number>`sum(${isLoaded}) over (${latestFirst} rows unbounded preceding)`.as('loadedSince'),
      ])
      .where('deviceId', 'in', deviceIds);
    const rows = await this.#connection.sql
      .selectFrom(ranked.as('ranked'))
      .select(['number', 'deviceId', 'module', 'isLoaded'])
      .where('removedAt', 'is not', null)
      .where(({ or, eb }) => or([eb('isLoaded', '=', 0), eb('loadedSince', '>', loadedVersions)]))
      .where(({ or, eb }) =>
        or([
          ...(endedBefore === null ? [] : [eb('removedAt', '<', endedBefore)]),
          ...(number === null ? [] : [eb('position', '>', number)]),
        ]),
      )
      .orderBy('number')
      .execute();
    return rows.map((row) => ({ ...row, isLoaded: row.isLoaded === 1 }));
  }

  /** Deletes residencies, and marks the modules whose versions are not all in the history any more. */
  async delete(residencies: readonly ExpiredResidency[]): Promise<void> {
    const { sql } = this.#connection;
    for (const chunk of splitIntoChunks(residencies.map(({ number }) => number)))
      await sql.deleteFrom('HistoryEntry').where('number', 'in', chunk).execute();
    const loaded = Map.groupBy(
      residencies.filter((residency) => residency.isLoaded),
      ({ module }) => module,
    );
    for (const [module, ofModule] of loaded)
      await sql
        .updateTable('DeviceModule')
        .set({ historyPruned: true })
        .where('module', '=', module)
        .where('deviceId', 'in', [...new Set(ofModule.map(({ deviceId }) => deviceId))])
        .execute();
  }
}
