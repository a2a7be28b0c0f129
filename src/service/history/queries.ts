// Queries for lists of the module history, outside transactions.

import { Prisma } from '../database/generated/client.ts';
import type { DeviceModel } from '../database/generated/models.ts';
import { askedTime, type Comparison, equalTo, type PageByName, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, markedRows, type OnUnreadable, readOneByOne, readOrElse } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import { checkDates, UnreadableRow } from '../database/unreadable.ts';
import type { HistoryRecord } from './repository.ts';

export type HistoryFilter = TimeRange & { readonly deviceId: string; readonly module?: string | undefined };

export type BuildOnDevices = {
  readonly module: string;
  readonly version: string;
  /** Only devices that have it in their tables now, or only those that had it and do not now. */
  readonly isRunning?: boolean | undefined;
};
/** A device that has had a build in its module table, and when. */
export type DeviceOfBuild = {
  readonly device: Pick<DeviceModel, 'id' | 'name'>;
  readonly firstInstalledAt: Date;
  readonly lastInstalledAt: Date;
  /** Null where it is there now. */
  readonly removedAt: Date | null;
  readonly residencies: number;
};

export class HistoryQueries {
  readonly #client: QueryClient;
  readonly #readable: QueryClient;
  readonly #onUnreadable: OnUnreadable;

  constructor({ client, readable, onUnreadable }: Reader) {
    this.#client = client;
    this.#readable = readable;
    this.#onUnreadable = onUnreadable;
  }

  /** What was in a device's module table at that moment, by the names of the modules. */
  async at(deviceId: string, time: Date, { after, limit }: PageByName): Promise<MarkedRows<HistoryRecord>> {
    const moment = askedTime(time);
    const found = await this.#client.$queryRaw<Pick<HistoryRecord, 'number' | 'module'>[]>`
      SELECT "stay"."number", "held"."module" FROM "DeviceModule" AS "held"
      JOIN "HistoryEntry" AS "stay" ON "stay"."number" = (
        SELECT "stays"."number" FROM "HistoryEntry" AS "stays"
        WHERE "stays"."deviceId" = "held"."deviceId" AND "stays"."module" = "held"."module" AND "stays"."installedAt" <= ${moment}
        ORDER BY "stays"."installedAt" DESC, "stays"."number" DESC LIMIT 1)
      WHERE "held"."deviceId" = ${deviceId} AND "held"."module" > ${after?.name ?? ''}
        AND ("stay"."removedAt" IS NULL OR "stay"."removedAt" > ${moment})
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
    const installedAt = (comparison: Comparison<Date>): Prisma.HistoryEntryWhereInput => ({ installedAt: comparison });
    return {
      where: { AND: [equalTo(filter), ...timeConditions({ from, until }, page, installedAt, (number) => ({ number }))] },
      orderBy: [{ installedAt: page.order }, { number: page.order }],
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
      _min: { installedAt: true },
      _max: { installedAt: true, removedAt: true },
      _count: { _all: true, removedAt: true },
      orderBy: { deviceId: 'asc' },
    });
    return groups.flatMap(({ deviceId, _min: first, _max: last, _count: count }) => {
      const device = names.get(deviceId);
      if (device === undefined || first.installedAt === null || last.installedAt === null) return [];
      const removedAt = count.removedAt < count._all ? null : last.removedAt;
      return [
        checkDates({ device, firstInstalledAt: first.installedAt, lastInstalledAt: last.installedAt, removedAt, residencies: count._all }),
      ];
    });
  }

  #idsOfDevices({ module, version, isRunning }: BuildOnDevices, { after, limit }: PageByName): Promise<{ deviceId: string }[]> {
    const afterId = after?.name ?? '';
    if (isRunning === true)
      return this.#client.$queryRaw`
        SELECT "held"."deviceId" FROM "DeviceModule" AS "held"
        WHERE "held"."module" = ${module} AND "held"."version" = ${version} AND "held"."deviceId" > ${afterId} AND EXISTS (
          SELECT 1 FROM "HistoryEntry" AS "stay" WHERE "stay"."deviceId" = "held"."deviceId" AND "stay"."module" = "held"."module"
            AND "stay"."version" = "held"."version" AND "stay"."removedAt" IS NULL)
        ORDER BY "held"."deviceId" LIMIT ${limit}`;
    return this.#client.$queryRaw`
      SELECT "deviceId" FROM "HistoryEntry" WHERE "module" = ${module} AND "version" = ${version} AND "deviceId" > ${afterId}
      GROUP BY "deviceId" ${isRunning === undefined ? Prisma.empty : Prisma.sql`HAVING COUNT(*) = COUNT("removedAt")`}
      ORDER BY "deviceId" LIMIT ${limit}`;
  }
}
