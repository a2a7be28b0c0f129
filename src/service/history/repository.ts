// The module history of devices: every stay of a version in a device's module table.

import { chunksOf, readInChunks } from '../database/chunks.ts';
import { Prisma } from '../database/generated/client.ts';
import type { DeviceModel, HistoryEntryModel } from '../database/generated/models.ts';
import { askedTime, type Comparison, equalTo, type PageByName, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import { type MarkedRows, markedRows, type OnUnreadable, readOneByOne, readOrElse } from '../database/readable-rows.ts';
import { change, insertion, Query, type Statements } from '../database/statements.ts';
import { checkDates, UnreadableRow } from '../database/unreadable.ts';

export type HistoryRecord = HistoryEntryModel;
export type Leaving = Pick<HistoryEntryModel, 'leftAt' | 'leftBy' | 'leftThrough' | 'invalidation' | 'interrupted'>;
/** A stay that begins, or one that has ended by the time it is told of. */
export type NewHistoryEntry = Omit<HistoryEntryModel, 'number' | 'observed' | keyof Leaving> &
  Partial<Leaving & Pick<HistoryEntryModel, 'observed'>>;
/** The newest stay of a module in a device, which may have ended. */
export type NewestStay = Omit<HistoryEntryModel, 'deviceId' | 'module' | 'observed' | Exclude<keyof Leaving, 'leftAt'>>;
export type HistoryFilter = TimeRange & { readonly deviceId: string; readonly module?: string | undefined };

/** A version that a load brought in, or that the device reported without one. */
export type LoadedVersion = {
  readonly deviceId: string;
  readonly version: string;
  readonly isRollback: boolean;
  readonly isObserved: boolean;
};

export type BuildOnDevices = {
  readonly module: string;
  readonly version: string;
  /** Only devices that have it in their tables now, or only those that had it and do not now. */
  readonly isRunning?: boolean | undefined;
};
/** A device that has had a build in its module table, and when. */
export type DeviceOfBuild = {
  readonly device: Pick<DeviceModel, 'id' | 'name'>;
  readonly firstEnteredAt: Date;
  readonly lastEnteredAt: Date;
  /** Null where it is there now. */
  readonly leftAt: Date | null;
  readonly stays: number;
};

/** The newest stays of what is `held`, of those for which the condition holds: one seek in the index, however many there are. */
const newestStays = (condition: Prisma.Sql, limit: number) => Prisma.sql`(
  SELECT "stays"."number" FROM "HistoryEntry" AS "stays"
  WHERE "stays"."deviceId" = "held"."deviceId" AND "stays"."module" = "held"."module" ${condition}
  ORDER BY "stays"."enteredAt" DESC, "stays"."number" DESC LIMIT ${limit})`;

const insertStay = insertion('HistoryEntry', {
  deviceId: 'text',
  module: 'text',
  version: 'text',
  imageDigest: 'text',
  loadId: 'text',
  requestedBy: 'text',
  address: 'text',
  pages: 'integer',
  enteredAt: 'time',
  leftAt: 'time',
  leftBy: 'text',
  leftThrough: 'text',
  invalidation: 'text',
  interrupted: 'integer',
  observed: 'truth',
});

const endStay = change(
  'HistoryEntry',
  { leftAt: 'time', leftBy: 'text', leftThrough: 'text', invalidation: 'text', interrupted: 'integer', number: 'integer' },
  `"leftAt" = :leftAt, "leftBy" = :leftBy, "leftThrough" = :leftThrough, "invalidation" = :invalidation, "interrupted" = :interrupted`,
  `"number" = :number`,
);

/** In one statement for all: one that is ordered is prepared anew for each row of parameters, which takes longer than carrying it out. */
const newestStaysOf = new Query<
  Omit<NewestStay, 'enteredAt' | 'leftAt'> & { readonly place: number; readonly enteredAt: number; readonly leftAt: number | null }
>(
  { pairs: 'json' },
  {
    sqlite: `
      SELECT "places"."key" AS "place", "number", "version", "imageDigest", "loadId", "requestedBy", "address", "pages", "enteredAt", "leftAt"
      FROM json_each(:pairs) AS "places" CROSS JOIN "HistoryEntry" ON "number" = (
        SELECT "stays"."number" FROM "HistoryEntry" AS "stays"
        WHERE "stays"."deviceId" = "places"."value" ->> 0 AND "stays"."module" = "places"."value" ->> 1
        ORDER BY "stays"."enteredAt" DESC, "stays"."number" DESC LIMIT 1)`,
    postgresql: `
      SELECT "places"."place" - 1 AS "place", "newest".*
      FROM jsonb_array_elements(:pairs) WITH ORDINALITY AS "places" ("pair", "place") CROSS JOIN LATERAL (
        SELECT "number", "version", "imageDigest", "loadId", "requestedBy", "address", "pages", "enteredAt", "leftAt" FROM "HistoryEntry"
        WHERE "deviceId" = "pair" ->> 0 AND "module" = "pair" ->> 1 ORDER BY "enteredAt" DESC, "number" DESC LIMIT 1) AS "newest"`,
  },
);

export class HistoryRecords {
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

  /** Adds stays, in the order of their times. */
  async enter(entries: readonly NewHistoryEntry[]): Promise<void> {
    await this.#statements.each(
      insertStay,
      entries.map((entry) => [
        entry.deviceId,
        entry.module,
        entry.version,
        entry.imageDigest,
        entry.loadId,
        entry.requestedBy,
        entry.address,
        entry.pages,
        entry.enteredAt.getTime(),
        entry.leftAt?.getTime() ?? null,
        entry.leftBy ?? null,
        entry.leftThrough ?? null,
        entry.invalidation ?? null,
        entry.interrupted ?? null,
        entry.observed === true ? 1 : 0,
      ]),
    );
  }

  /** Ends stays. */
  async leave(leavings: readonly (Leaving & { readonly number: number })[]): Promise<void> {
    await this.#statements.each(
      endStay,
      leavings.map(({ number, leftAt, leftBy, leftThrough, invalidation, interrupted }) => {
        return [leftAt?.getTime() ?? null, leftBy, leftThrough, invalidation, interrupted, number];
      }),
    );
  }

  /** Ends every stay in these devices that has not ended, for their memories are empty; none ends before it has begun. */
  async leaveByReboot(deviceIds: readonly string[], leftAt: Date): Promise<void> {
    for (const ids of chunksOf(deviceIds)) {
      await this.#client.$executeRaw`
        UPDATE "HistoryEntry"
        SET "leftAt" = CASE WHEN "enteredAt" > ${leftAt} THEN "enteredAt" ELSE ${leftAt} END, "leftBy" = 'reboot', "interrupted" = 0
        WHERE "leftAt" IS NULL AND "number" IN (
          SELECT ${newestStays(Prisma.empty, 1)} FROM "DeviceModule" AS "held" WHERE "held"."deviceId" IN (${Prisma.join(ids)}))`;
    }
  }

  /** The newest stay of a module in each of these devices, in their order; undefined where it has never been there. @throws {UndecodableCell} */
  async newest(places: readonly { readonly deviceId: string; readonly module: string }[]): Promise<(NewestStay | undefined)[]> {
    const found: (NewestStay | undefined)[] = places.map(() => undefined);
    const pairs = places.map(({ deviceId, module }) => [deviceId, module]);
    for (const { place, enteredAt, leftAt, ...stay } of await this.#statements.all(newestStaysOf, [JSON.stringify(pairs)]))
      found[place] = checkDates({ ...stay, enteredAt: new Date(enteredAt), leftAt: leftAt === null ? null : new Date(leftAt) });
    return found;
  }

  /** Returns the last stay of a module that began at that time or before, and the first that began later; null where there is none. */
  async around(
    deviceId: string,
    module: string,
    time: Date,
  ): Promise<{ readonly before: HistoryRecord | null; readonly after: HistoryRecord | null }> {
    const { historyEntry } = this.#client;
    const before = await historyEntry.findFirst({
      where: { deviceId, module, enteredAt: { lte: time } },
      orderBy: [{ enteredAt: 'desc' }, { number: 'desc' }],
    });
    const after = await historyEntry.findFirst({
      where: { deviceId, module, enteredAt: { gt: time } },
      orderBy: [{ enteredAt: 'asc' }, { number: 'asc' }],
    });
    return { before, after };
  }

  /** What was in a device's module table at that moment, by the names of the modules. */
  async at(deviceId: string, time: Date, { after, limit }: PageByName): Promise<MarkedRows<HistoryRecord>> {
    const moment = askedTime(time);
    const found = await this.#client.$queryRaw<Pick<HistoryRecord, 'number' | 'module'>[]>`
      SELECT "stay"."number", "held"."module" FROM "DeviceModule" AS "held"
      JOIN "HistoryEntry" AS "stay" ON "stay"."number" = ${newestStays(Prisma.sql`AND "stays"."enteredAt" <= ${moment}`, 1)}
      WHERE "held"."deviceId" = ${deviceId} AND "held"."module" > ${after?.name ?? ''}
        AND ("stay"."leftAt" IS NULL OR "stay"."leftAt" > ${moment})
      ORDER BY "held"."module" LIMIT ${limit}`;
    if (found.length === 0) return [];
    // Sorted here: the database would read the whole history in the order of the modules.
    const where = { number: { in: found.map(({ number }) => number) } };
    const rows = markedRows(await this.#readable.historyEntry.findMany({ where }));
    const byNumber = new Map(rows.map((row) => [row instanceof UnreadableRow ? Number(row.id) : row.number, row]));
    return found.flatMap(({ number, module }) => {
      const row = byNumber.get(number) ?? [];
      return row instanceof UnreadableRow ? new UnreadableRow(row, row.fault, module) : row;
    });
  }

  async list(filter: HistoryFilter, page: PageByTime<number>): Promise<MarkedRows<HistoryRecord>> {
    return markedRows(await this.#readable.historyEntry.findMany(this.#pageQuery(filter, page)));
  }

  #pageQuery({ from, until, ...filter }: HistoryFilter, page: PageByTime<number>) {
    const enteredAt = (comparison: Comparison<Date>): Prisma.HistoryEntryWhereInput => ({ enteredAt: comparison });
    return {
      where: { AND: [equalTo(filter), ...timeConditions({ from, until }, page, enteredAt, (number) => ({ number }))] },
      orderBy: [{ enteredAt: page.order }, { number: page.order }],
      take: page.limit,
    } satisfies Prisma.HistoryEntryFindManyArgs;
  }

  /** Devices that have, or have had, a build in their module tables, by their identifiers. */
  async devicesOfBuild(build: BuildOnDevices, page: PageByName): Promise<MarkedRows<DeviceOfBuild>> {
    const ids = (await this.#idsOfDevices(build, page)).map(({ deviceId }) => deviceId);
    if (ids.length === 0) return [];
    const devices = await this.#client.device.findMany({ where: { id: { in: ids } }, select: { id: true, name: true } });
    const names = new Map(devices.map((device) => [device.id, device]));
    return readOrElse(
      () => this.#staysOnDevices(build, ids, names),
      () =>
        readOneByOne(ids, {
          nameOf: (id) => ({ kind: 'device', id, place: null }),
          read: async (id) => (await this.#staysOnDevices(build, [id], names))[0] ?? null,
          sortedBy: (id) => id,
          onUnreadable: this.#onUnreadable,
        }),
    );
  }

  async #staysOnDevices(
    { module, version }: BuildOnDevices,
    deviceIds: readonly string[],
    names: ReadonlyMap<string, DeviceOfBuild['device']>,
  ): Promise<DeviceOfBuild[]> {
    const groups = await this.#client.historyEntry.groupBy({
      by: ['deviceId'],
      where: { module, version, deviceId: { in: [...deviceIds] } },
      _min: { enteredAt: true },
      _max: { enteredAt: true, leftAt: true },
      _count: { _all: true, leftAt: true },
      orderBy: { deviceId: 'asc' },
    });
    return groups.flatMap(({ deviceId, _min: first, _max: last, _count: count }) => {
      const device = names.get(deviceId);
      if (device === undefined || first.enteredAt === null || last.enteredAt === null) return [];
      const leftAt = count.leftAt < count._all ? null : last.leftAt;
      return [checkDates({ device, firstEnteredAt: first.enteredAt, lastEnteredAt: last.enteredAt, leftAt, stays: count._all })];
    });
  }

  /**
   * The versions that loads brought into these devices or that the devices reported without a load (drift): of each device the newest that many, in
   * the order in which they came in.
   */
  async loadedVersions(deviceIds: readonly string[], module: string, limit: number): Promise<LoadedVersion[]> {
    const isLoaded = Prisma.sql`AND ("stays"."loadId" IS NOT NULL OR "stays"."observed")
      AND ("stays"."leftBy" IS NULL OR "stays"."leftBy" <> 'withdrawn')`;
    return readInChunks(
      deviceIds,
      (some) => this.#client.$queryRaw<LoadedVersion[]>`
        SELECT "stay"."deviceId", "stay"."version", COALESCE("load"."rollback", false) AS "isRollback", "stay"."observed" AS "isObserved"
        FROM "DeviceModule" AS "held"
        JOIN "HistoryEntry" AS "stay" ON "stay"."number" IN ${newestStays(isLoaded, limit)}
        LEFT JOIN "Load" AS "load" ON "load"."id" = "stay"."loadId"
        WHERE "held"."deviceId" IN (${Prisma.join(some)}) AND "held"."module" = ${module}
        ORDER BY "stay"."deviceId", "stay"."enteredAt", "stay"."number"`,
    );
  }

  /** Those of these devices that have had a version in their module tables, other than one that was withdrawn. */
  async devicesThatHad(deviceIds: readonly string[], module: string, version: string): Promise<string[]> {
    const groups = await readInChunks(deviceIds, (some) =>
      this.#client.historyEntry.groupBy({
        by: ['deviceId'],
        where: { module, version, deviceId: { in: some }, OR: [{ leftBy: null }, { leftBy: { not: 'withdrawn' } }] },
      }),
    );
    return groups.map(({ deviceId }) => deviceId);
  }

  #idsOfDevices({ module, version, isRunning }: BuildOnDevices, { after, limit }: PageByName): Promise<{ deviceId: string }[]> {
    const afterId = after?.name ?? '';
    if (isRunning === true)
      return this.#client.$queryRaw`
        SELECT "held"."deviceId" FROM "DeviceModule" AS "held"
        WHERE "held"."module" = ${module} AND "held"."version" = ${version} AND "held"."deviceId" > ${afterId} AND EXISTS (
          SELECT 1 FROM "HistoryEntry" AS "stay" WHERE "stay"."deviceId" = "held"."deviceId" AND "stay"."module" = "held"."module"
            AND "stay"."version" = "held"."version" AND "stay"."leftAt" IS NULL)
        ORDER BY "held"."deviceId" LIMIT ${limit}`;
    return this.#client.$queryRaw`
      SELECT "deviceId" FROM "HistoryEntry" WHERE "module" = ${module} AND "version" = ${version} AND "deviceId" > ${afterId}
      GROUP BY "deviceId" ${isRunning === undefined ? Prisma.empty : Prisma.sql`HAVING COUNT(*) = COUNT("leftAt")`}
      ORDER BY "deviceId" LIMIT ${limit}`;
  }
}
