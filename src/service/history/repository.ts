// The module history of devices: every stay of a version in a device's module table.

import { type Expression, expressionBuilder } from 'kysely';
import { chunksOf, readInChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { HistoryEntryModel } from '../database/generated/models.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';
import type { Tables } from '../database/tables.ts';

export type HistoryRecord = HistoryEntryModel;
export type Departure = Pick<HistoryEntryModel, 'removedAt' | 'removalCause' | 'replacedByLoadId' | 'invalidation' | 'interrupted'>;
/** A stay that begins, or one that has ended by the time it is told of. */
export type NewHistoryEntry = Omit<HistoryEntryModel, 'number' | 'observed' | keyof Departure> &
  Partial<Departure & Pick<HistoryEntryModel, 'observed'>>;
/** The newest stay of a module in a device, which may have ended. */
export type LatestResidency = Omit<HistoryEntryModel, 'deviceId' | 'module' | 'observed' | Exclude<keyof Departure, 'removedAt'>>;

/** A version that a load brought in, or that the device reported without one. */
export type LoadedVersion = {
  readonly deviceId: string;
  readonly version: string;
  readonly isRollback: boolean;
  readonly isObserved: boolean;
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
    observed: 'truth',
  },
  (sql, stay) => sql.insertInto('HistoryEntry').values(stay),
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
  (sql, { number, ...leaving }) => sql.updateTable('HistoryEntry').set(leaving).where('number', '=', number),
);

/** The numbers of the stays of a module in a device, the newest first. With a limit, this is one seek in an index, however many stays there are. */
function numbersLatestFirst(deviceId: Expression<string>, module: Expression<string>) {
  return expressionBuilder<Tables>()
    .selectFrom('HistoryEntry as stays')
    .select('stays.number')
    .where('stays.deviceId', '=', deviceId)
    .where('stays.module', '=', module)
    .orderBy('stays.installedAt', 'desc')
    .orderBy('stays.number', 'desc');
}

/** The number of the newest stay of a module in a device. */
const latestNumber = (deviceId: Expression<string>, module: Expression<string>) =>
  numbersLatestFirst(deviceId, module).limit(({ lit }) => lit(1));

/** One query for all devices: SQLite would prepare a sorted query again for each device and module, which takes longer than running it. */
const latestResidencies = new PreparedQuery({ wanted: 'pairs' }, (sql, { wanted }) =>
  sql
    .selectFrom(wanted.as('wanted'))
    .crossJoin('HistoryEntry')
    .select(['wanted.place', 'number', 'version', 'imageDigest', 'loadId', 'requestedBy', 'address', 'pages', 'installedAt', 'removedAt'])
    .where('number', '=', ({ ref }) => latestNumber(ref('wanted.first'), ref('wanted.second'))),
);

export class HistoryRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Adds stays, in the order of their times. */
  async insert(entries: readonly NewHistoryEntry[]): Promise<void> {
    const lasting = { removedAt: null, removalCause: null, replacedByLoadId: null, invalidation: null, interrupted: null, observed: false };
    await this.#connection.each(
      insertResidency,
      entries.map((entry) => ({ ...lasting, ...entry })),
    );
  }

  /** Ends stays. */
  async end(leavings: readonly (Departure & { readonly number: number })[]): Promise<void> {
    await this.#connection.each(endResidency, leavings);
  }

  /** Ends every stay in these devices that has not ended, for their memories are empty; none ends before it has begun. */
  async endByReboot(deviceIds: readonly string[], removedAt: Date): Promise<void> {
    for (const ids of chunksOf(deviceIds))
      await this.#connection.sql
        .updateTable('HistoryEntry')
        .set((is) => ({
          removedAt: is.case().when('installedAt', '>', removedAt).then(is.ref('installedAt')).else(removedAt).end(),
          removalCause: 'reboot',
          interrupted: 0,
        }))
        .where('removedAt', 'is', null)
        .where('number', 'in', (stays) =>
          stays
            .selectFrom('DeviceModule as held')
            .select(({ ref }) => latestNumber(ref('held.deviceId'), ref('held.module')).as('number'))
            .where('held.deviceId', 'in', ids),
        )
        .execute();
  }

  /** The newest stay of a module in each of these devices, in their order; undefined where it has never been there. @throws {UndecodableCell} */
  async latest(places: readonly { readonly deviceId: string; readonly module: string }[]): Promise<(LatestResidency | undefined)[]> {
    const found: (LatestResidency | undefined)[] = places.map(() => undefined);
    const wanted = places.map(({ deviceId, module }) => [deviceId, module] as const);
    for (const { place, ...stay } of await this.#connection.all(latestResidencies, { wanted })) found[place] = stay;
    return found;
  }

  /** Returns the last stay of a module that began at that time or before, and the first that began later; null where there is none. */
  async findNeighbors(
    deviceId: string,
    module: string,
    time: Date,
  ): Promise<{ readonly before: HistoryRecord | null; readonly after: HistoryRecord | null }> {
    const stays = this.#connection.sql
      .selectFrom('HistoryEntry')
      .selectAll()
      .where('deviceId', '=', deviceId)
      .where('module', '=', module)
      .limit(1);
    const before = await stays.where('installedAt', '<=', time).orderBy('installedAt', 'desc').orderBy('number', 'desc').executeTakeFirst();
    const after = await stays.where('installedAt', '>', time).orderBy('installedAt').orderBy('number').executeTakeFirst();
    return { before: before ?? null, after: after ?? null };
  }

  /**
   * The versions that loads brought into these devices or that the devices reported without a load (drift): of each device the newest that many, in
   * the order in which they came in.
   */
  async loadedVersions(deviceIds: readonly string[], module: string, limit: number): Promise<LoadedVersion[]> {
    const newestLoaded = (deviceId: Expression<string>, ofModule: Expression<string>) =>
      numbersLatestFirst(deviceId, ofModule)
        .where((is) => is.or([is('stays.loadId', 'is not', null), is.ref('stays.observed')]))
        .where((is) => is.or([is('stays.removalCause', 'is', null), is('stays.removalCause', '<>', 'reverted')]))
        .limit(limit);
    const rows = await readInChunks(deviceIds, (some) =>
      this.#connection.sql
        .selectFrom('DeviceModule as held')
        .innerJoin('HistoryEntry as stay', (join) =>
          join.on('stay.number', 'in', ({ ref }) => newestLoaded(ref('held.deviceId'), ref('held.module'))),
        )
        .leftJoin('Load as load', 'load.id', 'stay.loadId')
        .select(['stay.deviceId', 'stay.version', 'load.rollback', 'stay.observed as isObserved'])
        .where('held.deviceId', 'in', some)
        .where('held.module', '=', module)
        .orderBy('stay.deviceId')
        .orderBy('stay.installedAt')
        .orderBy('stay.number')
        .execute(),
    );
    return rows.map(({ rollback, ...version }) => ({ ...version, isRollback: rollback ?? false }));
  }

  /** Those of these devices that have had a version in their module tables, other than one that was withdrawn. */
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
