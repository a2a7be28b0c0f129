// Lists and counts of devices, read outside transactions.

import type { LabelSelector } from '../../protocol/label-selector.ts';
import { readInChunks } from '../database/chunks.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { DeviceModel, DeviceModuleModel } from '../database/generated/models.ts';
import { deviceConditions, labelsOfRequirement } from '../database/label-conditions.ts';
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
import { type ActiveDeviceStatus, type DeviceRecord, type DeviceStatus, toRecord } from './repository.ts';

/** Unresolved drift of one module of a device. */
export type DriftRecord = Pick<DeviceModuleModel, 'deviceId' | 'module' | 'version' | 'driftedFrom'> & { readonly driftedAt: Date };
/** The number of drifted modules, and the first of them with the names of their devices. */
export type DriftSummary = {
  readonly count: number;
  readonly first: readonly (Omit<DriftRecord, 'driftedAt'> & { readonly deviceName: string })[];
};
/** The number of devices with a rejected report, and the most recent of them. */
export type RejectionSummary = { readonly count: number; readonly first: readonly { readonly name: string; readonly rejection: string }[] };
/** The number of devices that could not be restored completely, and the first of them by name. */
export type IncompleteDevices = { readonly count: number; readonly first: readonly Pick<DeviceModel, 'name' | 'attachFailure'>[] };

/** Criteria on rows of other tables. */
export type DeviceCriteria = {
  readonly selector?: LabelSelector | undefined;
  /** Name of a module in the device's memory. */
  readonly module?: string | undefined;
  readonly version?: string | undefined;
};
export type DeviceFilter = TimeRange &
  DeviceCriteria & {
    /** At most about 100 identifiers; an empty list matches no device. */
    readonly ids?: readonly string[] | undefined;
    readonly hostId?: string | undefined;
    /** Default: every status but `decommissioned`; any status, if identifiers are given. */
    readonly status?: DeviceStatus | undefined;
    readonly name?: string | undefined;
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
    const candidates = await candidateDevices(this.#client, filter);
    return {
      where: { AND: [...(candidates === null ? [] : [{ id: { in: candidates } }]), ...filterConditions(filter, page)] },
      orderBy: page.sort === 'name' ? { name: page.order } : [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    } satisfies Prisma.DeviceFindManyArgs;
  }

  /** Counts devices by status. Leaves out decommissioned ones. */
  async countByStatus(): Promise<Record<ActiveDeviceStatus, number>> {
    const count = (status: ActiveDeviceStatus) => this.#client.device.count({ where: statusCondition(status) });
    return { connected: await count('connected'), attaching: await count('attaching'), unreachable: await count('unreachable') };
  }

  /** Returns devices that could not be restored completely after the last restart of their host: the count, and the first by name. */
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

  /** Returns the unresolved drift of devices. */
  async driftOf(deviceIds: readonly string[]): Promise<DriftRecord[]> {
    const rows = await readInChunks(deviceIds, (chunk) =>
      this.#client.deviceModule.findMany({
        where: { deviceId: { in: chunk }, driftedAt: { not: null } },
        orderBy: { module: 'asc' },
        select: { deviceId: true, module: true, version: true, driftedFrom: true, driftedAt: true },
      }),
    );
    return rows.flatMap(({ driftedAt, ...row }) => (driftedAt === null ? [] : [checkDates({ ...row, driftedAt })]));
  }

  /** Returns all unresolved drift: the number of modules, and the first of them. */
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

  /** Returns devices with a report rejected since `moment`: the count, and the most recent. */
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

/** Maximum number of devices to look up by identifier. If more match, scanning the list in its order soon reaches them. */
const maxCandidates = 100;

/**
 * Returns a small set of devices that contains every device with these criteria. Returns null if the set exceeds the maximum or there are no criteria.
 */
export async function candidateDevices(client: QueryClient, { selector = [], module, version }: DeviceCriteria): Promise<string[] | null> {
  const firstIds = { select: { deviceId: true }, take: maxCandidates + 1 } as const;
  // The orders of the indexes: by default, Prisma sorts all rows with a label by primary key before it takes the first.
  const byValue = [{ value: 'asc' as const }, { deviceId: 'asc' as const }];
  const byVersion = [{ version: 'asc' as const }, { deviceId: 'asc' as const }];
  const reads = selector
    .flatMap((condition) => ('anyOf' in condition || condition.isNegated ? [] : [condition]))
    .map((requirement) => client.deviceLabel.findMany({ where: labelsOfRequirement(requirement), orderBy: byValue, ...firstIds }));
  if (module !== undefined || version !== undefined)
    reads.push(client.deviceModule.findMany({ where: equalTo({ module, version }), orderBy: byVersion, ...firstIds }));
  const [fewest] = (await Promise.all(reads)).toSorted((left, right) => left.length - right.length);
  return fewest === undefined || fewest.length > maxCandidates ? null : fewest.map(({ deviceId }) => deviceId);
}

/** Modules that a device is expected to have: others were unloaded, or disappeared after nothing had loaded them. */
const isExpected = { OR: [{ driftedAt: { not: null } }, { driftedFrom: null }] };

function filterConditions(filter: DeviceFilter, page: PageByTime | PageByName): Prisma.DeviceWhereInput[] {
  const { ids, selector = [], hostId, status, module, version, name: exactName, namePrefix = '' } = filter;
  const createdAt = (comparison: Comparison<Date>): Prisma.DeviceWhereInput => ({ createdAt: comparison });
  const name = (comparison: Comparison<string>): Prisma.DeviceWhereInput => ({ name: comparison });
  return [
    ...(ids === undefined ? [] : [{ id: { in: [...ids] } }]),
    ...(hostId === undefined ? [] : [{ hostId }]),
    ...(status === undefined ? (ids === undefined || page.sort === 'name' ? [isActive] : []) : [statusCondition(status)]),
    ...(module === undefined && version === undefined ? [] : [{ modules: { some: { ...equalTo({ module, version }), ...isExpected } } }]),
    ...deviceConditions(selector),
    ...(exactName === undefined ? [] : [{ name: exactName }]),
    ...(page.sort === 'name'
      ? [...nameConditions(namePrefix, page, name), ...rangeConditions(filter, createdAt)]
      : [...prefixConditions(namePrefix, name), ...timeConditions(filter, page, createdAt, (id) => ({ id }))]),
  ];
}

const isActive: Prisma.DeviceWhereInput = { decommissionedAt: null };

function statusCondition(status: DeviceStatus): Prisma.DeviceWhereInput {
  if (status === 'decommissioned') return { decommissionedAt: { not: null } };
  if (status === 'unreachable') return { ...isActive, host: { unreachableSince: { not: null } } };
  return { ...isActive, host: { unreachableSince: null }, attachedBootId: status === 'attaching' ? null : { not: null } };
}
