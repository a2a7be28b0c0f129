// Queries for lists and figures of devices, outside transactions.

import { readInChunks } from '../database/chunks.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { DeviceModel, DeviceModuleModel } from '../database/generated/models.ts';
import {
  type Comparison,
  equalTo,
  nameConditions,
  type PageByName,
  type PageByTime,
  prefixConditions,
  rangeConditions,
  type TimeRange,
  timeConditions,
} from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, mapReadable, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import { checkDates } from '../database/undecodable-row.ts';
import { type DeviceRecord, type DeviceStatus, toRecord } from './repository.ts';

/** A module of a device that was not what the service knew of, until that is resolved. */
export type DriftRecord = Pick<DeviceModuleModel, 'deviceId' | 'module' | 'version' | 'driftedFrom'> & { readonly driftedAt: Date };
/** Modules that have drifted: how many, and some of them with the names of their devices. */
export type DriftSummary = {
  readonly count: number;
  readonly first: readonly (Omit<DriftRecord, 'driftedAt'> & { readonly deviceName: string })[];
};
/** Devices of which a report was rejected: how many, and some of them by name. */
export type RejectionSummary = { readonly count: number; readonly first: readonly { readonly name: string; readonly rejection: string }[] };
/** Devices that lack something that they had. */
export type IncompleteDevices = { readonly count: number; readonly first: readonly Pick<DeviceModel, 'name' | 'attachFailure'>[] };

/** What a device has in other tables than its own. */
export type DeviceCriteria = {
  readonly labels: Readonly<Record<string, string>>;
  /** Of a module in its memory. */
  readonly module?: string | undefined;
  readonly version?: string | undefined;
};
export type DeviceFilter = TimeRange &
  DeviceCriteria & {
    /** A few; where there are none, none is found. */
    readonly ids?: readonly string[] | undefined;
    readonly hostId?: string | undefined;
    readonly status?: DeviceStatus | undefined;
    readonly namePrefix?: string | undefined;
  };

const withLabels = { labels: true, host: { select: { unreachableSince: true } } } as const;

export class DeviceQueries {
  readonly #client: QueryClient;
  readonly #readable: QueryClient;

  constructor({ client, readable }: Reader) {
    this.#client = client;
    this.#readable = readable;
  }

  async list(filter: DeviceFilter, page: PageByTime | PageByName): Promise<MarkedRows<DeviceRecord>> {
    const devices = await this.#readable.device.findMany({ ...(await this.#pageQuery(filter, page)), include: withLabels });
    return mapReadable(restoreMarks(devices), ({ host, labels, ...device }) => {
      const known = Object.fromEntries(labels.map(({ key, value }) => [key, value]));
      return toRecord(device, known, host.unreachableSince === null);
    });
  }

  async #pageQuery(filter: DeviceFilter, page: PageByTime | PageByName) {
    const few = await candidateDevices(this.#client, filter);
    return {
      where: { AND: [...(few === null ? [] : [{ id: { in: few } }]), ...filterConditions(filter, page)] },
      orderBy: page.sort === 'name' ? { name: page.order } : [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    } satisfies Prisma.DeviceFindManyArgs;
  }

  /** How many devices there are of each status. */
  async countByStatus(): Promise<Record<DeviceStatus, number>> {
    const count = (status: DeviceStatus) => this.#client.device.count({ where: statusCondition(status) });
    return { connected: await count('connected'), attaching: await count('attaching'), unreachable: await count('unreachable') };
  }

  /** Devices that could not be brought back to all that they had when their host last restarted: how many, and some of them by name. */
  async incomplete(limit: number): Promise<IncompleteDevices> {
    const where = { attachFailure: { not: null } };
    const first = await this.#client.device.findMany({
      where,
      orderBy: { name: 'asc' },
      take: limit,
      select: { name: true, attachFailure: true },
    });
    return { count: first.length < limit ? first.length : await this.#client.device.count({ where }), first };
  }

  /** Unresolved drift of these devices. */
  async driftOf(deviceIds: readonly string[]): Promise<DriftRecord[]> {
    const rows = await readInChunks(deviceIds, (some) =>
      this.#client.deviceModule.findMany({
        where: { deviceId: { in: some }, driftedAt: { not: null } },
        orderBy: { module: 'asc' },
        select: { deviceId: true, module: true, version: true, driftedFrom: true, driftedAt: true },
      }),
    );
    return rows.flatMap(({ driftedAt, ...row }) => (driftedAt === null ? [] : [checkDates({ ...row, driftedAt })]));
  }

  /** Unresolved drift: how many modules of devices, and some of them. */
  async drifted(limit: number): Promise<DriftSummary> {
    const where = { driftedAt: { not: null } };
    const rows = await this.#client.deviceModule.findMany({
      where,
      orderBy: [{ deviceId: 'asc' }, { module: 'asc' }],
      take: limit,
      select: { deviceId: true, module: true, version: true, driftedFrom: true, device: { select: { name: true } } },
    });
    const first = rows.map(({ device, ...row }) => ({ ...row, deviceName: device.name }));
    return { count: rows.length < limit ? rows.length : await this.#client.deviceModule.count({ where }), first };
  }

  /** Devices of which a report was rejected since then: how many, and some of them. */
  async rejectedSince(moment: Date, limit: number): Promise<RejectionSummary> {
    const where = { rejectedAt: { gte: moment } };
    const rows = await this.#client.device.findMany({
      where,
      orderBy: { rejectedAt: 'desc' },
      take: limit,
      select: { name: true, rejection: true },
    });
    const first = rows.map(({ name, rejection }) => ({ name, rejection: rejection ?? '' }));
    return { count: rows.length < limit ? rows.length : await this.#client.device.count({ where }), first };
  }
}

/** Devices that are looked up by their identifiers; where there are more, the database soon comes to them in the order of the list. */
const maxCandidates = 100;

/** The devices among which all are that have these traits, where they are few; null where they are many, or nothing is asked of them. */
export async function candidateDevices(client: QueryClient, { labels, module, version }: DeviceCriteria): Promise<string[] | null> {
  const which = { select: { deviceId: true }, take: maxCandidates + 1 } as const;
  // In the order of the index: any few will do.
  const orderBy = [{ version: 'asc' as const }, { deviceId: 'asc' as const }];
  const reads = Object.entries(labels).map(([key, value]) => client.deviceLabel.findMany({ where: { key, value }, ...which }));
  if (module !== undefined || version !== undefined)
    reads.push(client.deviceModule.findMany({ where: equalTo({ module, version }), orderBy, ...which }));
  const [fewest] = (await Promise.all(reads)).toSorted((left, right) => left.length - right.length);
  return fewest === undefined || fewest.length > maxCandidates ? null : fewest.map(({ deviceId }) => deviceId);
}

/** Conditions that hold for devices that have all of these labels. */
export function labelConditions(labels: Readonly<Record<string, string>>): Prisma.DeviceWhereInput[] {
  return Object.entries(labels).map(([key, value]) => ({ labels: { some: { key, value } } }));
}

function filterConditions(filter: DeviceFilter, page: PageByTime | PageByName): Prisma.DeviceWhereInput[] {
  const { ids, labels, hostId, status, module, version, namePrefix = '' } = filter;
  const createdAt = (comparison: Comparison<Date>): Prisma.DeviceWhereInput => ({ createdAt: comparison });
  const name = (comparison: Comparison<string>): Prisma.DeviceWhereInput => ({ name: comparison });
  return [
    ...(ids === undefined ? [] : [{ id: { in: [...ids] } }]),
    ...(hostId === undefined ? [] : [{ hostId }]),
    ...(status === undefined ? [] : [statusCondition(status)]),
    ...(module === undefined && version === undefined ? [] : [{ modules: { some: equalTo({ module, version }) } }]),
    ...labelConditions(labels),
    ...(page.sort === 'name'
      ? [...nameConditions(namePrefix, page, name), ...rangeConditions(filter, createdAt)]
      : [...prefixConditions(namePrefix, name), ...timeConditions(filter, page, createdAt, (id) => ({ id }))]),
  ];
}

function statusCondition(status: DeviceStatus): Prisma.DeviceWhereInput {
  if (status === 'unreachable') return { host: { unreachableSince: { not: null } } };
  return { host: { unreachableSince: null }, attachedBootId: status === 'attaching' ? null : { not: null } };
}
