// Devices, their labels, and what was last in their module tables.

import { isDeepStrictEqual } from 'node:util';
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
import { type MarkedRows, mapReadable, markedRows, type OnUnreadable, readOneByOne, withoutMarks } from '../database/readable-rows.ts';
import { change, insertion, Query, removal, type Statements } from '../database/statements.ts';
import { checkDates, UndecodableCell } from '../database/unreadable.ts';

export type DeviceRecord = DeviceModel & { readonly labels: Readonly<Record<string, string>>; readonly status: DeviceStatus };
export type DeviceModuleRecord = DeviceModuleModel;
/** A module that is now in a device: a load brought it in, unless it says that it drifted. */
export type NewDeviceModule = Omit<DeviceModuleModel, 'driftedAt' | 'driftedFrom'> & Partial<DeviceModuleModel>;
/** What the service knows of one module of a device, to be compared with what the device reports. */
export type InstalledModule = Pick<DeviceModuleModel, 'deviceId' | 'module' | 'version' | 'imageDigest' | 'driftedFrom'> & {
  /** Whether the history says that the module table names it now. */
  readonly isThere: boolean;
  readonly hasDrifted: boolean;
};
/** A module of a device that was not what the service knew of, until that is resolved. */
export type DriftRecord = Pick<DeviceModuleModel, 'deviceId' | 'module' | 'version' | 'driftedFrom'> & { readonly driftedAt: Date };
/** Modules that have drifted: how many, and some of them with the names of their devices. */
export type Drifted = {
  readonly count: number;
  readonly first: readonly (Omit<DriftRecord, 'driftedAt'> & { readonly deviceName: string })[];
};
/** Devices of which a report was rejected: how many, and some of them by name. */
export type Rejected = { readonly count: number; readonly first: readonly { readonly name: string; readonly rejection: string }[] };
/** What a device has reported of itself, as its host sent it. */
export type ReportedState = {
  readonly id: string;
  readonly hostId: string;
  readonly state: Prisma.InputJsonValue;
  readonly stateAt: Date;
  /** Null: the state counts as newer than every other. */
  readonly stateSequence: number | null;
};
/** That a device has come up in a boot of its host, and why it lacks something that it had. */
export type Attachment = { readonly id: string; readonly attachedBootId: string; readonly attachFailure: string | null };
export type NewDevice = {
  readonly id: string;
  readonly name: string;
  readonly hostId: string;
  readonly ramPages: number;
  readonly createdAt: Date;
  readonly labels: Readonly<Record<string, string>>;
};

/** What tells a device that a host brings along from others. */
export type NamedDevice = Pick<DeviceModel, 'id' | 'name' | 'hostId' | 'labelsByOperator'>;
/** What a host is told of a device of its own. */
export type HostedDevice = Pick<DeviceModel, 'id' | 'name' | 'hostId' | 'ramPages'>;

/** What a device has in other tables than its own. */
export type DeviceTraits = {
  readonly labels: Readonly<Record<string, string>>;
  /** Of a module in its memory. */
  readonly module?: string | undefined;
  readonly version?: string | undefined;
};
export type DeviceFilter = TimeRange &
  DeviceTraits & {
    /** A few; where there are none, none is found. */
    readonly ids?: readonly string[] | undefined;
    readonly hostId?: string | undefined;
    readonly status?: DeviceStatus | undefined;
    readonly namePrefix?: string | undefined;
  };

type LabelledDevice = { readonly id: string; readonly labels: Readonly<Record<string, string>> };

/** Devices that lack something that they had. */
export type NotWhole = { readonly count: number; readonly first: readonly Pick<DeviceModel, 'name' | 'attachFailure'>[] };

/** Whether a device can be worked with: its host is heard of, and it has come up since its host started. */
export const deviceStatuses = ['connected', 'attaching', 'unreachable'] as const;
export type DeviceStatus = (typeof deviceStatuses)[number];

const withLabels = { labels: true, host: { select: { unreachableSince: true } } } as const;

const hostsOfDevices = new Query<{ readonly id: string; readonly hostId: string }>(
  { ids: 'list' },
  `SELECT "id", "hostId" FROM "Device" WHERE "id" IN :ids`,
);

const attachDevice = change(
  'Device',
  { attachedBootId: 'text', attachFailure: 'text', id: 'text' },
  `"attachedBootId" = :attachedBootId, "attachFailure" = :attachFailure`,
  `"id" = :id`,
);

const keepState = change(
  'Device',
  { state: 'json', stateAt: 'time', stateSequence: 'integer', id: 'text', hostId: 'text' },
  `"state" = :state, "stateAt" = :stateAt, "stateSequence" = :stateSequence`,
  `"id" = :id AND "hostId" = :hostId AND (:stateSequence IS NULL OR "stateSequence" IS NULL OR "stateSequence" < :stateSequence)`,
);

const keepModule = insertion(
  'DeviceModule',
  { deviceId: 'text', module: 'text', version: 'text', imageDigest: 'text', loadedAt: 'time', driftedAt: 'time', driftedFrom: 'text' },
  `ON CONFLICT ("deviceId", "module") DO UPDATE
  SET "version" = excluded."version", "imageDigest" = excluded."imageDigest", "loadedAt" = excluded."loadedAt",
    "driftedAt" = excluded."driftedAt", "driftedFrom" = excluded."driftedFrom"`,
);

/** Marks a module that the device is not expected to have: `driftedFrom` without `driftedAt`. The row stays, because the history is found through it. */
const forgetModule = change(
  'DeviceModule',
  { deviceId: 'text', module: 'text' },
  `"driftedAt" = NULL, "driftedFrom" = ''`,
  `"deviceId" = :deviceId AND "module" = :module`,
);
const expected = [{ driftedAt: { not: null } }, { driftedFrom: null }];
const isExpected = `("driftedAt" IS NOT NULL OR "driftedFrom" IS NULL)`;

const endDrift = change(
  'DeviceModule',
  { deviceId: 'text', module: 'text' },
  `"driftedAt" = NULL, "driftedFrom" = NULL`,
  `"deviceId" = :deviceId AND "module" = :module AND "driftedAt" IS NOT NULL`,
);

const forgetState = change(
  'Device',
  { id: 'text' },
  `"stateAt" = NULL, "stateSequence" = NULL, "attachedBootId" = NULL`,
  `"id" = :id AND ("stateAt" IS NOT NULL OR "attachedBootId" IS NOT NULL)`,
);

const noteRejection = change(
  'Device',
  { rejectedAt: 'time', rejection: 'text', id: 'text', hostId: 'text' },
  `"rejectedAt" = :rejectedAt, "rejection" = :rejection`,
  `"id" = :id AND "hostId" = :hostId`,
);

const endRejection = change('Device', { id: 'text' }, `"rejectedAt" = NULL, "rejection" = NULL`, `"id" = :id AND "rejectedAt" IS NOT NULL`);

const insertDevice = insertion('Device', {
  id: 'text',
  name: 'text',
  hostId: 'text',
  ramPages: 'integer',
  createdAt: 'time',
  labelsByOperator: 'truth',
});
const insertLabel = insertion('DeviceLabel', { deviceId: 'text', key: 'text', value: 'text' });
const removeLabels = removal('DeviceLabel', { deviceId: 'text' }, `"deviceId" = :deviceId`);
const labelsOfDevices = new Query<{ readonly deviceId: string; readonly key: string; readonly value: string }>(
  { ids: 'list' },
  `SELECT "deviceId", "key", "value" FROM "DeviceLabel" WHERE "deviceId" IN :ids`,
);

const sequencesOfDevices = new Query<{ readonly id: string; readonly stateSequence: number }>(
  { ids: 'list' },
  `SELECT "id", "stateSequence" FROM "Device" WHERE "id" IN :ids AND "stateSequence" IS NOT NULL`,
);

const namedDevices = new Query<Omit<NamedDevice, 'labelsByOperator'> & { readonly labelsByOperator: number }>(
  { names: 'list' },
  `SELECT "id", "name", "hostId", "labelsByOperator" FROM "Device" WHERE "name" IN :names`,
);
const devicesOfHost = new Query<HostedDevice>(
  { hostId: 'text' },
  `SELECT "id", "name", "hostId", "ramPages" FROM "Device" WHERE "hostId" = :hostId ORDER BY "id" DESC`,
);
const modulesOfDevices = new Query<
  Omit<DeviceModuleModel, 'loadedAt' | 'driftedAt'> & { readonly loadedAt: number | null; readonly driftedAt: number | null }
>(
  { ids: 'list' },
  `SELECT "deviceId", "module", "version", "imageDigest", "loadedAt", "driftedAt", "driftedFrom" FROM "DeviceModule"
  WHERE "deviceId" IN :ids AND ${isExpected} ORDER BY "loadedAt", "module"`,
);

/** One seek in the index of the history for each module of these devices. */
const installedModules = new Query<
  Pick<DeviceModuleModel, 'deviceId' | 'module' | 'version' | 'imageDigest' | 'driftedFrom'> & {
    readonly isThere: number | null;
    readonly hasDrifted: number;
  }
>(
  { ids: 'list' },
  `SELECT "held"."deviceId", "held"."module", "held"."version", "held"."imageDigest", "held"."driftedFrom", "held"."driftedAt" IS NOT NULL AS "hasDrifted",
    (SELECT "stays"."leftAt" IS NULL FROM "HistoryEntry" AS "stays"
      WHERE "stays"."deviceId" = "held"."deviceId" AND "stays"."module" = "held"."module"
      ORDER BY "stays"."enteredAt" DESC, "stays"."number" DESC LIMIT 1) AS "isThere"
  FROM "DeviceModule" AS "held" WHERE "held"."deviceId" IN :ids AND ${isExpected}`,
);

export class DeviceRecords {
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

  async create(devices: readonly NewDevice[]): Promise<void> {
    await this.#statements.each(
      insertDevice,
      devices.map(({ id, name, hostId, ramPages, createdAt }) => [id, name, hostId, ramPages, createdAt.getTime(), 0]),
    );
    await this.#insertLabels(devices);
  }

  /** Gives devices other labels; those that have these already are not written. */
  async relabel(devices: readonly LabelledDevice[]): Promise<void> {
    const current = await this.labelsOf(devices.map(({ id }) => id));
    const changed = devices.filter(({ id, labels }) => !isDeepStrictEqual(current.get(id) ?? {}, labels));
    await this.#statements.each(
      removeLabels,
      changed.map(({ id }) => [id]),
    );
    await this.#insertLabels(changed);
  }

  async #insertLabels(devices: readonly LabelledDevice[]): Promise<void> {
    await this.#statements.each(
      insertLabel,
      devices.flatMap(({ id, labels }) => Object.entries(labels).map(([key, value]) => [id, key, value])),
    );
  }

  /** Gives a device the labels that an operator has chosen. */
  async relabelByOperator(id: string, labels: Readonly<Record<string, string>>): Promise<void> {
    await this.relabel([{ id, labels }]);
    await this.#client.device.update({ where: { id }, data: { labelsByOperator: true } });
  }

  async find(id: string): Promise<DeviceRecord | null> {
    const device = await this.#client.device.findUnique({ where: { id }, include: withLabels });
    return device && toRecord(device);
  }

  async findMany(ids: readonly string[]): Promise<DeviceRecord[]> {
    const devices = await readInChunks(ids, (some) => this.#client.device.findMany({ where: { id: { in: some } }, include: withLabels }));
    return devices.map(toRecord);
  }

  /** Names of devices, and whether their hosts are heard of, by their identifiers. */
  async reachabilityOf(ids: readonly string[]): Promise<Map<string, { readonly name: string; readonly isReachable: boolean }>> {
    const devices = await readInChunks(ids, (some) =>
      this.#client.device.findMany({
        where: { id: { in: some } },
        select: { id: true, name: true, host: { select: { unreachableSince: true } } },
      }),
    );
    return new Map(devices.map(({ id, name, host }) => [id, { name, isReachable: host.unreachableSince === null }]));
  }

  /** Which of these devices there are, with their hosts. */
  async hostsOf(ids: readonly string[]): Promise<{ id: string; hostId: string }[]> {
    return ids.length === 0 ? [] : this.#statements.all(hostsOfDevices, [JSON.stringify(ids)]);
  }

  async findByNames(names: readonly string[]): Promise<DeviceRecord[]> {
    const devices = await readInChunks(names, (some) =>
      this.#client.device.findMany({ where: { name: { in: some } }, include: withLabels }),
    );
    return devices.map(toRecord);
  }

  async list(filter: DeviceFilter, page: PageByTime | PageByName): Promise<MarkedRows<DeviceRecord>> {
    const devices = await this.#readable.device.findMany({ ...(await this.#pageQuery(filter, page)), include: withLabels });
    return mapReadable(markedRows(devices), toRecord);
  }

  async #pageQuery(filter: DeviceFilter, page: PageByTime | PageByName) {
    const few = await fewDevicesWith(this.#client, filter);
    return {
      where: { AND: [...(few === null ? [] : [{ id: { in: few } }]), ...conditionsOf(filter, page)] },
      orderBy: page.sort === 'name' ? { name: page.order } : [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    } satisfies Prisma.DeviceFindManyArgs;
  }

  /** Devices of these names, whosever they are. */
  async named(names: readonly string[]): Promise<NamedDevice[]> {
    const devices = await this.#statements.all(namedDevices, [JSON.stringify(names)]);
    return devices.map(({ labelsByOperator, ...device }) => ({ ...device, labelsByOperator: labelsByOperator === 1 }));
  }

  /** Every device of a host. */
  async listOf(hostId: string): Promise<HostedDevice[]> {
    const devices = await this.#statements.all(devicesOfHost, [hostId]);
    const rows = await readOneByOne(devices, {
      nameOf: ({ id }) => ({ kind: 'device', id, place: { model: 'device', where: { id } } }),
      read: async (device) => checkSize(device),
      sortedBy: () => null,
      onUnreadable: this.#onUnreadable,
    });
    return withoutMarks(rows);
  }

  async countOf(hostId: string): Promise<number> {
    return this.#client.device.count({ where: { hostId } });
  }

  /** Identifier and host of every device with these labels, the oldest first. */
  async select(labels: Readonly<Record<string, string>>, limit: number): Promise<{ id: string; hostId: string }[]> {
    return this.#client.device.findMany({
      where: { AND: hasLabels(labels) },
      orderBy: { id: 'asc' },
      take: limit,
      select: { id: true, hostId: true },
    });
  }

  /** The labels of devices, by their identifiers; a device without any is not there. */
  async labelsOf(ids: readonly string[]): Promise<Map<string, Record<string, string>>> {
    const rows = await this.#statements.all(labelsOfDevices, [JSON.stringify(ids)]);
    const labels = new Map<string, Record<string, string>>();
    for (const { deviceId, key, value } of rows) labels.set(deviceId, { ...labels.get(deviceId), [key]: value });
    return labels;
  }

  /** How many devices there are of each status. */
  async countByStatus(): Promise<Record<DeviceStatus, number>> {
    const count = (status: DeviceStatus) => this.#client.device.count({ where: whereStatus(status) });
    return { connected: await count('connected'), attaching: await count('attaching'), unreachable: await count('unreachable') };
  }

  /** Devices that could not be brought back to all that they had when their host last restarted: how many, and some of them by name. */
  async notWhole(limit: number): Promise<NotWhole> {
    const where = { attachFailure: { not: null } };
    const first = await this.#client.device.findMany({
      where,
      orderBy: { name: 'asc' },
      take: limit,
      select: { name: true, attachFailure: true },
    });
    return { count: first.length < limit ? first.length : await this.#client.device.count({ where }), first };
  }

  async setAttached(attachments: readonly Attachment[]): Promise<void> {
    await this.#statements.each(
      attachDevice,
      attachments.map(({ id, attachedBootId, attachFailure }) => [attachedBootId, attachFailure, id]),
    );
  }

  /** Keeps states of devices, unless one with the same or a higher sequence is there or the device is another host's. Returns the devices whose state was kept. */
  async setStates(states: readonly ReportedState[]): Promise<Set<string>> {
    const changes = await this.#statements.each(
      keepState,
      states.map(({ id, hostId, state, stateAt, stateSequence }) => [JSON.stringify(state), stateAt.getTime(), stateSequence, id, hostId]),
    );
    return new Set(states.flatMap(({ id }, index) => (changes[index] === 1 ? [id] : [])));
  }

  /** Devices come up anew: what was reported of them is not true any more. */
  async forgetStates(ids: readonly string[]): Promise<void> {
    await this.#statements.each(
      forgetState,
      ids.map((id) => [id]),
    );
  }

  /**
   * What devices have reported of themselves since they came up, by their identifiers; one that has not is not there.
   * @param partOf What is wanted of a state as it was kept: whole states of many devices are more than there is memory for.
   */
  async statesOf<Part>(ids: readonly string[], partOf: (state: unknown) => Part): Promise<Map<string, Part>> {
    const parts = await readInChunks(ids, async (some) => {
      const where = { id: { in: some }, stateAt: { not: null } };
      const rows = await this.#readable.device.findMany({ where, select: { id: true, state: true } });
      return rows.map(({ id, state }) => [id, partOf(state)] as const);
    });
    return new Map(parts);
  }

  /** Returns the sequences of the newest states of devices, by their identifiers; a device whose state has none is not there. */
  async sequencesOf(ids: readonly string[]): Promise<Map<string, number>> {
    const rows = await this.#statements.all(sequencesOfDevices, [JSON.stringify(ids)]);
    return new Map(rows.map(({ id, stateSequence }) => [id, stateSequence]));
  }

  async modulesOf(deviceIds: readonly string[]): Promise<DeviceModuleRecord[]> {
    const rows = await this.#statements.all(modulesOfDevices, [JSON.stringify(deviceIds)]);
    const date = (time: number | null) => (time === null ? null : new Date(time));
    return rows.map(({ loadedAt, driftedAt, ...row }) => ({ ...row, loadedAt: date(loadedAt), driftedAt: date(driftedAt) }));
  }

  /** The version of one module that was last in the module tables of devices, by their identifiers; a device that never had it is not there. */
  async versionsOf(deviceIds: readonly string[], module: string): Promise<Map<string, string>> {
    const rows = await readInChunks(deviceIds, (some) =>
      this.#client.deviceModule.findMany({
        where: { deviceId: { in: some }, module, OR: expected },
        select: { deviceId: true, version: true },
      }),
    );
    return new Map(rows.map(({ deviceId, version }) => [deviceId, version]));
  }

  async setModules(entries: readonly NewDeviceModule[]): Promise<void> {
    await this.#statements.each(
      keepModule,
      entries.map(({ deviceId, module, version, imageDigest, loadedAt, driftedAt, driftedFrom }) => {
        return [deviceId, module, version, imageDigest, loadedAt?.getTime() ?? null, driftedAt?.getTime() ?? null, driftedFrom ?? null];
      }),
    );
  }

  /** Notes that devices are not expected to have modules: a restart does not put the modules back. The history of the modules stays. */
  async forgetModules(places: readonly { readonly deviceId: string; readonly module: string }[]): Promise<void> {
    await this.#statements.each(
      forgetModule,
      places.map(({ deviceId, module }) => [deviceId, module]),
    );
  }

  /** What the service knows of the modules of these devices. */
  async installedOn(deviceIds: readonly string[]): Promise<InstalledModule[]> {
    if (deviceIds.length === 0) return [];
    const rows = await this.#statements.all(installedModules, [JSON.stringify(deviceIds)]);
    return rows.map(({ isThere, hasDrifted, ...row }) => ({ ...row, isThere: isThere === 1, hasDrifted: hasDrifted === 1 }));
  }

  /** Modules of devices have not drifted any more. */
  async resolveDrift(places: readonly { readonly deviceId: string; readonly module: string }[]): Promise<void> {
    await this.#statements.each(
      endDrift,
      places.map(({ deviceId, module }) => [deviceId, module]),
    );
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
  async drifted(limit: number): Promise<Drifted> {
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

  /** Notes that the service rejected reports of devices of a host, and why. Returns which of them are the host's. */
  async setRejected(
    rejections: readonly { readonly id: string; readonly hostId: string; readonly rejection: string }[],
    rejectedAt: Date,
  ): Promise<Set<string>> {
    const changes = await this.#statements.each(
      noteRejection,
      rejections.map(({ id, hostId, rejection }) => [rejectedAt.getTime(), rejection, id, hostId]),
    );
    return new Set(rejections.flatMap(({ id }, index) => (changes[index] === 1 ? [id] : [])));
  }

  /** The service has accepted reports of these devices whole. */
  async endRejections(ids: readonly string[]): Promise<void> {
    await this.#statements.each(
      endRejection,
      ids.map((id) => [id]),
    );
  }

  /** Devices of which a report was rejected since then: how many, and some of them. */
  async rejectedSince(moment: Date, limit: number): Promise<Rejected> {
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
const fewDevices = 100;

/** The devices among which all are that have these traits, where they are few; null where they are many, or nothing is asked of them. */
export async function fewDevicesWith(
  client: Prisma.TransactionClient,
  { labels, module, version }: DeviceTraits,
): Promise<string[] | null> {
  const which = { select: { deviceId: true }, take: fewDevices + 1 } as const;
  // In the order of the index: any few will do.
  const orderBy = [{ version: 'asc' as const }, { deviceId: 'asc' as const }];
  const reads = Object.entries(labels).map(([key, value]) => client.deviceLabel.findMany({ where: { key, value }, ...which }));
  if (module !== undefined || version !== undefined)
    reads.push(client.deviceModule.findMany({ where: equalTo({ module, version }), orderBy, ...which }));
  const [fewest] = (await Promise.all(reads)).toSorted((left, right) => left.length - right.length);
  return fewest === undefined || fewest.length > fewDevices ? null : fewest.map(({ deviceId }) => deviceId);
}

/** Conditions that hold for devices that have all of these labels. */
export function hasLabels(labels: Readonly<Record<string, string>>): Prisma.DeviceWhereInput[] {
  return Object.entries(labels).map(([key, value]) => ({ labels: { some: { key, value } } }));
}

function conditionsOf(filter: DeviceFilter, page: PageByTime | PageByName): Prisma.DeviceWhereInput[] {
  const { ids, labels, hostId, status, module, version, namePrefix = '' } = filter;
  const createdAt = (comparison: Comparison<Date>): Prisma.DeviceWhereInput => ({ createdAt: comparison });
  const name = (comparison: Comparison<string>): Prisma.DeviceWhereInput => ({ name: comparison });
  return [
    ...(ids === undefined ? [] : [{ id: { in: [...ids] } }]),
    ...(hostId === undefined ? [] : [{ hostId }]),
    ...(status === undefined ? [] : [whereStatus(status)]),
    ...(module === undefined && version === undefined ? [] : [{ modules: { some: equalTo({ module, version }) } }]),
    ...hasLabels(labels),
    ...(page.sort === 'name'
      ? [...nameConditions(namePrefix, page, name), ...rangeConditions(filter, createdAt)]
      : [...prefixConditions(namePrefix, name), ...timeConditions(filter, page, createdAt, (id) => ({ id }))]),
  ];
}

function whereStatus(status: DeviceStatus): Prisma.DeviceWhereInput {
  if (status === 'unreachable') return { host: { unreachableSince: { not: null } } };
  return { host: { unreachableSince: null }, attachedBootId: status === 'attaching' ? null : { not: null } };
}

/** Returns the device. @throws {UndecodableCell} where its number of pages cannot be decoded. */
function checkSize(device: HostedDevice): HostedDevice {
  if (!Number.isInteger(device.ramPages)) throw new UndecodableCell('ramPages', 'an integer');
  return device;
}

type DeviceRow = DeviceModel & { labels: { key: string; value: string }[]; host: { unreachableSince: Date | null } };

function toRecord({ host, labels, ...device }: DeviceRow): DeviceRecord {
  const status = host.unreachableSince !== null ? 'unreachable' : device.attachedBootId === null ? 'attaching' : 'connected';
  return { ...device, status, labels: Object.fromEntries(labels.map(({ key, value }) => [key, value])) };
}
