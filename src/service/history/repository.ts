// The module history of devices: every residency, that is, every period a version was installed on a device.

import { type Expression, expressionBuilder } from 'kysely';
import { readInChunks, splitIntoChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { HistoryEntryModel } from '../database/generated/models.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';
import type { Tables } from '../database/tables.ts';

export type HistoryRecord = HistoryEntryModel;
export type Removal = Pick<HistoryEntryModel, 'removedAt' | 'removalCause' | 'replacedByLoadId' | 'invalidation' | 'interrupted'>;
/** A new residency. It may already have ended. */
export type NewHistoryEntry = Omit<HistoryEntryModel, 'number' | 'observed' | keyof Removal> &
  Partial<Removal & Pick<HistoryEntryModel, 'observed'>>;
/** The latest residency of a module on a device. It may have ended. */
export type LatestResidency = Omit<
  HistoryEntryModel,
  'deviceId' | 'module' | 'observed' | Exclude<keyof Removal, 'removedAt' | 'removalCause'>
>;

export type PatchSetOfLoad = { readonly id: string; readonly name: string; readonly version: string };

/** A version installed by a load, or reported by the device without a load; or a restored version that a load unloaded. */
export type LoadedVersion = {
  readonly deviceId: string;
  readonly version: string;
  readonly installedAt: Date;
  /** The load that installed it. Null if it was observed or restored. */
  readonly loadId: string | null;
  /** Whether that load was part of a rollback. */
  readonly isRollback: boolean;
  /** The patch set of that load; null if the load was of another kind, or part of a rollback. */
  readonly patchSet: PatchSetOfLoad | null;
  readonly isObserved: boolean;
  /** The kind of load that unloaded it: a rollback or another one. Null if none did. */
  readonly unloadedBy: 'load' | 'rollback' | null;
  /** Whether the module was unloaded, if this is the latest version of the device. */
  readonly isUnloaded: boolean;
  /** Whether earlier versions of the module on the device were removed from the history. */
  readonly isHistoryPruned: boolean;
};

/** A version that a load installed or removed, and the load. */
export type LoadedOrRemoved = {
  readonly deviceId: string;
  readonly version: string;
  readonly loadId: string | null;
  readonly replacedByLoadId: string | null;
};

const insertResidency = new RowStatement(
  {
    deviceId: 'text',
    module: 'text',
    version: 'text',
    imageDigest: 'text',
    loadId: 'text?',
    requestedBy: 'text?',
    address: 'text',
    pages: 'integer',
    installedAt: 'time',
    removedAt: 'time?',
    removalCause: 'text?',
    replacedByLoadId: 'text?',
    invalidation: 'text?',
    interrupted: 'integer?',
    observed: 'boolean',
  },
  (sql, residency) => sql.insertInto('HistoryEntry').values(residency),
);

const endResidency = new RowStatement(
  {
    removedAt: 'time?',
    removalCause: 'text?',
    replacedByLoadId: 'text?',
    invalidation: 'text?',
    interrupted: 'integer?',
    number: 'integer',
  },
  (sql, { number, ...removal }) => sql.updateTable('HistoryEntry').set(removal).where('number', '=', number),
);

/** Selects the numbers of a module's residencies on a device, latest first. With a limit, one index seek suffices for any number of residencies. */
function numbersLatestFirst(deviceId: Expression<string>, module: Expression<string>) {
  return expressionBuilder<Tables>()
    .selectFrom('HistoryEntry as residency')
    .select('residency.number')
    .where('residency.deviceId', '=', deviceId)
    .where('residency.module', '=', module)
    .orderBy('residency.installedAt', 'desc')
    .orderBy('residency.number', 'desc');
}

/** Selects the number of the latest residency of a module on a device. */
const latestNumber = (deviceId: Expression<string>, module: Expression<string>) =>
  numbersLatestFirst(deviceId, module).limit(({ lit }) => lit(1));

/** One query for all devices: SQLite would prepare a sorted query again for each device and module, which takes longer than the query itself. */
const latestResidencies = new PreparedQuery({ wanted: 'pairs' }, (sql, { wanted }) =>
  sql
    .selectFrom(wanted.as('wanted'))
    .crossJoin('HistoryEntry')
    .select([
      'wanted.position',
      'number',
      'version',
      'imageDigest',
      'loadId',
      'requestedBy',
      'address',
      'pages',
      'installedAt',
      'removedAt',
      'removalCause',
    ])
    .where('number', '=', ({ ref }) => latestNumber(ref('wanted.first'), ref('wanted.second'))),
);

/** The columns from which `loadedVersions` derives its result. */
type LoadedVersionRow = Pick<LoadedVersion, 'deviceId' | 'version' | 'installedAt' | 'loadId' | 'isObserved'> & {
  readonly removalCause: string | null;
  readonly rollback: boolean | null;
  readonly patchSetId: string | null;
  readonly loadModule: string | null;
  readonly loadVersion: string | null;
  readonly removalIsRollback: boolean | null;
  readonly removalOutcome: string | null;
  /** Databases without booleans return a number. */
  readonly isUnloaded: boolean | number | null;
  readonly historyPruned: boolean;
};

function toLoadedVersion(row: LoadedVersionRow): LoadedVersion {
  const { removalCause, rollback, patchSetId, loadModule, loadVersion, removalIsRollback, removalOutcome, ...rest } = row;
  const { isUnloaded, historyPruned, ...version } = rest;
  const isRollback = rollback ?? false;
  const isSet = patchSetId !== null && loadModule !== null && loadVersion !== null && !isRollback;
  const patchSet = isSet ? { id: patchSetId, name: loadModule, version: loadVersion } : null;
  // The swap of a failed or cancelled unload was reverted.
  const isRemoved = removalCause === 'unloaded' && removalOutcome !== 'failed' && removalOutcome !== 'cancelled';
  const unloadedBy = isRemoved ? (removalIsRollback === true ? 'rollback' : 'load') : null;
  return { ...version, isRollback, patchSet, unloadedBy, isUnloaded: Boolean(isUnloaded), isHistoryPruned: historyPruned };
}

export class HistoryRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Adds residencies, in the order of their times. */
  async insert(entries: readonly NewHistoryEntry[]): Promise<void> {
    const current = { removedAt: null, removalCause: null, replacedByLoadId: null, invalidation: null, interrupted: null, observed: false };
    await this.#connection.executeForRows(
      insertResidency,
      entries.map((entry) => ({ ...current, ...entry })),
    );
  }

  /** Ends residencies. */
  async end(removals: readonly (Removal & { readonly number: number })[]): Promise<void> {
    await this.#connection.executeForRows(endResidency, removals);
  }

  /** Ends the current residencies on these devices, whose memories are empty after a boot or a move, or which are decommissioned. No residency ends before it begins. */
  async endAll(deviceIds: readonly string[], removedAt: Date, removalCause: 'reboot' | 'moved' | 'decommissioned'): Promise<void> {
    for (const ids of splitIntoChunks(deviceIds))
      await this.#connection.sql
        .updateTable('HistoryEntry')
        .set((is) => ({
          removedAt: is.case().when('installedAt', '>', removedAt).then(is.ref('installedAt')).else(removedAt).end(),
          removalCause,
          interrupted: 0,
        }))
        .where('removedAt', 'is', null)
        .where('number', 'in', (query) =>
          query
            .selectFrom('DeviceModule as installed')
            .select(({ ref }) => latestNumber(ref('installed.deviceId'), ref('installed.module')).as('number'))
            .where('installed.deviceId', 'in', ids),
        )
        .execute();
  }

  /** Returns the latest residency for each device and module, in order; undefined if the module was never installed. @throws {UndecodableCell} */
  async latest(places: readonly { readonly deviceId: string; readonly module: string }[]): Promise<(LatestResidency | undefined)[]> {
    const found: (LatestResidency | undefined)[] = places.map(() => undefined);
    const wanted = places.map(({ deviceId, module }) => [deviceId, module] as const);
    for (const { position, ...residency } of await this.#connection.query(latestResidencies, { wanted })) found[position] = residency;
    return found;
  }

  /** Returns the last residency of a module that began at or before a time, and the first that began later; null if there is none. */
  async findNeighbors(
    deviceId: string,
    module: string,
    time: Date,
  ): Promise<{ readonly before: HistoryRecord | null; readonly after: HistoryRecord | null }> {
    const residencies = this.#connection.sql
      .selectFrom('HistoryEntry')
      .selectAll()
      .where('deviceId', '=', deviceId)
      .where('module', '=', module)
      .limit(1);
    const earlier = residencies.where('installedAt', '<=', time).orderBy('installedAt', 'desc').orderBy('number', 'desc');
    const later = residencies.where('installedAt', '>', time).orderBy('installedAt').orderBy('number');
    const [before, after] = [await earlier.executeTakeFirst(), await later.executeTakeFirst()];
    return { before: before ?? null, after: after ?? null };
  }

  /**
   * Returns the latest versions per device that loads installed or that devices reported without a load (drift), in the order of installation.
   * Restored versions are omitted unless they were unloaded; reverted swaps are omitted.
   * @param limit Maximum number of versions per device.
   */
  async loadedVersions(deviceIds: readonly string[], module: string, limit: number): Promise<LoadedVersion[]> {
    const latestLoaded = (deviceId: Expression<string>, ofModule: Expression<string>) =>
      numbersLatestFirst(deviceId, ofModule)
        .where((is) =>
          is.or([is('residency.loadId', 'is not', null), is.ref('residency.observed'), is('residency.removalCause', '=', 'unloaded')]),
        )
        .where((is) => is.or([is('residency.removalCause', 'is', null), is('residency.removalCause', '<>', 'reverted')]))
        .limit(limit);
    const rows = await readInChunks(deviceIds, (some) =>
      this.#connection.sql
        .selectFrom('DeviceModule as installed')
        .innerJoin('HistoryEntry as loaded', (join) =>
          join.on('loaded.number', 'in', ({ ref }) => latestLoaded(ref('installed.deviceId'), ref('installed.module'))),
        )
        .leftJoin('Load as load', 'load.id', 'loaded.loadId')
        .leftJoin('Load as removal', 'removal.id', 'loaded.replacedByLoadId')
        .select(({ eb }) => [
          'loaded.deviceId',
          'loaded.version',
          'loaded.installedAt',
          'loaded.loadId',
          'loaded.removalCause',
          'load.rollback',
          'load.patchSetId',
          'load.module as loadModule',
          'load.version as loadVersion',
          'removal.rollback as removalIsRollback',
          'removal.outcome as removalOutcome',
          'loaded.observed as isObserved',
          'installed.historyPruned',
          // A version that was only observed may also have disappeared without an unload.
          eb
            .and([
              eb('installed.driftedAt', 'is', null),
              eb('installed.driftedFrom', 'is not', null),
              eb.or([eb('loaded.observed', '=', false), eb('loaded.removalCause', '=', 'unloaded')]),
            ])
            .as('isUnloaded'),
        ])
        .where('installed.deviceId', 'in', some)
        .where('installed.module', '=', module)
        .orderBy('loaded.deviceId')
        .orderBy('loaded.installedAt')
        .orderBy('loaded.number')
        .execute(),
    );
    return rows.map(toLoadedVersion);
  }

  /** Returns the patch sets of loads, by load; without an entry for loads of other kinds. */
  async patchSetsOf(loadIds: readonly string[]): Promise<Map<string, PatchSetOfLoad>> {
    const loads = await readInChunks(loadIds, (some) =>
      this.#connection.sql.selectFrom('Load').select(['id', 'patchSetId', 'module', 'version']).where('id', 'in', some).execute(),
    );
    return new Map(
      loads.flatMap(({ id, patchSetId, module, version }) =>
        patchSetId === null ? [] : [[id, { id: patchSetId, name: module, version }] as const],
      ),
    );
  }

  /** Returns the versions of a module that loads installed or removed. Reverted swaps are omitted. */
  async loadedOrRemoved(
    loads: readonly { readonly deviceId: string; readonly loadId: string }[],
    module: string,
  ): Promise<LoadedOrRemoved[]> {
    return readInChunks(loads, (some) => {
      const loadIds = some.map(({ loadId }) => loadId);
      const devices = some.map(({ deviceId }) => deviceId);
      return this.#connection.sql
        .selectFrom('HistoryEntry')
        .select(['deviceId', 'version', 'loadId', 'replacedByLoadId'])
        .where('deviceId', 'in', devices)
        .where('module', '=', module)
        .where((is) => is.or([is('loadId', 'in', loadIds), is('replacedByLoadId', 'in', loadIds)]))
        .where((is) => is.or([is('removalCause', 'is', null), is('removalCause', '<>', 'reverted')]))
        .execute();
    });
  }

  /** Returns which of these devices had a version installed. Reverted swaps do not count. */
  async findDevicesThatHad(deviceIds: readonly string[], module: string, version: string): Promise<string[]> {
    const rows = await readInChunks(deviceIds, (some) =>
      this.#connection.sql
        .selectFrom('HistoryEntry')
        .select('deviceId')
        .where('module', '=', module)
        .where('version', '=', version)
        .where('deviceId', 'in', some)
        .where((is) => is.or([is('removalCause', 'is', null), is('removalCause', '<>', 'reverted')]))
        .groupBy('deviceId')
        .execute(),
    );
    return rows.map(({ deviceId }) => deviceId);
  }
}
