// Rows of rollouts, their waves and their devices.

import type { Expression, ExpressionBuilder, SqlBool } from 'kysely';
import { formatLabelSelector, type LabelSelector } from '../../protocol/label-selector.ts';
import { readInChunks, splitIntoChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { RolloutDeviceModel, RolloutModel, RolloutWaveModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { deviceMatches } from '../database/label-conditions.ts';
import type { PageByTime, TimeRange } from '../database/page.ts';
import { timeExpressions } from '../database/page-expressions.ts';
import { RowStatement } from '../database/prepared-statements.ts';
import type { Tables } from '../database/tables.ts';

export type RolloutRecord = RolloutModel;
export type NewRollout = Omit<RolloutModel, 'plan' | 'reason' | 'endedAt' | 'nextLoadAt'> & { readonly plan: Prisma.InputJsonValue };
export type RolloutWaveRecord = RolloutWaveModel;
export type NewRolloutDevice = Pick<
  RolloutDeviceModel,
  'deviceId' | 'position' | 'wave' | 'version' | 'state' | 'reason' | 'previousVersion'
>;

/** The number of devices of a wave in a state, and the accesses that their loads interrupted. */
export type DeviceCount = { readonly wave: number; readonly state: string; readonly devices: number; readonly interrupted: number };

/** The outcome of a load. */
export type EndedLoad = { readonly loadId: string; readonly outcome: string; readonly reason: string | null };
/** What a device reported about its successful load. */
export type Installation = {
  /** Omitted if the stored value is right. */
  readonly previousVersion?: string | null;
  readonly interrupted: number;
  readonly loadedAt: Date;
  readonly baseline: Prisma.InputJsonValue;
};

/** Identifies the last stored state of a device. The sequence is null if the host sends none. */
export type StateVersion = { readonly stateReportedAt: Date | null; readonly stateSequence: bigint | null };

/** The baseline of a device and its last reported state. */
export type MeasurableDevice = StateVersion & { readonly deviceId: string; readonly baseline: unknown; readonly state: unknown };

/** A device that waits for its load. */
export type WaitingDevice = { readonly deviceId: string; readonly hostId: string; readonly version: string };

/** A device that loaded the version, and its version before. */
export type PatchedDevice = Pick<RolloutDeviceModel, 'deviceId' | 'previousVersion'>;

/** The module or the patch set of a rollout. */
export type RolloutSubject = Pick<RolloutModel, 'module' | 'patchSetId'>;

/** Another open rollout, and how many of the devices it has. */
export type Conflict = { readonly rolloutId: string; readonly devices: number };

export type RolloutFilter = TimeRange & { readonly module?: string | undefined; readonly state?: string | undefined };

/**
 * Selects the rollouts whose devices all match a scope, also those that can still join: a rollout without devices, or one that accepts more, was requested
 * with the same scope, or with a part of it. The devices of a rollback are those of the rollout that it rolls back.
 */
const inScope =
  (scope: LabelSelector) =>
  ({ and, eb, exists, fn, not, or, ref, selectFrom }: ExpressionBuilder<Tables, 'Rollout'>): Expression<SqlBool> => {
    const devices = selectFrom('RolloutDevice')
      .select('RolloutDevice.deviceId')
      .where('RolloutDevice.rolloutId', 'in', [ref('Rollout.id'), fn.coalesce('Rollout.rollbackOf', 'Rollout.id')]);
    // Without the offsets, PostgreSQL reads the devices of all rollouts, instead of those of one until the first outside.
    const outside = devices
      .where((device) => not(deviceMatches(device.ref('RolloutDevice.deviceId'), scope)))
      .limit(1)
      .offset(0);
    const isFixed = or([eb('Rollout.acceptsDevicesUntil', 'is', null), eb('Rollout.rollbackOf', 'is not', null)]);
    const canOnlyHave = or([eb('Rollout.scope', 'in', partsOf(scope)), and([isFixed, exists(devices.limit(1).offset(0))])]);
    return and([canOnlyHave, not(exists(outside))]);
  };

/** Returns a scope and its alternatives, as text. */
function partsOf(scope: LabelSelector): string[] {
  const alternatives = scope.flatMap((condition) => ('anyOf' in condition ? condition.anyOf : []));
  return [scope, ...(scope.length === 1 ? alternatives : [])].map(formatLabelSelector);
}

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

const setDeviceVersion = new RowStatement(
  { version: 'text', rolloutId: 'text', deviceId: 'text' },
  (sql, { version, rolloutId, deviceId }) =>
    sql
      .updateTable('RolloutDevice')
      .set({ version })
      .where('rolloutId', '=', rolloutId)
      .where('deviceId', '=', deviceId)
      .where('version', '<>', version),
);

const returnDeviceToWaiting = new RowStatement({ loadId: 'text' }, (sql, { loadId }) =>
  sql.updateTable('RolloutDevice').set({ state: 'waiting' }).where('loadId', '=', loadId).where('state', '=', 'loading'),
);

const settleFailure = new RowStatement({ outcome: 'text', reason: 'text?', loadId: 'text' }, (sql, { loadId, ...end }) =>
  sql
    .updateTable('RolloutDevice')
    .set({ ...end, state: 'failed' })
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

  /** Adds devices that are not in the rollout. */
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

  /** Returns whether the rollout exists and all its devices match a scope. */
  async isInScope(id: string, scope: LabelSelector): Promise<boolean> {
    const rollout = this.#connection.sql.selectFrom('Rollout').select('id').where('id', '=', id).where(inScope(scope));
    return (await rollout.executeTakeFirst()) !== undefined;
  }

  /** Returns the identifiers of a page of the rollouts whose devices all match a scope. */
  async listInScope(scope: LabelSelector, { module, state, ...range }: RolloutFilter, page: PageByTime): Promise<string[]> {
    const rollouts = this.#connection.sql
      .selectFrom('Rollout')
      .select('id')
      .$if(module !== undefined, (some) => some.where('module', '=', module ?? ''))
      .$if(state !== undefined, (some) => some.where('state', '=', state ?? ''))
      .where(({ and, ref }) => and(timeExpressions(range, page, { time: ref('Rollout.requestedAt'), key: ref('Rollout.id') })))
      .where(inScope(scope))
      .orderBy('requestedAt', page.order)
      .orderBy('id', page.order)
      .limit(page.limit);
    return (await rollouts.execute()).map(({ id }) => id);
  }

  /** Returns the rollout that rolls another one back. */
  async findRollbackOf(id: string): Promise<RolloutRecord | null> {
    const rollback = await this.#connection.sql.selectFrom('Rollout').selectAll().where('rollbackOf', '=', id).executeTakeFirst();
    return rollback ?? null;
  }

  /** Returns the rollouts that have not ended, oldest first. */
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

  /** Returns the number of devices in each state, per wave. */
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

  /** Returns the next waiting devices of a wave. */
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

  /** Sets devices to `loading` and counts the attempt. */
  async setLoading(rolloutId: string, loads: readonly { readonly id: string; readonly device: string }[]): Promise<void> {
    await this.#connection.executeForRows(
      setDeviceLoading,
      loads.map(({ id, device }) => ({ loadId: id, rolloutId, deviceId: device })),
    );
  }

  /** Records the versions that devices of a rollback load, if they differ from those chosen before. */
  async setVersions(rolloutId: string, loads: readonly { readonly device: string; readonly version: string }[]): Promise<void> {
    await this.#connection.executeForRows(
      setDeviceVersion,
      loads.map(({ device, version }) => ({ version, rolloutId, deviceId: device })),
    );
  }

  /** Makes devices wait for another load instead of these, which ended before they were sent. */
  async returnToWaiting(loadIds: readonly string[]): Promise<void> {
    await this.#connection.executeForRows(
      returnDeviceToWaiting,
      loadIds.map((loadId) => ({ loadId })),
    );
  }

  /** Returns the open rollouts that load a build, alone or in a patch set. Rollbacks of rollouts are left out: they load other builds. */
  async openOfBuild({
    id,
    module,
    version,
  }: {
    readonly id: string;
    readonly module: string;
    readonly version: string;
  }): Promise<RolloutRecord[]> {
    return this.#connection.sql
      .selectFrom('Rollout')
      .selectAll()
      .where('endedAt', 'is', null)
      .where('rollbackOf', 'is', null)
      .where(({ and, eb, or, selectFrom }) =>
        or([
          and([eb('patchSetId', 'is', null), eb('module', '=', module), eb('version', '=', version)]),
          eb('patchSetId', 'in', selectFrom('PatchSetMember').select('patchSetId').where('buildId', '=', id)),
        ]),
      )
      .execute();
  }

  /** Sets the devices of loads that ended without success to `failed`. */
  async settleFailed(loads: readonly EndedLoad[]): Promise<void> {
    await this.#connection.executeForRows(settleFailure, loads);
  }

  /** Sets the device of a load to `loaded`. */
  async settleLoaded({ loadId, ...end }: EndedLoad, { baseline, ...installation }: Installation): Promise<void> {
    await this.#connection.sql
      .updateTable('RolloutDevice')
      .set({ ...end, ...installation, state: 'loaded', baseline: Json.of(baseline) })
      .where('loadId', '=', loadId)
      .execute();
  }

  /** Returns the attempts of the device whose newest load this is; 0 if it is no device's newest load. */
  async countAttempts(loadId: string): Promise<number> {
    const device = await this.#connection.sql
      .selectFrom('RolloutDevice')
      .select('attempts')
      .where('loadId', '=', loadId)
      .executeTakeFirst();
    return device?.attempts ?? 0;
  }

  /** Reopens a finished rollback because a device loaded the version afterwards. */
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

  /** Sets devices for which no load can be created to `failed`. */
  async setFailed(rolloutId: string, devices: readonly { readonly deviceId: string; readonly reason: string }[]): Promise<void> {
    await this.#connection.executeForRows(
      setDeviceFailed,
      devices.map((device) => ({ rolloutId, ...device })),
    );
  }

  /** Skips the waiting devices and returns their number. */
  async skipWaiting(rolloutId: string, reason: string): Promise<number> {
    const { numUpdatedRows } = await this.#connection.sql
      .updateTable('RolloutDevice')
      .set({ state: 'skipped', reason })
      .where('rolloutId', '=', rolloutId)
      .where('state', '=', 'waiting')
      .executeTakeFirst();
    return Number(numUpdatedRows);
  }

  /** Skips devices in all open rollouts, unless they have loaded the build. */
  async skipInOpenRollouts(deviceIds: readonly string[], reason: string): Promise<void> {
    for (const chunk of splitIntoChunks(deviceIds))
      await this.#connection.sql
        .updateTable('RolloutDevice')
        .set({ state: 'skipped', reason })
        .where('deviceId', 'in', chunk)
        .where('state', 'in', ['waiting', 'loading', 'failed'])
        .where('rolloutId', 'in', (query) => query.selectFrom('Rollout').select('Rollout.id').where('endedAt', 'is', null))
        .execute();
  }

  /** Sets failed devices to `waiting` again, except decommissioned ones. Returns their number per wave. */
  async retryFailed(rolloutId: string, waves: readonly number[], attempts: number): Promise<Map<number, number>> {
    const retried = await readInChunks(waves, (some) =>
      this.#connection.sql
        .updateTable('RolloutDevice')
        .set({ state: 'waiting' })
        .where('rolloutId', '=', rolloutId)
        .where('state', '=', 'failed')
        .where('wave', 'in', some)
        .where('attempts', '<', attempts)
        .where('deviceId', 'not in', (query) => query.selectFrom('Device').select('Device.id').where('decommissionedAt', 'is not', null))
        .returning('wave')
        .execute(),
    );
    const counts = new Map<number, number>();
    for (const { wave } of retried) counts.set(wave, (counts.get(wave) ?? 0) + 1);
    return counts;
  }

  /** Returns the loads that were not yet sent to a host. */
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

  /** Returns the first loaded devices that are not in another rollout. */
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

  /** Returns which of these devices are in the rollout. */
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

  /** Returns the last stored state version of each loaded device of a wave. */
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

  /** Returns the baseline and last state of the loaded devices among these. */
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

  /** Stores the measurements with which a wave was evaluated. */
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
   * Returns open rollouts of the same modules that share devices with a rollout, oldest first.
   * @param which `earlier`: rollouts that have begun or were requested before. Identifiers sort by creation time. Even with a wrong clock, only one of
   * two rollouts with the same devices begins.
   */
  async conflicts(rollout: RolloutSubject & { readonly id: string }, which: 'earlier' | 'all'): Promise<Conflict[]> {
    const { id } = rollout;
    const others = (await this.#openWithModulesOf(rollout)).filter((open) => which === 'all' || open.id < id || open.state !== 'pending');
    return this.countSharedDevices(
      id,
      others.map((other) => other.id),
    );
  }

  /** Returns how many devices a rollout shares with others, sorted by rollout. Rollouts with none of its devices are omitted. */
  async countSharedDevices(id: string, others: readonly string[]): Promise<Conflict[]> {
    const shared = await readInChunks(others, (some) =>
      this.#connection.sql
        .selectFrom('RolloutDevice as other')
        // Keeps the planner from reading all devices of the rollout, of which others mostly have none.
        .crossJoin('RolloutDevice as own')
        .select(({ fn }) => ['other.rolloutId', fn.countAll<number | bigint>().as('devices')])
        .where('other.rolloutId', 'in', some)
        .where('own.rolloutId', '=', id)
        .whereRef('own.deviceId', '=', 'other.deviceId')
        .groupBy('other.rolloutId')
        .orderBy('other.rolloutId')
        .execute(),
    );
    return shared.map(({ rolloutId, devices }) => ({ rolloutId, devices: Number(devices) }));
  }

  /**
   * Returns, by rollout, which of these devices other open rollouts of the modules have. Rollouts with none of the devices are omitted.
   * @param rollout The rollout to leave out, and its module or patch set.
   */
  async findDevicesInOtherRollouts(
    rollout: RolloutSubject & { readonly id: string | null },
    deviceIds: readonly string[],
  ): Promise<Map<string, Set<string>>> {
    const shared = new Map<string, Set<string>>();
    for (const other of await this.#openWithModulesOf(rollout)) {
      const devices = await this.findMembers(other.id, deviceIds);
      if (devices.size > 0) shared.set(other.id, devices);
    }
    return shared;
  }

  /** Returns the other open rollouts that change a module of a rollout, sorted by identifier. */
  async #openWithModulesOf({ id, ...subject }: RolloutSubject & { readonly id: string | null }) {
    const modules = await this.#modulesOf(subject);
    const setsWith = this.#connection.sql.selectFrom('PatchSetMember').select('patchSetId').where('module', 'in', modules);
    const open = await this.#connection.sql
      .selectFrom('Rollout')
      .select(['id', 'state'])
      .where('endedAt', 'is', null)
      .where((is) => is.or([is.and([is('patchSetId', 'is', null), is('module', 'in', modules)]), is('patchSetId', 'in', setsWith)]))
      .orderBy('id')
      .execute();
    return open.filter((other) => other.id !== id);
  }

  /** Returns the modules that a rollout changes. */
  async #modulesOf({ module, patchSetId }: RolloutSubject): Promise<string[]> {
    if (patchSetId === null) return [module];
    const members = await this.#connection.sql.selectFrom('PatchSetMember').select('module').where('patchSetId', '=', patchSetId).execute();
    return members.map((member) => member.module);
  }
}
