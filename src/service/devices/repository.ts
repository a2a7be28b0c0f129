// Devices, their labels, and what was last in their module tables.

import { isDeepStrictEqual } from 'node:util';
import type { ExpressionBuilder, Kysely, SqlBool } from 'kysely';
import { readInChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { DeviceModel, DeviceModuleModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';
import { readOrFallBack, withoutMarks } from '../database/readable-rows.ts';
import type { Tables } from '../database/tables.ts';

export type DeviceRecord = DeviceModel & { readonly labels: Readonly<Record<string, string>>; readonly status: DeviceStatus };
/** A module that a device is expected to have. */
export type DeviceModuleRecord = Pick<DeviceModuleModel, 'deviceId' | 'module' | 'version' | 'imageDigest' | 'driftedFrom'> & {
  readonly hasDrifted: boolean;
};
/** A module that is now in a device: a load brought it in, unless it says that it drifted. */
export type NewDeviceModule = Omit<DeviceModuleModel, 'driftedAt' | 'driftedFrom'> & Partial<DeviceModuleModel>;
/** What the service knows of one module of a device, to be compared with what the device reports. */
export type InstalledModule = DeviceModuleRecord & {
  /** Whether the history says that the module table names it now. */
  readonly isPresent: boolean;
};
/** What a device has reported of itself, as its host sent it. */
export type ReportedState = {
  readonly id: string;
  readonly hostId: string;
  readonly state: Prisma.InputJsonValue;
  readonly stateReportedAt: Date;
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
export type DeviceIdentity = Pick<DeviceModel, 'id' | 'name' | 'hostId' | 'labelsByOperator'>;
/** What a host is told of a device of its own. */
export type HostedDevice = Pick<DeviceModel, 'id' | 'name' | 'hostId' | 'ramPages'>;

type LabelledDevice = { readonly id: string; readonly labels: Readonly<Record<string, string>> };

/** Whether a device can be worked with: its host is heard of, and it has come up since its host started. */
export const deviceStatuses = ['connected', 'attaching', 'unreachable'] as const;
export type DeviceStatus = (typeof deviceStatuses)[number];

/** How lists call a device. */
const deviceRow = { kind: 'device', table: 'Device', key: ['id'] } as const;

const hostsOfDevices = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('Device')
    .select(['id', 'hostId'])
    .where(({ ref }) => ids.includes(ref('id'))),
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

/** Marks a module that the device is not expected to have: `driftedFrom` without `driftedAt`. The row stays, because the history is found through it. */
const markUnexpected = new RowStatement({ deviceId: 'text', module: 'text' }, (sql, { deviceId, module }) =>
  sql.updateTable('DeviceModule').set({ driftedAt: null, driftedFrom: '' }).where('deviceId', '=', deviceId).where('module', '=', module),
);
const isExpected = ({ eb, or }: ExpressionBuilder<Tables, 'DeviceModule'>) =>
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
  (sql, { id, hostId, ...rejection }) => sql.updateTable('Device').set(rejection).where('id', '=', id).where('hostId', '=', hostId),
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
const labelsOfDevices = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('DeviceLabel')
    .select(['deviceId', 'key', 'value'])
    .where(({ ref }) => ids.includes(ref('deviceId'))),
);

const sequences = (sql: Kysely<Tables>) => sql.selectFrom('Device').select(['id', 'stateSequence']).where('stateSequence', 'is not', null);
const sequencesOfDevices = new PreparedQuery({ ids: 'list' }, (sql, { ids }) => sequences(sql).where(({ ref }) => ids.includes(ref('id'))));

const identitiesByName = new PreparedQuery({ names: 'list' }, (sql, { names }) =>
  sql
    .selectFrom('Device')
    // A value that is neither true nor false keeps no host from registering: only what is true here is.
    .select(({ eb }) => ['id', 'name', 'hostId', eb('labelsByOperator', '=', true).as('labelsByOperator')])
    .where(({ ref }) => names.includes(ref('name'))),
);

/** By expressions: a time that cannot be decoded keeps no host from registering. */
const modulesOfDevices = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('DeviceModule')
    .select(({ eb }) => ['deviceId', 'module', 'version', 'imageDigest', 'driftedFrom', eb('driftedAt', 'is not', null).as('hasDrifted')])
    .where(({ ref }) => ids.includes(ref('deviceId')))
    .where(isExpected)
    .orderBy('loadedAt')
    .orderBy('module'),
);

/** One seek in the index of the history for each module of these devices. */
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

/** Devices, and whether their hosts are heard of; a time of a host that cannot be decoded keeps no device from being read. */
const devicesWithHosts = (sql: Kysely<Tables>) =>
  sql
    .selectFrom('Device')
    .innerJoin('Host', 'Host.id', 'Device.hostId')
    .select(({ eb }) => eb('Host.unreachableSince', 'is', null).as('isReachable'));

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

  /** Gives devices other labels; those that have these already are not written. */
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

  /** Gives a device the labels that an operator has chosen. */
  async setOperatorLabels(id: string, labels: Readonly<Record<string, string>>): Promise<void> {
    await this.setLabels([{ id, labels }]);
    await this.#connection.sql.updateTable('Device').set({ labelsByOperator: true }).where('id', '=', id).execute();
  }

  async find(id: string): Promise<DeviceRecord | null> {
    const device = await devicesWithHosts(this.#connection.sql).selectAll('Device').where('Device.id', '=', id).executeTakeFirst();
    if (device === undefined) return null;
    const [record = null] = await this.#withLabels([device]);
    return record;
  }

  async findMany(ids: readonly string[]): Promise<DeviceRecord[]> {
    return readInChunks(ids, async (some) => {
      const devices = devicesWithHosts(this.#connection.sql).selectAll('Device').where('Device.id', 'in', some);
      return this.#withLabels(await devices.execute());
    });
  }

  async #withLabels(devices: readonly DeviceRow[]): Promise<DeviceRecord[]> {
    const labels = await this.labelsOf(devices.map(({ id }) => id));
    return devices.map(({ isReachable, ...device }) => toRecord(device, labels.get(device.id) ?? {}, Boolean(isReachable)));
  }

  /** Names of devices, and whether their hosts are heard of, by their identifiers. */
  async reachabilityOf(ids: readonly string[]): Promise<Map<string, { readonly name: string; readonly isReachable: boolean }>> {
    const devices = await readInChunks(ids, (some) =>
      devicesWithHosts(this.#connection.sql).select(['Device.id', 'Device.name']).where('Device.id', 'in', some).execute(),
    );
    return new Map(devices.map(({ id, name, isReachable }) => [id, { name, isReachable: Boolean(isReachable) }]));
  }

  /** Which of these devices there are, with their hosts. */
  async hostsOf(ids: readonly string[]): Promise<{ id: string; hostId: string }[]> {
    return ids.length === 0 ? [] : this.#connection.query(hostsOfDevices, { ids });
  }

  async findByNames(names: readonly string[]): Promise<DeviceRecord[]> {
    return readInChunks(names, async (some) => {
      const devices = devicesWithHosts(this.#connection.sql).selectAll('Device').where('Device.name', 'in', some);
      return this.#withLabels(await devices.execute());
    });
  }

  /** Devices of these names, whosever they are. */
  async findIdentities(names: readonly string[]): Promise<DeviceIdentity[]> {
    const devices = await this.#connection.query(identitiesByName, { names });
    return devices.map((device) => ({ ...device, labelsByOperator: Boolean(device.labelsByOperator) }));
  }

  /** Every device of a host. */
  async listOnHost(hostId: string): Promise<HostedDevice[]> {
    const devices = this.#connection.sql
      .selectFrom('Device')
      .select(['id', 'name', 'hostId', 'ramPages'])
      .where('hostId', '=', hostId)
      .orderBy('id', 'desc');
    return withoutMarks(await this.#connection.queryReadable(devices, deviceRow));
  }

  async countOnHost(hostId: string): Promise<number> {
    const { devices } = await this.#connection.sql
      .selectFrom('Device')
      .select(({ fn }) => fn.countAll<number | bigint>().as('devices'))
      .where('hostId', '=', hostId)
      .executeTakeFirstOrThrow();
    return Number(devices);
  }

  /** Identifier and host of every device with these labels, the oldest first. */
  async findByLabels(labels: Readonly<Record<string, string>>, limit: number): Promise<{ id: string; hostId: string }[]> {
    return this.#connection.sql
      .selectFrom('Device')
      .select(['id', 'hostId'])
      .where(({ and, exists, selectFrom }) =>
        and(
          Object.entries(labels).map(([key, value]) =>
            exists(
              selectFrom('DeviceLabel')
                .select('deviceId')
                .whereRef('deviceId', '=', 'Device.id')
                .where('key', '=', key)
                .where('value', '=', value),
            ),
          ),
        ),
      )
      .orderBy('id')
      .limit(limit)
      .execute();
  }

  /** The labels of devices, by their identifiers; a device without any is not there. */
  async labelsOf(ids: readonly string[]): Promise<Map<string, Record<string, string>>> {
    const rows = await this.#connection.query(labelsOfDevices, { ids });
    const labels = new Map<string, Record<string, string>>();
    for (const { deviceId, key, value } of rows) labels.set(deviceId, { ...labels.get(deviceId), [key]: value });
    return labels;
  }

  async setAttached(attachments: readonly Attachment[]): Promise<void> {
    await this.#connection.executeForRows(updateAttachment, attachments);
  }

  /** Keeps states of devices, unless one with the same or a higher sequence is there or the device is another host's. Returns the devices whose state was kept. */
  async setStates(states: readonly ReportedState[]): Promise<Set<string>> {
    const changes = await this.#connection.executeForRows(
      updateState,
      states.map(({ state, stateSequence, ...reported }) => {
        return { ...reported, state: Json.of(state), stateSequence: stateSequence === null ? null : BigInt(stateSequence) };
      }),
    );
    return new Set(states.flatMap(({ id }, index) => (changes[index] === 1 ? [id] : [])));
  }

  /** Devices come up anew: what was reported of them is not true any more. */
  async clearStates(ids: readonly string[]): Promise<void> {
    await this.#connection.executeForRows(
      clearState,
      ids.map((id) => ({ id })),
    );
  }

  /**
   * What devices have reported of themselves since they came up, by their identifiers; one that has not is not there.
   * @param partOf What is wanted of a state as it was kept: whole states of many devices are more than there is memory for.
   */
  async statesOf<Part>(ids: readonly string[], partOf: (state: unknown) => Part): Promise<Map<string, Part>> {
    const parts = await readInChunks(ids, async (some) => {
      const reported = this.#connection.sql
        .selectFrom('Device')
        .select(['id', 'state'])
        .where('id', 'in', some)
        .where('stateReportedAt', 'is not', null);
      const rows = withoutMarks(await this.#connection.queryReadable(reported, deviceRow));
      return rows.map(({ id, state }) => [id, partOf(state)] as const);
    });
    return new Map(parts);
  }

  /** Returns the sequences of the newest states of devices, by their identifiers; a device whose state has none is not there. */
  async sequencesOf(ids: readonly string[]): Promise<Map<string, number>> {
    const rows = await readOrFallBack(
      () => this.#connection.query(sequencesOfDevices, { ids }),
      () => this.#readableSequences(ids),
    );
    return new Map(rows.flatMap(({ id, stateSequence }) => (stateSequence === null ? [] : [[id, Number(stateSequence)]])));
  }

  async #readableSequences(ids: readonly string[]): Promise<{ id: string; stateSequence: bigint | null }[]> {
    return readInChunks(ids, async (some) => {
      const query = sequences(this.#connection.sql).where('id', 'in', some);
      return withoutMarks(await this.#connection.queryReadable(query, deviceRow));
    });
  }

  async modulesOf(deviceIds: readonly string[]): Promise<DeviceModuleRecord[]> {
    const rows = await this.#connection.query(modulesOfDevices, { ids: deviceIds });
    return rows.map((row) => ({ ...row, hasDrifted: Boolean(row.hasDrifted) }));
  }

  /** The version of one module that was last in the module tables of devices, by their identifiers; a device that never had it is not there. */
  async versionsOf(deviceIds: readonly string[], module: string): Promise<Map<string, string>> {
    const rows = await readInChunks(deviceIds, (some) =>
      this.#connection.sql
        .selectFrom('DeviceModule')
        .select(['deviceId', 'version'])
        .where('deviceId', 'in', some)
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

  /** Notes that devices are not expected to have modules: a restart does not put the modules back. The history of the modules stays. */
  async markModulesUnexpected(places: readonly { readonly deviceId: string; readonly module: string }[]): Promise<void> {
    await this.#connection.executeForRows(markUnexpected, places);
  }

  /** What the service knows of the modules of these devices. */
  async installedOn(deviceIds: readonly string[]): Promise<InstalledModule[]> {
    if (deviceIds.length === 0) return [];
    const rows = await this.#connection.query(installedModules, { ids: deviceIds });
    return rows.map((row) => ({ ...row, isPresent: Boolean(row.isPresent), hasDrifted: Boolean(row.hasDrifted) }));
  }

  /** Modules of devices have not drifted any more. */
  async resolveDrift(places: readonly { readonly deviceId: string; readonly module: string }[]): Promise<void> {
    await this.#connection.executeForRows(clearDrift, places);
  }

  /** Notes that the service rejected reports of devices of a host, and why. Returns which of them are the host's. */
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

  /** The service has accepted reports of these devices whole. */
  async clearRejections(ids: readonly string[]): Promise<void> {
    await this.#connection.executeForRows(
      clearRejection,
      ids.map((id) => ({ id })),
    );
  }
}

type DeviceRow = DeviceModel & { readonly isReachable: SqlBool };

/** A device with what other tables have of it. @param isReachable Whether its host is heard of. */
export function toRecord(device: DeviceModel, labels: Readonly<Record<string, string>>, isReachable: boolean): DeviceRecord {
  const status = !isReachable ? 'unreachable' : device.attachedBootId === null ? 'attaching' : 'connected';
  return { ...device, status, labels };
}
