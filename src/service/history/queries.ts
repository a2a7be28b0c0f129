// Queries for lists of the module history, outside transactions.

import type { LabelSelector } from '../../protocol/label-selector.ts';
import { Prisma } from '../database/generated/client.ts';
import type { DeviceModel } from '../database/generated/models.ts';
import { deviceMatchesSql } from '../database/label-conditions.ts';
import { type Comparison, clampTime, equalTo, type PageByName, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, type OnUndecodable, readOneByOne, readOrFallBack, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import { checkDates, UndecodableRow } from '../database/undecodable-row.ts';
import type { HistoryRecord } from './repository.ts';

export type HistoryFilter = TimeRange & { readonly deviceId: string; readonly module?: string | undefined };

export type BuildOnDevices = {
  readonly module: string;
  readonly version: string;
  /** True: only devices that have the build installed now. False: only devices that had it and no longer do. */
  readonly isRunning?: boolean | undefined;
  /** Only devices that match this scope; null or undefined: all. */
  readonly scope?: LabelSelector | null;
};
/** A device that has or had a build installed, and when. */
export type DeviceOfBuild = {
  readonly device: Pick<DeviceModel, 'id' | 'name'>;
  readonly firstInstalledAt: Date;
  readonly lastInstalledAt: Date;
  /** Null if the build is installed now. */
  readonly removedAt: Date | null;
  readonly residencies: number;
};

export class HistoryQueries {
  readonly #client: QueryClient;
  readonly #readable: QueryClient;
  readonly #onUndecodable: OnUndecodable;

  constructor({ client, readable, onUndecodable }: Reader) {
    this.#client = client;
    this.#readable = readable;
    this.#onUndecodable = onUndecodable;
  }

  /** Returns the contents of a device's module table at a time, sorted by module name. */
  async at(deviceId: string, time: Date, { after, limit }: PageByName): Promise<MarkedRows<HistoryRecord>> {
    const moment = clampTime(time);
    const found = await this.#client.$queryRaw<Pick<HistoryRecord, 'number' | 'module'>[]>`
      SELECT "entry"."number", "installed"."module" FROM "DeviceModule" AS "installed"
      JOIN "HistoryEntry" AS "entry" ON "entry"."number" = (
        SELECT "latest"."number" FROM "HistoryEntry" AS "latest"
        WHERE "latest"."deviceId" = "installed"."deviceId" AND "latest"."module" = "installed"."module" AND "latest"."installedAt" <= ${moment}
        ORDER BY "latest"."installedAt" DESC, "latest"."number" DESC LIMIT 1)
      WHERE "installed"."deviceId" = ${deviceId} AND "installed"."module" > ${after?.name ?? ''}
        AND ("entry"."removedAt" IS NULL OR "entry"."removedAt" > ${moment})
      ORDER BY "installed"."module" LIMIT ${limit}`;
    if (found.length === 0) return [];
    // Sorted here: sorting by module in the database would read the whole history.
    const where = { number: { in: found.map(({ number }) => number) } };
    const rows = restoreMarks(await this.#readable.historyEntry.findMany({ where }));
    const byNumber = new Map(rows.map((row) => [row instanceof UndecodableRow ? Number(row.id) : row.number, row]));
    return found.flatMap(({ number, module }) => {
      const row = byNumber.get(number) ?? [];
      return row instanceof UndecodableRow ? new UndecodableRow(row, row.fault, module) : row;
    });
  }

  async list(filter: HistoryFilter, page: PageByTime<number>): Promise<MarkedRows<HistoryRecord>> {
    return restoreMarks(await this.#readable.historyEntry.findMany(this.#pageQuery(filter, page)));
  }

  #pageQuery({ from, until, ...filter }: HistoryFilter, page: PageByTime<number>) {
    const installedAt = (comparison: Comparison<Date>): Prisma.HistoryEntryWhereInput => ({ installedAt: comparison });
    return {
      where: { AND: [equalTo(filter), ...timeConditions({ from, until }, page, installedAt, (number) => ({ number }))] },
      orderBy: [{ installedAt: page.order }, { number: page.order }],
      take: page.limit,
    } satisfies Prisma.HistoryEntryFindManyArgs;
  }

  /** Returns the devices that have or had a build installed, sorted by identifier. */
  async devicesOfBuild(build: BuildOnDevices, page: PageByName): Promise<MarkedRows<DeviceOfBuild>> {
    const ids = (await this.#idsOfDevices(build, page)).map(({ deviceId }) => deviceId);
    if (ids.length === 0) return [];
    const devices = await this.#client.device.findMany({ where: { id: { in: ids } }, select: { id: true, name: true } });
    const names = new Map(devices.map((device) => [device.id, device]));
    return readOrFallBack(
      () => this.#summarizeResidencies(build, ids, names),
      () =>
        readOneByOne(ids, {
          nameOf: (id) => ({ kind: 'device', id, location: null }),
          read: async (id) => (await this.#summarizeResidencies(build, [id], names))[0] ?? null,
          sortedBy: (id) => id,
          onUndecodable: this.#onUndecodable,
        }),
    );
  }

  async #summarizeResidencies(
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

  #idsOfDevices({ module, version, isRunning, scope }: BuildOnDevices, { after, limit }: PageByName): Promise<{ deviceId: string }[]> {
    const afterId = after?.name ?? '';
    const inScope = (deviceId: Prisma.Sql) => (scope == null ? Prisma.empty : Prisma.sql`AND ${deviceMatchesSql(deviceId, scope)}`);
    if (isRunning === true)
      return this.#client.$queryRaw`
        SELECT "installed"."deviceId" FROM "DeviceModule" AS "installed"
        WHERE "installed"."module" = ${module} AND "installed"."version" = ${version} AND "installed"."deviceId" > ${afterId} AND EXISTS (
          SELECT 1 FROM "HistoryEntry" AS "entry" WHERE "entry"."deviceId" = "installed"."deviceId" AND "entry"."module" = "installed"."module"
            AND "entry"."version" = "installed"."version" AND "entry"."removedAt" IS NULL) ${inScope(Prisma.sql`"installed"."deviceId"`)}
        ORDER BY "installed"."deviceId" LIMIT ${limit}`;
    return this.#client.$queryRaw`
      SELECT "deviceId" FROM "HistoryEntry" WHERE "module" = ${module} AND "version" = ${version} AND "deviceId" > ${afterId}
        ${inScope(Prisma.sql`"HistoryEntry"."deviceId"`)}
      GROUP BY "deviceId" ${isRunning === undefined ? Prisma.empty : Prisma.sql`HAVING COUNT(*) = COUNT("removedAt")`}
      ORDER BY "deviceId" LIMIT ${limit}`;
  }
}
