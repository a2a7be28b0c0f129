// Loads: one build on one device each.

import type { Prisma } from '../generated/client.ts';
import type { LoadModel } from '../generated/models.ts';
import { chunksOf, readInChunks } from './chunks.ts';
import { fewDevicesWith, hasLabels } from './devices.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from './page.ts';

export type LoadRecord = LoadModel;
/** A load without its report, as lists show it. */
export type LoadSummary = Omit<LoadModel, 'report'>;
export type NewLoad = Pick<
  LoadModel,
  | 'id'
  | 'drainMilliseconds'
  | 'versionPolicy'
  | 'downgradeReason'
  | 'similarityPolicy'
  | 'batchId'
  | 'deviceId'
  | 'buildId'
  | 'module'
  | 'version'
  | 'strategy'
  | 'invalidation'
  | 'state'
  | 'requestedAt'
  | 'deadlineAt'
>;
export type LoadCompletion = {
  readonly outcome: string;
  readonly reason: string | null;
  readonly interrupted: number;
  readonly retried: number;
  readonly failed: number;
  readonly completedAt: Date;
  readonly report: Prisma.InputJsonValue;
};
/** The end of a load that no device reports. */
export type LoadEnd = Pick<LoadCompletion, 'outcome' | 'reason' | 'completedAt'>;

export type LoadFilter = TimeRange & {
  /** Of its device. */
  readonly labels: Readonly<Record<string, string>>;
  readonly batchId?: string | undefined;
  readonly deviceId?: string | undefined;
  readonly module?: string | undefined;
  readonly version?: string | undefined;
  readonly state?: string | undefined;
  readonly outcome?: string | undefined;
};

export class LoadRecords {
  readonly #client: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient) {
    this.#client = client;
  }

  async create(loads: readonly NewLoad[]): Promise<void> {
    await this.#client.load.createMany({ data: [...loads] });
  }

  async find(id: string): Promise<LoadRecord | null> {
    return this.#client.load.findUnique({ where: { id } });
  }

  async list({ labels, from, until, ...filter }: LoadFilter, page: PageByTime): Promise<LoadSummary[]> {
    const requestedAt = (comparison: Comparison<Date>): Prisma.LoadWhereInput => ({ requestedAt: comparison });
    const ofDevice = hasLabels(labels);
    const few = await fewDevicesWith(this.#client, { labels });
    return this.#client.load.findMany({
      where: {
        AND: [
          equalTo(filter),
          // Said once more, for there is an index of modules and outcomes.
          ...(filter.state === undefined || filter.state === 'completed' ? [] : [{ outcome: null }]),
          ...(few === null ? [] : [{ deviceId: { in: few } }]),
          ...(ofDevice.length === 0 ? [] : [{ device: { AND: ofDevice } }]),
          ...timeConditions({ from, until }, page, requestedAt, (id) => ({ id })),
        ],
      },
      orderBy: [{ requestedAt: page.order }, { id: page.order }],
      take: page.limit,
      omit: { report: true },
    });
  }

  /** Ends a load as its device reports. Answers false where it has ended before: then nothing is changed. */
  async complete(id: string, completion: LoadCompletion): Promise<boolean> {
    const { count } = await this.#client.load.updateMany({
      where: { id, state: { not: 'completed' } },
      data: { state: 'completed', ...completion },
    });
    return count === 1;
  }

  /** Ends loads that have not ended. */
  async end(ids: readonly string[], { outcome, reason, completedAt }: LoadEnd): Promise<void> {
    for (const some of chunksOf(ids)) {
      await this.#client.load.updateMany({
        where: { id: { in: some }, state: { not: 'completed' } },
        data: { state: 'completed', outcome, reason, completedAt },
      });
    }
  }

  /** Loads are with their hosts, or (null) wait again. */
  async setDispatched(ids: readonly string[], dispatchedAt: Date | null): Promise<void> {
    const [from, to] = dispatchedAt === null ? ['dispatched', 'queued'] : ['queued', 'dispatched'];
    for (const some of chunksOf(ids))
      await this.#client.load.updateMany({ where: { id: { in: some }, state: from }, data: { state: to, dispatchedAt } });
  }

  /** Loads that have not ended though their deadline is over, the first of them. */
  async overdue(moment: Date, limit: number): Promise<LoadSummary[]> {
    return this.#client.load.findMany({
      where: { state: { in: ['queued', 'dispatched'] }, deadlineAt: { lte: moment } },
      orderBy: { deadlineAt: 'asc' },
      take: limit,
      omit: { report: true },
    });
  }

  /** Loads of a module that wait for these devices and were not dispatched. */
  async queuedFor(deviceIds: readonly string[], module: string): Promise<{ id: string; deviceId: string }[]> {
    return readInChunks(deviceIds, (some) =>
      this.#client.load.findMany({ where: { deviceId: { in: some }, state: 'queued', module }, select: { id: true, deviceId: true } }),
    );
  }

  /** Devices of these for which at least so many loads wait or are under way. */
  async devicesWithLoads(deviceIds: readonly string[], least: number): Promise<string[]> {
    const groups = await readInChunks(deviceIds, (some) =>
      this.#client.load.groupBy({
        by: ['deviceId'],
        where: { deviceId: { in: some }, state: { in: ['queued', 'dispatched'] } },
        _count: { _all: true },
      }),
    );
    return groups.filter(({ _count }) => _count._all >= least).map(({ deviceId }) => deviceId);
  }

  /** Loads by state and outcome, with the accesses that they interrupted. */
  async totals(): Promise<{ state: string; outcome: string | null; loads: number; interrupted: number; failed: number }[]> {
    const groups = await this.#client.load.groupBy({
      by: ['state', 'outcome'],
      _count: { _all: true },
      _sum: { interrupted: true, failed: true },
    });
    return groups.map(({ state, outcome, _count, _sum }) => ({
      state,
      outcome,
      loads: _count._all,
      interrupted: _sum.interrupted ?? 0,
      failed: _sum.failed ?? 0,
    }));
  }
}
