// Devices, their labels, and the recorded versions of their modules.

import { isDeepStrictEqual } from 'node:util';
import type { ExpressionBuilder, Kysely, SqlBool } from 'kysely';
import type { LabelSelector } from '../../protocol/label-selector.ts';
import { readInChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { DeviceModel, DeviceModuleModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { deviceMatches, matchesSelector } from '../database/label-conditions.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';
import { readOrFallBack, withoutMarks } from '../database/readable-rows.ts';
import type { Tables } from '../database/tables.ts';

export type DeviceRecord = DeviceModel & { readonly labels: Readonly<Record<string, string>>; readonly status: DeviceStatus };
/** A module that a device is expected to have. */
export type DeviceModuleRecord = Pick<DeviceModuleModel, 'deviceId' | 'module' | 'version' | 'imageDigest' | 'driftedFrom'> & {
  readonly hasDrifted: boolean;
};
/** A module that is now in a device. A load installed it, unless the drift columns are set. */
export type NewDeviceModule = Omit<DeviceModuleModel, 'driftedAt' | 'driftedFrom' | 'historyPruned'> &
  Partial<Pick<DeviceModuleModel, 'driftedAt' | 'driftedFrom'>>;
/** The service's record of a module of a device, to compare with a report. */
export type InstalledModule = DeviceModuleRecord & {
  /** Whether the history has the module in the module table now. */
  readonly isPresent: boolean;
};
/** A reported state, as the host sent it. */
export type ReportedState = {
  readonly id: string;
  readonly hostId: string;
  readonly state: Prisma.InputJsonValue;
  readonly stateReportedAt: Date;
  /** Null: the state counts as newer than any other. */
  readonly stateSequence: number | null;
};
/** The boot in which a device attached, and what could not be restored. */
export type Attachment = { readonly id: string; readonly attachedBootId: string; readonly attachFailure: string | null };
export type NewDevice = {
  readonly id: string;
  readonly name: string;
  readonly hostId: string;
  readonly ramPages: number;
  readonly createdAt: Date;
  readonly labels: Readonly<Record<string, string>>;
};

/** Identifies a registered device. */
export type DeviceIdentity = Pick<DeviceModel, 'id' | 'name' | 'registeredName' | 'hostId' | 'labelsByOperator'>;
/** The data of a device for its host. The name is the one that the host registers. */
export type HostedDevice = Pick<DeviceModel, 'id' | 'name' | 'hostId' | 'ramPages'>;
/** A device that can move to another host. */
export type MovableDevice = HostedDevice & Pick<DeviceModel, 'movingTo' | 'moveReason' | 'moveRequestedBy'>;
/** A device that a request names. */
export type NamedDevice = Pick<DeviceModel, 'id' | 'hostId' | 'decommissionedAt'>;
/** The end of a device or host: when, why, and the actor. */
export type Decommissioning = { readonly decommissionedAt: Date; readonly decommissionReason: string; readonly decommissionedBy: string };

type LabelledDevice = { readonly id: string; readonly labels: Readonly<Record<string, string>> };

/** `connected`: the host is connected, and the device has attached in this boot of the host. */
const activeDeviceStatuses = ['connected', 'attaching', 'unreachable'] as const;
export type ActiveDeviceStatus = (typeof activeDeviceStatuses)[number];
export const deviceStatuses = [...activeDeviceStatuses, 'decommissioned'] as const;
export type DeviceStatus = (typeof deviceStatuses)[number];

/** How error messages name a row. */
const deviceRow = { kind: 'device', table: 'Device', key: ['id'] } as const;

const hostsOfDevices = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('Device')
    .select(['id', 'hostId', 'decommissionedAt'])
    .where(({ ref }) => ids.includes(ref('id'))),
);

const hostsOfNamedDevices = new PreparedQuery({ names: 'list' }, (sql, { names }) =>
  sql
    .selectFrom('Device')
    .select(['id', 'name', 'hostId'])
    .where(({ ref }) => names.includes(ref('name')))
    .where('decommissionedAt', 'is', null),
);

const updateAttachment = new RowStatement({ attachedBootId: 'text', attachFailure: 'text?', id: 'text' }, (sql, { id, ...attachment }) =>
  sql.updateTable('Device').set(attachment).where('id', '=', id),
);

const updateState = new RowStatement(
  { state: 'json', stateReportedAt: 'time', stateSequence: 'bigint?', id: 'text', hostId: 'text' },
  (sql, { id, hostId, ...reported }) =>
    sql
      .updateTable('Device')
      .set(reported)
      .where('id', '=', id)
      .where('hostId', '=', hostId)
      .where('decommissionedAt', 'is', null)
      .where(({ eb, or }) =>
        or([eb(reported.stateSequence, 'is', null), eb('stateSequence', 'is', null), eb('stateSequence', '<', reported.stateSequence)]),
      ),
);

const upsertModule = new RowStatement(
  {
    deviceId: 'text',
    module: 'text',
    version: 'text',
    imageDigest: 'text',
    loadedAt: 'time?',
    driftedAt: 'time?',
    driftedFrom: 'text?',
  },
  (sql, module) =>
    sql
      .insertInto('DeviceModule')
      .values(module)
      .onConflict((conflict) =>
        conflict.columns(['deviceId', 'module']).doUpdateSet(({ ref }) => ({
          version: ref('excluded.version'),
          imageDigest: ref('excluded.imageDigest'),
          loadedAt: ref('excluded.loadedAt'),
          driftedAt: ref('excluded.driftedAt'),
          driftedFrom: ref('excluded.driftedFrom'),
        })),
      ),
);

/** Marks a module as not expected on the device: `driftedFrom` without `driftedAt`. The row stays, because the history is read through it. */
const markUnexpected = new RowStatement({ deviceId: 'text', module: 'text' }, (sql, { deviceId, module }) =>
  sql.updateTable('DeviceModule').set({ driftedAt: null, driftedFrom: '' }).where('deviceId', '=', deviceId).where('module', '=', module),
);
/** Selects the modules that devices are expected to have. */
export const isExpected = ({ eb, or }: ExpressionBuilder<Tables, 'DeviceModule'>) =>
  or([eb('driftedAt', 'is not', null), eb('driftedFrom', 'is', null)]);

const clearDrift = new RowStatement({ deviceId: 'text', module: 'text' }, (sql, { deviceId, module }) =>
  sql
    .updateTable('DeviceModule')
    .set({ driftedAt: null, driftedFrom: null })
    .where('deviceId', '=', deviceId)
    .where('module', '=', module)
    .where('driftedAt', 'is not', null),
);

const clearState = new RowStatement({ id: 'text' }, (sql, { id }) =>
  sql
    .updateTable('Device')
    .set({ stateReportedAt: null, stateSequence: null, attachedBootId: null })
    .where('id', '=', id)
    .where(({ eb, or }) => or([eb('stateReportedAt', 'is not', null), eb('attachedBootId', 'is not', null)])),
);

const updateRejection = new RowStatement(
  { rejectedAt: 'time', rejection: 'text', id: 'text', hostId: 'text' },
  (sql, { id, hostId, ...rejection }) =>
    sql.updateTable('Device').set(rejection).where('id', '=', id).where('hostId', '=', hostId).where('decommissionedAt', 'is', null),
);

const clearRejection = new RowStatement({ id: 'text' }, (sql, { id }) =>
  sql.updateTable('Device').set({ rejectedAt: null, rejection: null }).where('id', '=', id).where('rejectedAt', 'is not', null),
);

const insertDevice = new RowStatement(
  { id: 'text', name: 'text', hostId: 'text', ramPages: 'integer', createdAt: 'time', labelsByOperator: 'boolean' },
  (sql, device) => sql.insertInto('Device').values(device),
);
const insertLabel = new RowStatement({ deviceId: 'text', key: 'text', value: 'text' }, (sql, label) =>
  sql.insertInto('DeviceLabel').values(label),
);
const removeLabels = new RowStatement({ deviceId: 'text' }, (sql, { deviceId }) =>
  sql.deleteFrom('DeviceLabel').where('deviceId', '=', deviceId),
);
const markLabelsByOperator = new RowStatement({ id: 'text' }, (sql, { id }) =>
  sql.updateTable('Device').set({ labelsByOperator: true }).where('id', '=', id),
);
const labelsOfDevices = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('DeviceLabel')
    .select(['deviceId', 'key', 'value'])
    .where(({ ref }) => ids.includes(ref('deviceId'))),
);

const sequences = (sql: Kysely<Tables>) => sql.selectFrom('Device').select(['id', 'stateSequence']).where('stateSequence', 'is not', null);
const sequencesOfDevices = new PreparedQuery({ ids: 'list' }, (sql, { ids }) => sequences(sql).where(({ ref }) => ids.includes(ref('id'))));

const identities = (sql: Kysely<Tables>) =>
  sql
    .selectFrom('Device')
    // Compared in SQL, so that an undecodable value counts as false and does not block the registration of a host.
    .select(({ eb }) => ['id', 'name', 'registeredName', 'hostId', eb('labelsByOperator', '=', true).as('labelsByOperator')])
    .where('decommissionedAt', 'is', null);
const identitiesByName = new PreparedQuery({ names: 'list' }, (sql, { names }) =>
  identities(sql).where(({ ref }) => names.includes(ref('name'))),
);
const identitiesByRegisteredName = new PreparedQuery({ names: 'list' }, (sql, { names }) =>
  identities(sql)
    .where('registeredName', 'is not', null)
    .where(({ ref }) => names.includes(ref('registeredName'))),
);

const notMoving = { movingTo: null, moveReason: null, moveRequestedBy: null } as const;

const endDevice = new RowStatement(
  { decommissionedAt: 'time', decommissionReason: 'text', decommissionedBy: 'text', attachedBootId: 'text', id: 'text' },
  (sql, { id, ...end }) =>
    sql
      .updateTable('Device')
      .set({ ...end, ...notMoving, attachFailure: null, rejectedAt: null, rejection: null })
      .where('id', '=', id)
      .where('decommissionedAt', 'is', null),
);
const clearDriftOfDevice = new RowStatement({ deviceId: 'text' }, (sql, { deviceId }) =>
  sql
    .updateTable('DeviceModule')
    .set({ driftedAt: null, driftedFrom: null })
    .where('deviceId', '=', deviceId)
    .where('driftedAt', 'is not', null),
);

/** Compared in SQL, so that an undecodable time does not block the registration of a host. */
const modulesOfDevices = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('DeviceModule')
    .select(({ eb }) => ['deviceId', 'module', 'version', 'imageDigest', 'driftedFrom', eb('driftedAt', 'is not', null).as('hasDrifted')])
    .where(({ ref }) => ids.includes(ref('deviceId')))
    .where(isExpected)
    .orderBy('loadedAt')
    .orderBy('module'),
);

/** Needs one index seek in the history per module. */
const installedModules = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('DeviceModule')
    .select(({ eb, selectFrom }) => [
      'deviceId',
      'module',
      'version',
      'imageDigest',
      'driftedFrom',
      eb('driftedAt', 'is not', null).as('hasDrifted'),
      selectFrom('HistoryEntry')
        .select((entry) => entry('removedAt', 'is', null).as('isPresent'))
        .whereRef('HistoryEntry.deviceId', '=', 'DeviceModule.deviceId')
        .whereRef('HistoryEntry.module', '=', 'DeviceModule.module')
        .orderBy('installedAt', 'desc')
        .orderBy('number', 'desc')
        .limit(1)
        .as('isPresent'),
    ])
    .where(({ ref }) => ids.includes(ref('deviceId')))
    .where(isExpected),
);

const selectMovable = (sql: Kysely<Tables>) =>
  sql
    .selectFrom('Device')
    .select(({ fn }) => ['id', fn.coalesce('registeredName', 'name').as('name'), 'hostId', 'ramPages'])
    .select(['movingTo', 'moveReason', 'moveRequestedBy'])
    .where('decommissionedAt', 'is', null)
    .orderBy('createdAt')
    .orderBy('id');

/** Selects devices with the reachability of their hosts. Compared in SQL, so that an undecodable time of a host does not block reading its devices. */
const devicesWithHosts = (sql: Kysely<Tables>) =>
  sql
    .selectFrom('Device')
    .innerJoin('Host', 'Host.id', 'Device.hostId')
    .select(({ eb }) => eb('Host.unreachableSince', 'is', null).as('isReachable'));

const placeOnHost = new RowStatement({ hostId: 'text', id: 'text' }, (sql, { id, hostId }) =>
  sql
    .updateTable('Device')
    .set({ hostId, ...notMoving, attachFailure: null, rejectedAt: null, rejection: null })
    .where('id', '=', id),
);
const startMove = new RowStatement({ movingTo: 'text', moveReason: 'text?', moveRequestedBy: 'text', id: 'text' }, (sql, { id, ...move }) =>
  sql.updateTable('Device').set(move).where('id', '=', id),
);
const insertOrigin = new RowStatement({ deviceId: 'text', hostId: 'text' }, (sql, origin) =>
  sql
    .insertInto('DeviceOrigin')
    .values(origin)
    .onConflict((conflict) => conflict.columns(['deviceId', 'hostId']).doNothing()),
);
const removeOrigin = new RowStatement({ deviceId: 'text', hostId: 'text' }, (sql, { deviceId, hostId }) =>
  sql.deleteFrom('DeviceOrigin').where('deviceId', '=', deviceId).where('hostId', '=', hostId),
);

export class DeviceRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create(devices: readonly NewDevice[]): Promise<void> {
    await this.#connection.executeForRows(
      insertDevice,
      devices.map((device) => ({ ...device, labelsByOperator: false })),
    );
    await this.#insertLabels(devices);
  }

  /** Sets the labels of devices. Does not write labels that have not changed. */
  async setLabels(devices: readonly LabelledDevice[]): Promise<void> {
    const current = await this.labelsOf(devices.map(({ id }) => id));
    const changed = devices.filter(({ id, labels }) => !isDeepStrictEqual(current.get(id) ?? {}, labels));
    await this.#connection.executeForRows(
      removeLabels,
      changed.map(({ id }) => ({ deviceId: id })),
    );
    await this.#insertLabels(changed);
  }

  async #insertLabels(devices: readonly LabelledDevice[]): Promise<void> {
    await this.#connection.executeForRows(
      insertLabel,
      devices.flatMap(({ id, labels }) => Object.entries(labels).map(([key, value]) => ({ deviceId: id, key, value }))),
    );
  }

  /** Sets the labels of devices, and marks them as set by an operator. */
  async setOperatorLabels(devices: readonly LabelledDevice[]): Promise<void> {
    await this.setLabels(devices);
    await this.#connection.executeForRows(
      markLabelsByOperator,
      devices.map(({ id }) => ({ id })),
    );
  }

  async find(id: string): Promise<DeviceRecord | null> {
    const device = await devicesWithHosts(this.#connection.sql).selectAll('Device').where('Device.id', '=', id).executeTakeFirst();
    if (device === undefined) return null;
    const [record = null] = await this.#withLabels([device]);
    return record;
  }

  async findMany(ids: readonly string[]): Promise<DeviceRecord[]> {
    return readInChunks(ids, async (chunk) => {
      const devices = devicesWithHosts(this.#connection.sql).selectAll('Device').where('Device.id', 'in', chunk);
      return this.#withLabels(await devices.execute());
    });
  }

  async #withLabels(devices: readonly DeviceRow[]): Promise<DeviceRecord[]> {
    const labels = await this.labelsOf(devices.map(({ id }) => id));
    return devices.map(({ isReachable, ...device }) => toRecord(device, labels.get(device.id) ?? {}, Boolean(isReachable)));
  }

  /** Returns the names of devices and the reachability of their hosts, by device identifier. */
  async reachabilityOf(ids: readonly string[]): Promise<Map<string, { readonly name: string; readonly isReachable: boolean }>> {
    const devices = await readInChunks(ids, (chunk) =>
      devicesWithHosts(this.#connection.sql).select(['Device.id', 'Device.name']).where('Device.id', 'in', chunk).execute(),
    );
    return new Map(devices.map(({ id, name, isReachable }) => [id, { name, isReachable: Boolean(isReachable) }]));
  }

  /** Returns the devices that exist, with their hosts. */
  async hostsOf(ids: readonly string[]): Promise<NamedDevice[]> {
    return ids.length === 0 ? [] : this.#connection.query(hostsOfDevices, { ids });
  }

  /** Returns which of these devices are decommissioned. */
  async filterDecommissioned(ids: readonly string[]): Promise<Set<string>> {
    const ended = (await this.hostsOf(ids)).filter(({ decommissionedAt }) => decommissionedAt !== null);
    return new Set(ended.map(({ id }) => id));
  }

  /** Returns the devices with these names, with their hosts. Leaves out decommissioned ones. */
  async hostsOfNamed(names: readonly string[]): Promise<{ id: string; name: string; hostId: string }[]> {
    return names.length === 0 ? [] : this.#connection.query(hostsOfNamedDevices, { names });
  }

  /** Returns the devices that are not decommissioned with these names. */
  async findByNames(names: readonly string[]): Promise<DeviceRecord[]> {
    return readInChunks(names, async (chunk) => {
      const devices = devicesWithHosts(this.#connection.sql)
        .selectAll('Device')
        .where('Device.name', 'in', chunk)
        .where('Device.decommissionedAt', 'is', null);
      return this.#withLabels(await devices.execute());
    });
  }

  /** Returns the devices that have one of these names or register with it, on any host, each once. Leaves out decommissioned ones. */
  async findIdentities(names: readonly string[]): Promise<DeviceIdentity[]> {
    const found = [
      ...(await this.#connection.query(identitiesByName, { names })),
      ...(await this.#connection.query(identitiesByRegisteredName, { names })),
    ];
    const devices = new Map(found.map((device) => [device.id, device]));
    return [...devices.values()].map((device) => ({ ...device, labelsByOperator: Boolean(device.labelsByOperator) }));
  }

  /** Sets the name of a device. @param registeredName The name that its host registers; null: the same. */
  async rename(id: string, name: string, registeredName: string | null): Promise<void> {
    await this.#connection.sql.updateTable('Device').set({ name, registeredName }).where('id', '=', id).execute();
  }

  /** Returns every device of a host that is not decommissioned. */
  async listOnHost(hostId: string): Promise<HostedDevice[]> {
    const devices = this.#connection.sql
      .selectFrom('Device')
      .select(({ fn }) => ['id', fn.coalesce('registeredName', 'name').as('name'), 'hostId', 'ramPages'])
      .where('hostId', '=', hostId)
      .where('decommissionedAt', 'is', null)
      .orderBy('id', 'desc');
    return withoutMarks(await this.#connection.queryReadable(devices, deviceRow));
  }

  /** Returns the first devices of a host that are not decommissioned. */
  async firstOnHost(hostId: string, limit: number): Promise<string[]> {
    const devices = this.#connection.sql
      .selectFrom('Device')
      .select('id')
      .where('hostId', '=', hostId)
      .where('decommissionedAt', 'is', null);
    return (await devices.orderBy('createdAt').orderBy('id').limit(limit).execute()).map(({ id }) => id);
  }

  /** Returns the names that a host registered for devices that were decommissioned during a boot. */
  async decommissionedNames(hostId: string, bootId: string): Promise<Set<string>> {
    const devices = await this.#connection.sql
      .selectFrom('Device')
      .select(({ fn }) => fn.coalesce('registeredName', 'name').as('name'))
      .where('hostId', '=', hostId)
      .where('decommissionedAt', 'is not', null)
      .where('attachedBootId', '=', bootId)
      .execute();
    return new Set(devices.map(({ name }) => name));
  }

  /**
   * Decommissions devices, and clears what health reports about them: failures, rejections and drift.
   * @param devices With the boot of the host in which each is decommissioned.
   * @returns The identifiers of the devices that were not decommissioned before.
   */
  async decommission(
    devices: readonly { readonly id: string; readonly attachedBootId: string }[],
    end: Decommissioning,
  ): Promise<Set<string>> {
    const changes = await this.#connection.executeForRows(
      endDevice,
      devices.map((device) => ({ ...device, ...end })),
    );
    await this.#connection.executeForRows(
      clearDriftOfDevice,
      devices.map(({ id }) => ({ deviceId: id })),
    );
    return new Set(devices.flatMap(({ id }, index) => (changes[index] === 1 ? [id] : [])));
  }

  /** Returns those of these devices that are not decommissioned, with what a host needs to attach them, and the host that each moves to. */
  async findMovable(ids: readonly string[]): Promise<MovableDevice[]> {
    return readInChunks(ids, (chunk) => selectMovable(this.#connection.sql).where('id', 'in', chunk).execute());
  }

  /** Returns the devices that move away from hosts. */
  async listMovingFrom(hostIds: readonly string[]): Promise<MovableDevice[]> {
    return readInChunks(hostIds, (chunk) =>
      selectMovable(this.#connection.sql).where('movingTo', 'is not', null).where('hostId', 'in', chunk).execute(),
    );
  }

  /** Returns the first devices of a host that do not move to another one yet. */
  async firstToMove(hostId: string, target: string, limit: number): Promise<string[]> {
    const devices = this.#connection.sql
      .selectFrom('Device')
      .select('id')
      .where('hostId', '=', hostId)
      .where('decommissionedAt', 'is', null)
      .where(({ eb, or }) => or([eb('movingTo', 'is', null), eb('movingTo', '<>', target)]));
    return (await devices.orderBy('createdAt').orderBy('id').limit(limit).execute()).map(({ id }) => id);
  }

  /** Records that devices move when their host has dropped them. */
  async startMoves(
    ids: readonly string[],
    move: Pick<DeviceModel, 'moveReason'> & { movingTo: string; moveRequestedBy: string },
  ): Promise<void> {
    await this.#connection.executeForRows(
      startMove,
      ids.map((id) => ({ id, ...move })),
    );
  }

  /** Places devices on another host, and records the one before, which does not register them again. */
  async place(devices: readonly { readonly id: string; readonly hostId: string }[], target: string): Promise<void> {
    await this.#connection.executeForRows(
      placeOnHost,
      devices.map(({ id }) => ({ id, hostId: target })),
    );
    const origins = devices.map(({ id, hostId }) => ({ deviceId: id, hostId }));
    await this.#connection.executeForRows(
      insertOrigin,
      origins.filter(({ hostId }) => hostId !== target),
    );
    await this.#connection.executeForRows(
      removeOrigin,
      devices.map(({ id }) => ({ deviceId: id, hostId: target })),
    );
  }

  /** Returns the identifiers of the devices that were moved away from a host. */
  async movedFrom(hostId: string): Promise<Set<string>> {
    const devices = this.#connection.sql.selectFrom('DeviceOrigin').select('deviceId').where('hostId', '=', hostId);
    return new Set((await devices.execute()).map(({ deviceId }) => deviceId));
  }

  /** Counts the devices of a host that move to another one already. */
  async countMovingBetween(hostId: string, target: string): Promise<number> {
    return (await this.listMovingFrom([hostId])).filter(({ movingTo }) => movingTo === target).length;
  }

  /** Counts the devices that move from a host to another one and are still there. */
  async countMovingFrom(hostId: string): Promise<number> {
    return (await this.listMovingFrom([hostId])).filter(({ movingTo }) => movingTo !== hostId).length;
  }

  /** Counts the devices that move to a host and are not there yet. */
  async countMovingTo(hostId: string): Promise<number> {
    const { devices } = await this.#connection.sql
      .selectFrom('Device')
      .select(({ fn }) => fn.countAll<number | bigint>().as('devices'))
      .where('movingTo', '=', hostId)
      .executeTakeFirstOrThrow();
    return Number(devices);
  }

  /** Counts the devices of a host that are not decommissioned. */
  async countOnHost(hostId: string): Promise<number> {
    const { devices } = await this.#connection.sql
      .selectFrom('Device')
      .select(({ fn }) => fn.countAll<number | bigint>().as('devices'))
      .where('hostId', '=', hostId)
      .where('decommissionedAt', 'is', null)
      .executeTakeFirstOrThrow();
    return Number(devices);
  }

  /** Returns the identifiers and hosts of the devices that a selector matches, oldest first. Leaves out decommissioned ones. */
  async findMatching(selector: LabelSelector, limit: number): Promise<{ id: string; hostId: string }[]> {
    return this.#connection.sql
      .selectFrom('Device')
      .select(['id', 'hostId'])
      .where('decommissionedAt', 'is', null)
      .where((device) => matchesSelector(device, selector))
      .orderBy('createdAt')
      .orderBy('id')
      .limit(limit)
      .execute();
  }

  /** Returns those of these devices that a selector matches. */
  async filterMatching(ids: readonly string[], selector: LabelSelector): Promise<string[]> {
    const found = await readInChunks(ids, (chunk) =>
      this.#connection.sql
        .selectFrom('Device')
        .select('id')
        .where('id', 'in', chunk)
        .where(({ ref }) => deviceMatches(ref('Device.id'), selector))
        .execute(),
    );
    return found.map(({ id }) => id);
  }

  /** Returns the labels of devices, by device identifier; without an entry for a device without labels. */
  async labelsOf(ids: readonly string[]): Promise<Map<string, Record<string, string>>> {
    const rows = await this.#connection.query(labelsOfDevices, { ids });
    const labels = new Map<string, Record<string, string>>();
    for (const { deviceId, key, value } of rows) labels.set(deviceId, { ...labels.get(deviceId), [key]: value });
    return labels;
  }

  async setAttached(attachments: readonly Attachment[]): Promise<void> {
    await this.#connection.executeForRows(updateAttachment, attachments);
  }

  /**
   * Stores states of devices. Ignores a state if the stored one has the same or a higher sequence, or the device belongs to another host.
   * @returns The identifiers of the devices whose state was stored.
   */
  async setStates(states: readonly ReportedState[]): Promise<Set<string>> {
    const changes = await this.#connection.executeForRows(
      updateState,
      states.map(({ state, stateSequence, ...reported }) => {
        return { ...reported, state: Json.of(state), stateSequence: stateSequence === null ? null : BigInt(stateSequence) };
      }),
    );
    return new Set(states.flatMap(({ id }, index) => (changes[index] === 1 ? [id] : [])));
  }

  /** Clears the states and attachments of devices that must attach again. */
  async clearStates(ids: readonly string[]): Promise<void> {
    await this.#connection.executeForRows(
      clearState,
      ids.map((id) => ({ id })),
    );
  }

  /**
   * Returns the reported states of devices, by device identifier; without an entry for a device that has not reported since it attached.
   * @param partOf Selects the part of a stored state to return: the complete states of many devices do not fit in memory.
   */
  async statesOf<Part>(ids: readonly string[], partOf: (state: unknown) => Part): Promise<Map<string, Part>> {
    const parts = await readInChunks(ids, async (chunk) => {
      const reported = this.#connection.sql
        .selectFrom('Device')
        .select(['id', 'state'])
        .where('id', 'in', chunk)
        .where('stateReportedAt', 'is not', null);
      const rows = withoutMarks(await this.#connection.queryReadable(reported, deviceRow));
      return rows.map(({ id, state }) => [id, partOf(state)] as const);
    });
    return new Map(parts);
  }

  /** Returns the sequence of the newest state of each device, by device identifier; without an entry for a state without a sequence. */
  async sequencesOf(ids: readonly string[]): Promise<Map<string, number>> {
    const rows = await readOrFallBack(
      () => this.#connection.query(sequencesOfDevices, { ids }),
      () => this.#readableSequences(ids),
    );
    return new Map(rows.flatMap(({ id, stateSequence }) => (stateSequence === null ? [] : [[id, Number(stateSequence)]])));
  }

  async #readableSequences(ids: readonly string[]): Promise<{ id: string; stateSequence: bigint | null }[]> {
    return readInChunks(ids, async (chunk) => {
      const query = sequences(this.#connection.sql).where('id', 'in', chunk);
      return withoutMarks(await this.#connection.queryReadable(query, deviceRow));
    });
  }

  async modulesOf(deviceIds: readonly string[]): Promise<DeviceModuleRecord[]> {
    const rows = await this.#connection.query(modulesOfDevices, { ids: deviceIds });
    return rows.map((row) => ({ ...row, hasDrifted: Boolean(row.hasDrifted) }));
  }

  /** Returns the recorded version of a module on devices, by device identifier; without an entry for a device that is not expected to have it. */
  async versionsOf(deviceIds: readonly string[], module: string): Promise<Map<string, string>> {
    const rows = await readInChunks(deviceIds, (chunk) =>
      this.#connection.sql
        .selectFrom('DeviceModule')
        .select(['deviceId', 'version'])
        .where('deviceId', 'in', chunk)
        .where('module', '=', module)
        .where(isExpected)
        .execute(),
    );
    return new Map(rows.map(({ deviceId, version }) => [deviceId, version]));
  }

  async setModules(entries: readonly NewDeviceModule[]): Promise<void> {
    await this.#connection.executeForRows(
      upsertModule,
      entries.map(({ driftedAt = null, driftedFrom = null, ...module }) => ({ ...module, driftedAt, driftedFrom })),
    );
  }

  /** Marks modules as not expected on devices: a restart does not restore them. Their history is not changed. */
  async markModulesUnexpected(places: readonly { readonly deviceId: string; readonly module: string }[]): Promise<void> {
    await this.#connection.executeForRows(markUnexpected, places);
  }

  /** Returns the service's records of the modules of devices. */
  async installedOn(deviceIds: readonly string[]): Promise<InstalledModule[]> {
    if (deviceIds.length === 0) return [];
    const rows = await this.#connection.query(installedModules, { ids: deviceIds });
    return rows.map((row) => ({ ...row, isPresent: Boolean(row.isPresent), hasDrifted: Boolean(row.hasDrifted) }));
  }

  /** Clears the drift of modules. */
  async resolveDrift(places: readonly { readonly deviceId: string; readonly module: string }[]): Promise<void> {
    await this.#connection.executeForRows(clearDrift, places);
  }

  /** Records that the service rejected reports of devices, and why. Returns the identifiers of the devices that belong to the host. */
  async recordRejections(
    rejections: readonly { readonly id: string; readonly hostId: string; readonly rejection: string }[],
    rejectedAt: Date,
  ): Promise<Set<string>> {
    const changes = await this.#connection.executeForRows(
      updateRejection,
      rejections.map((rejection) => ({ ...rejection, rejectedAt })),
    );
    return new Set(rejections.flatMap(({ id }, index) => (changes[index] === 1 ? [id] : [])));
  }

  /** Clears the rejections of devices whose complete reports were accepted. */
  async clearRejections(ids: readonly string[]): Promise<void> {
    await this.#connection.executeForRows(
      clearRejection,
      ids.map((id) => ({ id })),
    );
  }
}

type DeviceRow = DeviceModel & { readonly isReachable: SqlBool };

/** Adds labels and status to a device row. @param isReachable Whether its host is connected. */
export function toRecord(device: DeviceModel, labels: Readonly<Record<string, string>>, isReachable: boolean): DeviceRecord {
  if (device.decommissionedAt !== null) return { ...device, status: 'decommissioned', labels };
  const status = !isReachable ? 'unreachable' : device.attachedBootId === null ? 'attaching' : 'connected';
  return { ...device, status, labels };
}
