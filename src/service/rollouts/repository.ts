// Rollouts: one build to many devices, with their waves and what has become of each device.

import { z } from 'zod';
import { readInChunks } from '../database/chunks.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { RolloutDeviceModel, RolloutModel, RolloutWaveModel } from '../database/generated/models.ts';
import { type Comparison, equalTo, type PageByNumber, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import { type MarkedRows, mapReadable, markedRows, withoutMarks } from '../database/readable-rows.ts';

export type RolloutRecord = RolloutModel;
export type NewRollout = Omit<RolloutModel, 'plan' | 'reason' | 'endedAt' | 'nextLoadAt'> & { readonly plan: Prisma.InputJsonValue };
/** A rollout that waits for an operator. */
export type StoppedRollout = Pick<RolloutModel, 'id' | 'module' | 'version' | 'reason'>;
export type RolloutWaveRecord = RolloutWaveModel;
/** A device of a rollout without what its programs had done, as lists show it. */
export type RolloutDeviceRecord = Omit<RolloutDeviceModel, 'baseline'>;
export type NewRolloutDevice = Pick<
  RolloutDeviceModel,
  'deviceId' | 'position' | 'wave' | 'version' | 'state' | 'reason' | 'previousVersion'
>;
export type RolloutFilter = TimeRange & { readonly module?: string | undefined; readonly state?: string | undefined };
export type RolloutDeviceFilter = { readonly rolloutId: string; readonly wave?: number | undefined; readonly state?: string | undefined };

/** How many devices of a wave are in a state, and the accesses that their loads have interrupted. */
export type DeviceCount = { readonly wave: number; readonly state: string; readonly devices: number; readonly interrupted: number };

/** What came of a device's load. */
export type LoadEnding = {
  readonly loadId: string;
  readonly state: 'loaded' | 'failed';
  readonly outcome: string;
  readonly reason: string | null;
};
/** What is known besides where the device has the new version. */
export type Arrival = {
  /** Left out where it is as it was thought to be. */
  readonly previousVersion?: string | null;
  readonly interrupted: number;
  readonly loadedAt: Date;
  readonly baseline: Prisma.InputJsonValue;
};

/** Which state of a device is the last that was kept. The sequence is null where the host of the device sends none. */
export type StateVersion = { readonly stateAt: Date | null; readonly stateSequence: bigint | null };

/** What a device's programs had done when it got the version, and what it last reported. */
export type Measurable = StateVersion & { readonly deviceId: string; readonly baseline: unknown; readonly state: unknown };

/** A device that waits for its load. */
export type WaitingDevice = { readonly deviceId: string; readonly hostId: string; readonly version: string };

/** A device that has got the version, and what it had before. */
export type PatchedDevice = Pick<RolloutDeviceModel, 'deviceId' | 'previousVersion'>;

/** A rollout that has so many of the devices. */
export type Conflict = { readonly rolloutId: string; readonly devices: number };

const WaitingRows = z.array(z.object({ deviceId: z.string(), hostId: z.string(), version: z.string() }));
const ConflictRows = z.array(z.object({ rolloutId: z.string(), devices: z.coerce.number() }));
const PatchedRows = z.array(z.object({ deviceId: z.string(), previousVersion: z.string().nullable() }));
const CountRows = z.array(
  z.object({ wave: z.coerce.number(), state: z.string(), devices: z.coerce.number(), interrupted: z.coerce.number() }),
);

export class RolloutRecords {
  readonly #client: Prisma.TransactionClient;
  /** Reads rows that do not depend on each other: those that cannot be decoded are left out. */
  readonly #readable: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient, readable: Prisma.TransactionClient) {
    this.#client = client;
    this.#readable = readable;
  }

  async create(rollout: NewRollout, waves: readonly Pick<RolloutWaveModel, 'number' | 'state' | 'startedAt'>[]): Promise<void> {
    await this.#client.rollout.create({ data: rollout });
    await this.#client.rolloutWave.createMany({ data: waves.map((wave) => ({ rolloutId: rollout.id, ...wave })) });
  }

  /** Adds devices that are not among its devices. */
  async addDevices(rolloutId: string, devices: readonly NewRolloutDevice[]): Promise<void> {
    await this.#client.rolloutDevice.createMany({ data: devices.map((device) => ({ rolloutId, ...device })) });
  }

  async find(id: string): Promise<RolloutRecord | null> {
    return this.#client.rollout.findFirst({ where: { id } });
  }

  /** The rollout that takes another's devices back. */
  async rollbackOf(id: string): Promise<RolloutRecord | null> {
    return this.#client.rollout.findFirst({ where: { rollbackOf: id } });
  }

  async list({ from, until, ...filter }: RolloutFilter, page: PageByTime): Promise<MarkedRows<RolloutRecord>> {
    const requestedAt = (comparison: Comparison<Date>): Prisma.RolloutWhereInput => ({ requestedAt: comparison });
    const rollouts = await this.#readable.rollout.findMany({
      where: { AND: [equalTo(filter), ...timeConditions({ from, until }, page, requestedAt, (id) => ({ id }))] },
      orderBy: [{ requestedAt: page.order }, { id: page.order }],
      take: page.limit,
    });
    return markedRows(rollouts);
  }

  /** Those that have not ended, the oldest first. */
  async openIds(): Promise<string[]> {
    const open = await this.#client.rollout.findMany({
      where: { endedAt: null },
      orderBy: [{ requestedAt: 'asc' }, { id: 'asc' }],
      select: { id: true },
    });
    return open.map(({ id }) => id);
  }

  /** Those that have been paused because a wave failed, the oldest first. */
  async stoppedByFailure(limit: number): Promise<StoppedRollout[]> {
    const paused = await this.#client.rollout.findMany({
      where: { state: 'paused' },
      orderBy: [{ requestedAt: 'asc' }, { id: 'asc' }],
      select: { id: true, module: true, version: true, reason: true },
    });
    const waves = await readInChunks(
      paused.map(({ id }) => id),
      (some) => this.#client.rolloutWave.findMany({ where: { rolloutId: { in: some }, state: 'failed' }, select: { rolloutId: true } }),
    );
    const failed = new Set(waves.map(({ rolloutId }) => rolloutId));
    return paused.filter(({ id }) => failed.has(id)).slice(0, limit);
  }

  /** How many of those that have not ended are in each state. */
  async countOpenByState(): Promise<Map<string, number>> {
    const groups = await this.#client.rollout.groupBy({ by: ['state'], where: { endedAt: null }, _count: { _all: true } });
    return new Map(groups.map(({ state, _count }) => [state, _count._all]));
  }

  async countOpen(): Promise<number> {
    return this.#client.rollout.count({ where: { endedAt: null } });
  }

  async change(id: string, data: Partial<Omit<RolloutModel, 'id' | 'plan'>>): Promise<void> {
    await this.#client.rollout.update({ where: { id }, data });
  }

  async waves(rolloutIds: readonly string[]): Promise<RolloutWaveRecord[]> {
    return readInChunks(rolloutIds, (some) =>
      this.#client.rolloutWave.findMany({ where: { rolloutId: { in: some } }, orderBy: [{ rolloutId: 'asc' }, { number: 'asc' }] }),
    );
  }

  async changeWave(
    rolloutId: string,
    number: number,
    {
      measured,
      ...data
    }: Partial<Omit<RolloutWaveModel, 'rolloutId' | 'number' | 'measured'>> & { readonly measured?: Prisma.InputJsonValue },
  ): Promise<void> {
    await this.#client.rolloutWave.updateMany({
      where: { rolloutId, number },
      data: { ...data, ...(measured === undefined ? {} : { measured }) },
    });
  }

  /** How many devices of each wave are in each state. */
  async counts(rolloutId: string): Promise<DeviceCount[]> {
    return CountRows.parse(
      await this.#client.$queryRaw`
        SELECT wave, state, COUNT(*) AS devices, COALESCE(SUM(interrupted), 0) AS interrupted
        FROM "RolloutDevice" WHERE "rolloutId" = ${rolloutId} GROUP BY wave, state`,
    );
  }

  async devices(
    { rolloutId, ...filter }: RolloutDeviceFilter,
    page: PageByNumber,
  ): Promise<MarkedRows<RolloutDeviceRecord & { name: string }>> {
    const beyond = page.after === null ? {} : { position: page.order === 'asc' ? { gt: page.after.number } : { lt: page.after.number } };
    const found = await this.#readable.rolloutDevice.findMany({
      where: { rolloutId, ...equalTo(filter), ...beyond },
      orderBy: { position: page.order },
      take: page.limit,
      omit: { baseline: true },
    });
    const devices = markedRows(found);
    const names = await this.#namesOf(withoutMarks(devices).map(({ deviceId }) => deviceId));
    return mapReadable(devices, (device) => ({ ...device, name: names.get(device.deviceId) ?? '' }));
  }

  async #namesOf(deviceIds: readonly string[]): Promise<Map<string, string>> {
    const rows = await readInChunks(deviceIds, (some) =>
      this.#client.device.findMany({ where: { id: { in: some } }, select: { id: true, name: true } }),
    );
    return new Map(rows.map(({ id, name }) => [id, name]));
  }

  /** The next devices of a wave that wait for their loads. */
  async waiting(rolloutId: string, wave: number, limit: number): Promise<WaitingDevice[]> {
    return WaitingRows.parse(
      await this.#client.$queryRaw`
        SELECT waiting."deviceId", "Device"."hostId", waiting.version
        FROM "RolloutDevice" AS waiting JOIN "Device" ON "Device".id = waiting."deviceId"
        WHERE waiting."rolloutId" = ${rolloutId} AND waiting.wave = ${wave} AND waiting.state = 'waiting'
        ORDER BY waiting.position LIMIT ${limit}`,
    );
  }

  /** Loads of these devices have been requested. */
  async setLoading(rolloutId: string, loads: readonly { readonly id: string; readonly device: string }[]): Promise<void> {
    for (const { id, device } of loads)
      await this.#client.rolloutDevice.updateMany({
        where: { rolloutId, deviceId: device },
        data: { state: 'loading', loadId: id, attempts: { increment: 1 }, outcome: null, reason: null },
      });
  }

  /** A device's load has ended. */
  async settle({ loadId, ...ending }: LoadEnding, arrival: Arrival | null): Promise<void> {
    await this.#client.rolloutDevice.updateMany({ where: { loadId }, data: { ...ending, ...arrival } });
  }

  /** How often the load of a device was tried, of which this is the newest; 0 where it is not. */
  async attemptsOf(loadId: string): Promise<number> {
    const device = await this.#client.rolloutDevice.findFirst({ where: { loadId }, select: { attempts: true } });
    return device?.attempts ?? 0;
  }

  /** A device has got the version after its rollout was rolled back: that is not at its end yet. */
  async reopenRolledBack(loadId: string): Promise<void> {
    const devices = await this.#client.rolloutDevice.findMany({ where: { loadId }, select: { rolloutId: true } });
    await this.#client.rollout.updateMany({
      where: { id: { in: devices.map(({ rolloutId }) => rolloutId) }, state: 'rolled-back' },
      data: { state: 'rolling-back', endedAt: null },
    });
  }

  /** A device has got no load, and waits for none. */
  async setFailed(rolloutId: string, deviceId: string, reason: string): Promise<void> {
    await this.#client.rolloutDevice.updateMany({ where: { rolloutId, deviceId }, data: { state: 'failed', reason } });
  }

  /** Those that wait do so no more. Answers how many. */
  async skipWaiting(rolloutId: string, reason: string): Promise<number> {
    const { count } = await this.#client.rolloutDevice.updateMany({
      where: { rolloutId, state: 'waiting' },
      data: { state: 'skipped', reason },
    });
    return count;
  }

  /** Devices whose loads failed wait again. Answers the waves that they are in, and how many there are. */
  async retryFailed(rolloutId: string, waves: readonly number[], attempts: number): Promise<Map<number, number>> {
    const retried = await this.#client.rolloutDevice.updateManyAndReturn({
      where: { rolloutId, state: 'failed', wave: { in: [...waves] }, attempts: { lt: attempts } },
      data: { state: 'waiting' },
      select: { wave: true },
    });
    const counts = new Map<number, number>();
    for (const { wave } of retried) counts.set(wave, (counts.get(wave) ?? 0) + 1);
    return counts;
  }

  /** Loads of it that no host has been sent. */
  async queuedLoads(rolloutId: string): Promise<{ id: string; deviceId: string }[]> {
    const loading = await this.#client.rolloutDevice.findMany({ where: { rolloutId, state: 'loading' }, select: { loadId: true } });
    return readInChunks(
      loading.flatMap(({ loadId }) => loadId ?? []),
      (some) => this.#client.load.findMany({ where: { id: { in: some }, state: 'queued' }, select: { id: true, deviceId: true } }),
    );
  }

  /** Devices of it that have the version and are not among another rollout's devices, the first of them. */
  async loadedNotIn(rolloutId: string, otherId: string, limit: number): Promise<PatchedDevice[]> {
    const rows = await this.#client.$queryRaw`
      SELECT loaded."deviceId", loaded."previousVersion" FROM "RolloutDevice" AS loaded
      WHERE loaded."rolloutId" = ${rolloutId} AND loaded.state = 'loaded'
        AND NOT EXISTS (SELECT 1 FROM "RolloutDevice" AS other WHERE other."rolloutId" = ${otherId} AND other."deviceId" = loaded."deviceId")
      ORDER BY loaded.position LIMIT ${limit}`;
    return PatchedRows.parse(rows);
  }

  /** Which of these devices it has. */
  async among(rolloutId: string, deviceIds: readonly string[]): Promise<Set<string>> {
    const rows = await readInChunks(deviceIds, (some) =>
      this.#client.rolloutDevice.findMany({ where: { rolloutId, deviceId: { in: some } }, select: { deviceId: true } }),
    );
    return new Set(rows.map(({ deviceId }) => deviceId));
  }

  async lastPosition(rolloutId: string): Promise<number> {
    const last = await this.#client.rolloutDevice.findFirst({
      where: { rolloutId },
      orderBy: { position: 'desc' },
      select: { position: true },
    });
    return last?.position ?? 0;
  }

  /** Devices of a wave that have the version: when each last reported. */
  async reportedOf(rolloutId: string, wave: number): Promise<(StateVersion & { deviceId: string })[]> {
    const loaded = await this.#client.rolloutDevice.findMany({
      where: { rolloutId, wave, state: 'loaded' },
      select: { deviceId: true },
    });
    const rows = await readInChunks(
      loaded.map(({ deviceId }) => deviceId),
      (some) => this.#client.device.findMany({ where: { id: { in: some } }, select: { id: true, stateAt: true, stateSequence: true } }),
    );
    return rows.map(({ id, ...version }) => ({ deviceId: id, ...version }));
  }

  /** What some of its devices can be measured by. */
  async measurables(rolloutId: string, deviceIds: readonly string[]): Promise<Measurable[]> {
    return readInChunks(deviceIds, async (some) => {
      const baselines = await this.#client.rolloutDevice.findMany({
        where: { rolloutId, deviceId: { in: some }, state: 'loaded' },
        select: { deviceId: true, baseline: true },
      });
      const states = await this.#client.device.findMany({
        where: { id: { in: some } },
        select: { id: true, state: true, stateAt: true, stateSequence: true },
      });
      const stateOf = new Map(states.map((state) => [state.id, state]));
      return baselines.map(({ deviceId, baseline }) => {
        const reported = stateOf.get(deviceId);
        const { state = null, stateAt = null, stateSequence = null } = reported ?? {};
        return { deviceId, baseline, state, stateAt, stateSequence };
      });
    });
  }

  /** Keeps what was measured of devices when their wave was judged. */
  async setMeasured(
    rolloutId: string,
    measured: readonly { readonly deviceId: string; readonly measured: Prisma.InputJsonValue }[],
  ): Promise<void> {
    for (const { deviceId, ...data } of measured) await this.#client.rolloutDevice.updateMany({ where: { rolloutId, deviceId }, data });
  }

  /**
   * Open rollouts of the same module that have some of a rollout's devices, the oldest first.
   * @param which Those that have begun, or that were requested before it, or all. Identifiers sort by the time they were made, as far as the clock was
   * right: whatever it was, of two rollouts with the same devices only one begins.
   */
  async conflicts({ id, module }: Pick<RolloutModel, 'id' | 'module'>, which: 'earlier' | 'all'): Promise<Conflict[]> {
    const rows = await this.#client.$queryRaw`
      SELECT other."rolloutId", COUNT(*) AS devices
      FROM "Rollout" AS open
      JOIN "RolloutDevice" AS other ON other."rolloutId" = open.id
      JOIN "RolloutDevice" AS own ON own."rolloutId" = ${id} AND own."deviceId" = other."deviceId"
      WHERE open."endedAt" IS NULL AND open.module = ${module} AND open.id <> ${id} AND (${which} = 'all' OR open.id < ${id} OR open.state <> 'pending')
      GROUP BY other."rolloutId" ORDER BY other."rolloutId"`;
    return ConflictRows.parse(rows);
  }

  /**
   * Which of some devices open rollouts of the module have, by rollout; those that have none are not there.
   * @param rollout The one that is not looked at, by its identifier, and the module.
   */
  async takenByOthers(
    { id, module }: { readonly id: string | null; readonly module: string },
    deviceIds: readonly string[],
  ): Promise<Map<string, Set<string>>> {
    const where = { endedAt: null, module, ...(id === null ? {} : { id: { not: id } }) };
    const taken = new Map<string, Set<string>>();
    for (const other of await this.#client.rollout.findMany({ where, select: { id: true } })) {
      const devices = await this.among(other.id, deviceIds);
      if (devices.size > 0) taken.set(other.id, devices);
    }
    return taken;
  }
}
