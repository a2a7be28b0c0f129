// Rollouts: one build to many devices, with their waves and what has become of each device.

import { readInChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { RolloutDeviceModel, RolloutModel, RolloutWaveModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { RowStatement } from '../database/prepared-statements.ts';

export type RolloutRecord = RolloutModel;
export type NewRollout = Omit<RolloutModel, 'plan' | 'reason' | 'endedAt' | 'nextLoadAt'> & { readonly plan: Prisma.InputJsonValue };
export type RolloutWaveRecord = RolloutWaveModel;
export type NewRolloutDevice = Pick<
  RolloutDeviceModel,
  'deviceId' | 'position' | 'wave' | 'version' | 'state' | 'reason' | 'previousVersion'
>;

/** How many devices of a wave are in a state, and the accesses that their loads have interrupted. */
export type DeviceCount = { readonly wave: number; readonly state: string; readonly devices: number; readonly interrupted: number };

/** What came of a device's load. */
export type EndedLoad = { readonly loadId: string; readonly outcome: string; readonly reason: string | null };
/** What is known besides where the device has the new version. */
export type Installation = {
  /** Left out where it is as it was thought to be. */
  readonly previousVersion?: string | null;
  readonly interrupted: number;
  readonly loadedAt: Date;
  readonly baseline: Prisma.InputJsonValue;
};

/** Which state of a device is the last that was kept. The sequence is null where the host of the device sends none. */
export type StateVersion = { readonly stateReportedAt: Date | null; readonly stateSequence: bigint | null };

/** What a device's programs had done when it got the version, and what it last reported. */
export type MeasurableDevice = StateVersion & { readonly deviceId: string; readonly baseline: unknown; readonly state: unknown };

/** A device that waits for its load. */
export type WaitingDevice = { readonly deviceId: string; readonly hostId: string; readonly version: string };

/** A device that has got the version, and what it had before. */
export type PatchedDevice = Pick<RolloutDeviceModel, 'deviceId' | 'previousVersion'>;

/** A rollout that has so many of the devices. */
export type Conflict = { readonly rolloutId: string; readonly devices: number };

const insertWave = new RowStatement({ rolloutId: 'text', number: 'integer', state: 'text', startedAt: 'time?' }, (sql, wave) =>
  sql.insertInto('RolloutWave').values(wave),
);

const insertDevice = new RowStatement(
  {
    rolloutId: 'text',
    deviceId: 'text',
    position: 'integer',
    wave: 'integer',
    version: 'text',
    state: 'text',
    reason: 'text?',
    previousVersion: 'text?',
  },
  (sql, device) => sql.insertInto('RolloutDevice').values(device),
);

const setDeviceLoading = new RowStatement({ loadId: 'text', rolloutId: 'text', deviceId: 'text' }, (sql, { loadId, rolloutId, deviceId }) =>
  sql
    .updateTable('RolloutDevice')
    .set((device) => ({ state: 'loading', loadId, attempts: device('attempts', '+', 1), outcome: null, reason: null }))
    .where('rolloutId', '=', rolloutId)
    .where('deviceId', '=', deviceId),
);

const settleFailure = new RowStatement({ outcome: 'text', reason: 'text?', loadId: 'text' }, (sql, { loadId, ...ending }) =>
  sql
    .updateTable('RolloutDevice')
    .set({ ...ending, state: 'failed' })
    .where('loadId', '=', loadId),
);

const setDeviceFailed = new RowStatement({ reason: 'text', rolloutId: 'text', deviceId: 'text' }, (sql, { reason, rolloutId, deviceId }) =>
  sql.updateTable('RolloutDevice').set({ state: 'failed', reason }).where('rolloutId', '=', rolloutId).where('deviceId', '=', deviceId),
);

const setDeviceMeasured = new RowStatement(
  { measured: 'json', rolloutId: 'text', deviceId: 'text' },
  (sql, { measured, rolloutId, deviceId }) =>
    sql.updateTable('RolloutDevice').set({ measured }).where('rolloutId', '=', rolloutId).where('deviceId', '=', deviceId),
);

export class RolloutRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create(
    { plan, ...rollout }: NewRollout,
    waves: readonly Pick<RolloutWaveModel, 'number' | 'state' | 'startedAt'>[],
  ): Promise<void> {
    await this.#connection.sql
      .insertInto('Rollout')
      .values({ ...rollout, plan: Json.of(plan) })
      .execute();
    await this.#connection.executeForRows(
      insertWave,
      waves.map((wave) => ({ rolloutId: rollout.id, ...wave })),
    );
  }

  /** Adds devices that are not among its devices. */
  async addDevices(rolloutId: string, devices: readonly NewRolloutDevice[]): Promise<void> {
    await this.#connection.executeForRows(
      insertDevice,
      devices.map((device) => ({ rolloutId, ...device })),
    );
  }

  async find(id: string): Promise<RolloutRecord | null> {
    const rollout = await this.#connection.sql.selectFrom('Rollout').selectAll().where('id', '=', id).executeTakeFirst();
    return rollout ?? null;
  }

  /** The rollout that takes another's devices back. */
  async findRollbackOf(id: string): Promise<RolloutRecord | null> {
    const rollback = await this.#connection.sql.selectFrom('Rollout').selectAll().where('rollbackOf', '=', id).executeTakeFirst();
    return rollback ?? null;
  }

  /** Those that have not ended, the oldest first. */
  async openIds(): Promise<string[]> {
    const open = await this.#connection.sql
      .selectFrom('Rollout')
      .select('id')
      .where('endedAt', 'is', null)
      .orderBy('requestedAt')
      .orderBy('id')
      .execute();
    return open.map(({ id }) => id);
  }

  async countOpen(): Promise<number> {
    const { rollouts } = await this.#connection.sql
      .selectFrom('Rollout')
      .select(({ fn }) => fn.countAll<number | bigint>().as('rollouts'))
      .where('endedAt', 'is', null)
      .executeTakeFirstOrThrow();
    return Number(rollouts);
  }

  async update(id: string, changes: Partial<Omit<RolloutModel, 'id' | 'plan'>>): Promise<void> {
    await this.#connection.sql.updateTable('Rollout').set(changes).where('id', '=', id).execute();
  }

  async waves(rolloutId: string): Promise<RolloutWaveRecord[]> {
    return this.#connection.sql.selectFrom('RolloutWave').selectAll().where('rolloutId', '=', rolloutId).orderBy('number').execute();
  }

  async updateWave(
    rolloutId: string,
    number: number,
    {
      measured,
      ...changes
    }: Partial<Omit<RolloutWaveModel, 'rolloutId' | 'number' | 'measured'>> & { readonly measured?: Prisma.InputJsonValue },
  ): Promise<void> {
    await this.#connection.sql
      .updateTable('RolloutWave')
      .set({ ...changes, ...(measured === undefined ? {} : { measured: Json.of(measured) }) })
      .where('rolloutId', '=', rolloutId)
      .where('number', '=', number)
      .execute();
  }

  /** How many devices of each wave are in each state. */
  async countDevices(rolloutId: string): Promise<DeviceCount[]> {
    const counts = await this.#connection.sql
      .selectFrom('RolloutDevice')
      .select(({ fn }) => [
        'wave',
        'state',
        fn.countAll<number | bigint>().as('devices'),
        fn.sum<number | bigint | null>('interrupted').as('interrupted'),
      ])
      .where('rolloutId', '=', rolloutId)
      .groupBy(['wave', 'state'])
      .execute();
    return counts.map(({ devices, interrupted, ...of }) => ({ ...of, devices: Number(devices), interrupted: Number(interrupted ?? 0) }));
  }

  /** The next devices of a wave that wait for their loads. */
  async waitingDevices(rolloutId: string, wave: number, limit: number): Promise<WaitingDevice[]> {
    return this.#connection.sql
      .selectFrom('RolloutDevice as waiting')
      .innerJoin('Device', 'Device.id', 'waiting.deviceId')
      .select(['waiting.deviceId', 'Device.hostId', 'waiting.version'])
      .where('waiting.rolloutId', '=', rolloutId)
      .where('waiting.wave', '=', wave)
      .where('waiting.state', '=', 'waiting')
      .orderBy('waiting.position')
      .limit(limit)
      .execute();
  }

  /** Loads of these devices have been requested. */
  async setLoading(rolloutId: string, loads: readonly { readonly id: string; readonly device: string }[]): Promise<void> {
    await this.#connection.executeForRows(
      setDeviceLoading,
      loads.map(({ id, device }) => ({ loadId: id, rolloutId, deviceId: device })),
    );
  }

  /** Loads have ended, and their devices have not got the version. */
  async settleFailed(endings: readonly EndedLoad[]): Promise<void> {
    await this.#connection.executeForRows(settleFailure, endings);
  }

  /** A load has ended, and its device has the version. */
  async settleLoaded({ loadId, ...ending }: EndedLoad, { baseline, ...arrival }: Installation): Promise<void> {
    await this.#connection.sql
      .updateTable('RolloutDevice')
      .set({ ...ending, ...arrival, state: 'loaded', baseline: Json.of(baseline) })
      .where('loadId', '=', loadId)
      .execute();
  }

  /** How often the load of a device was tried, of which this is the newest; 0 where it is not. */
  async countAttempts(loadId: string): Promise<number> {
    const device = await this.#connection.sql
      .selectFrom('RolloutDevice')
      .select('attempts')
      .where('loadId', '=', loadId)
      .executeTakeFirst();
    return device?.attempts ?? 0;
  }

  /** A device has got the version after its rollout was rolled back: that is not at its end yet. */
  async reopenRolledBack(loadId: string): Promise<void> {
    const { sql } = this.#connection;
    const devices = await sql.selectFrom('RolloutDevice').select('rolloutId').where('loadId', '=', loadId).execute();
    for (const { rolloutId } of devices)
      await sql
        .updateTable('Rollout')
        .set({ state: 'rolling-back', endedAt: null })
        .where('id', '=', rolloutId)
        .where('state', '=', 'rolled-back')
        .execute();
  }

  /** Devices have got no loads, and wait for none. */
  async setFailed(rolloutId: string, devices: readonly { readonly deviceId: string; readonly reason: string }[]): Promise<void> {
    await this.#connection.executeForRows(
      setDeviceFailed,
      devices.map((device) => ({ rolloutId, ...device })),
    );
  }

  /** Those that wait do so no more. Answers how many. */
  async skipWaiting(rolloutId: string, reason: string): Promise<number> {
    const { numUpdatedRows } = await this.#connection.sql
      .updateTable('RolloutDevice')
      .set({ state: 'skipped', reason })
      .where('rolloutId', '=', rolloutId)
      .where('state', '=', 'waiting')
      .executeTakeFirst();
    return Number(numUpdatedRows);
  }

  /** Devices whose loads failed wait again. Answers the waves that they are in, and how many there are. */
  async retryFailed(rolloutId: string, waves: readonly number[], attempts: number): Promise<Map<number, number>> {
    const retried = await readInChunks(waves, (some) =>
      this.#connection.sql
        .updateTable('RolloutDevice')
        .set({ state: 'waiting' })
        .where('rolloutId', '=', rolloutId)
        .where('state', '=', 'failed')
        .where('wave', 'in', some)
        .where('attempts', '<', attempts)
        .returning('wave')
        .execute(),
    );
    const counts = new Map<number, number>();
    for (const { wave } of retried) counts.set(wave, (counts.get(wave) ?? 0) + 1);
    return counts;
  }

  /** Loads of it that no host has been sent. */
  async queuedLoads(rolloutId: string): Promise<{ id: string; deviceId: string }[]> {
    const { sql } = this.#connection;
    const loading = await sql
      .selectFrom('RolloutDevice')
      .select('loadId')
      .where('rolloutId', '=', rolloutId)
      .where('state', '=', 'loading')
      .execute();
    return readInChunks(
      loading.flatMap(({ loadId }) => loadId ?? []),
      (some) => sql.selectFrom('Load').select(['id', 'deviceId']).where('id', 'in', some).where('state', '=', 'queued').execute(),
    );
  }

  /** Devices of it that have the version and are not among another rollout's devices, the first of them. */
  async loadedDevicesNotIn(rolloutId: string, otherId: string, limit: number): Promise<PatchedDevice[]> {
    return this.#connection.sql
      .selectFrom('RolloutDevice as loaded')
      .select(['loaded.deviceId', 'loaded.previousVersion'])
      .where('loaded.rolloutId', '=', rolloutId)
      .where('loaded.state', '=', 'loaded')
      .where(({ not, exists, selectFrom }) => {
        const other = selectFrom('RolloutDevice as other').select('other.deviceId').where('other.rolloutId', '=', otherId);
        return not(exists(other.whereRef('other.deviceId', '=', 'loaded.deviceId')));
      })
      .orderBy('loaded.position')
      .limit(limit)
      .execute();
  }

  /** Which of these devices it has. */
  async findMembers(rolloutId: string, deviceIds: readonly string[]): Promise<Set<string>> {
    const rows = await readInChunks(deviceIds, (some) =>
      this.#connection.sql
        .selectFrom('RolloutDevice')
        .select('deviceId')
        .where('rolloutId', '=', rolloutId)
        .where('deviceId', 'in', some)
        .execute(),
    );
    return new Set(rows.map(({ deviceId }) => deviceId));
  }

  async lastPosition(rolloutId: string): Promise<number> {
    const last = await this.#connection.sql
      .selectFrom('RolloutDevice')
      .select('position')
      .where('rolloutId', '=', rolloutId)
      .orderBy('position', 'desc')
      .limit(1)
      .executeTakeFirst();
    return last?.position ?? 0;
  }

  /** Devices of a wave that have the version: when each last reported. */
  async stateVersions(rolloutId: string, wave: number): Promise<(StateVersion & { deviceId: string })[]> {
    return this.#connection.sql
      .selectFrom('RolloutDevice as loaded')
      .innerJoin('Device', 'Device.id', 'loaded.deviceId')
      .select(['loaded.deviceId', 'Device.stateReportedAt', 'Device.stateSequence'])
      .where('loaded.rolloutId', '=', rolloutId)
      .where('loaded.wave', '=', wave)
      .where('loaded.state', '=', 'loaded')
      .execute();
  }

  /** What some of its devices can be measured by. */
  async measurableDevices(rolloutId: string, deviceIds: readonly string[]): Promise<MeasurableDevice[]> {
    return readInChunks(deviceIds, (some) =>
      this.#connection.sql
        .selectFrom('RolloutDevice as loaded')
        .leftJoin('Device', 'Device.id', 'loaded.deviceId')
        .select(['loaded.deviceId', 'loaded.baseline', 'Device.state', 'Device.stateReportedAt', 'Device.stateSequence'])
        .where('loaded.rolloutId', '=', rolloutId)
        .where('loaded.deviceId', 'in', some)
        .where('loaded.state', '=', 'loaded')
        .execute(),
    );
  }

  /** Keeps what was measured of devices when their wave was judged. */
  async setMeasured(
    rolloutId: string,
    devices: readonly { readonly deviceId: string; readonly measured: Prisma.InputJsonValue }[],
  ): Promise<void> {
    await this.#connection.executeForRows(
      setDeviceMeasured,
      devices.map(({ deviceId, measured }) => ({ rolloutId, deviceId, measured: Json.of(measured) })),
    );
  }

  /**
   * Open rollouts of the same module that have some of a rollout's devices, the oldest first.
   * @param which Those that have begun, or that were requested before it, or all. Identifiers sort by the time they were made, as far as the clock was
   * right: whatever it was, of two rollouts with the same devices only one begins.
   */
  async conflicts({ id, module }: Pick<RolloutModel, 'id' | 'module'>, which: 'earlier' | 'all'): Promise<Conflict[]> {
    const conflicts = await this.#connection.sql
      .selectFrom('Rollout as open')
      .innerJoin('RolloutDevice as other', 'other.rolloutId', 'open.id')
      .innerJoin('RolloutDevice as own', (join) => join.onRef('own.deviceId', '=', 'other.deviceId').on('own.rolloutId', '=', id))
      .select(({ fn }) => ['other.rolloutId', fn.countAll<number | bigint>().as('devices')])
      .where('open.endedAt', 'is', null)
      .where('open.module', '=', module)
      .where('open.id', '<>', id)
      .$if(which === 'earlier', (query) => query.where((open) => open.or([open('open.id', '<', id), open('open.state', '<>', 'pending')])))
      .groupBy('other.rolloutId')
      .orderBy('other.rolloutId')
      .execute();
    return conflicts.map(({ rolloutId, devices }) => ({ rolloutId, devices: Number(devices) }));
  }

  /**
   * Which of some devices open rollouts of the module have, by rollout; those that have none are not there.
   * @param rollout The one that is not looked at, by its identifier, and the module.
   */
  async findDevicesInOtherRollouts(
    { id, module }: { readonly id: string | null; readonly module: string },
    deviceIds: readonly string[],
  ): Promise<Map<string, Set<string>>> {
    const { sql } = this.#connection;
    const open = await sql.selectFrom('Rollout').select('id').where('endedAt', 'is', null).where('module', '=', module).execute();
    const taken = new Map<string, Set<string>>();
    for (const other of open.filter((rollout) => rollout.id !== id)) {
      const devices = await this.findMembers(other.id, deviceIds);
      if (devices.size > 0) taken.set(other.id, devices);
    }
    return taken;
  }
}
