// Queries for lists and metrics of rollouts, outside transactions.

import { readInChunks } from '../database/chunks.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { RolloutDeviceModel, RolloutModel } from '../database/generated/models.ts';
import { type Comparison, equalTo, type PageByNumber, type PageByTime, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, mapReadable, restoreMarks, withoutMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import type { RolloutFilter, RolloutRecord } from './repository.ts';

/** A rollout paused by a failed wave. */
export type StoppedRollout = Pick<RolloutModel, 'id' | 'module' | 'version' | 'reason'>;
/** A device of a rollout without its baseline. */
export type RolloutDeviceRecord = Omit<RolloutDeviceModel, 'baseline'>;
export type RolloutDeviceFilter = { readonly rolloutId: string; readonly wave?: number | undefined; readonly state?: string | undefined };

export class RolloutQueries {
  readonly #client: QueryClient;
  readonly #readable: QueryClient;

  constructor({ client, readable }: Reader) {
    this.#client = client;
    this.#readable = readable;
  }

  /** @param ids Only these rollouts; null: all. */
  async list(
    { from, until, ...filter }: RolloutFilter,
    page: PageByTime,
    ids: readonly string[] | null = null,
  ): Promise<MarkedRows<RolloutRecord>> {
    const requestedAt = (comparison: Comparison<Date>): Prisma.RolloutWhereInput => ({ requestedAt: comparison });
    const rollouts = await this.#readable.rollout.findMany({
      where: {
        AND: [
          equalTo(filter),
          ...(ids === null ? [] : [{ id: { in: [...ids] } }]),
          ...timeConditions({ from, until }, page, requestedAt, (id) => ({ id })),
        ],
      },
      orderBy: [{ requestedAt: page.order }, { id: page.order }],
      take: page.limit,
    });
    return restoreMarks(rollouts);
  }

  /** Returns the rollouts paused by a failed wave, oldest first. */
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

  /** Returns the number of open rollouts in each state. */
  async countOpenByState(): Promise<Map<string, number>> {
    const groups = await this.#client.rollout.groupBy({ by: ['state'], where: { endedAt: null }, _count: { _all: true } });
    return new Map(groups.map(({ state, _count }) => [state, _count._all]));
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
    const devices = restoreMarks(found);
    const names = await this.#namesOf(withoutMarks(devices).map(({ deviceId }) => deviceId));
    return mapReadable(devices, (device) => ({ ...device, name: names.get(device.deviceId) ?? '' }));
  }

  async #namesOf(deviceIds: readonly string[]): Promise<Map<string, string>> {
    const rows = await readInChunks(deviceIds, (some) =>
      this.#client.device.findMany({ where: { id: { in: some } }, select: { id: true, name: true } }),
    );
    return new Map(rows.map(({ id, name }) => [id, name]));
  }
}
