// Loads: one build on one device each.

import type { LoadReport } from '../../protocol/load-report.ts';
import type { Prisma } from '../generated/client.ts';
import type { LoadModel } from '../generated/models.ts';
import { chunksOf, readInChunks } from './chunks.ts';
import type { Committed } from './committed.ts';
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
  | 'requestedBy'
  | 'rollback'
  | 'rolloutId'
  | 'deadlineAt'
>;
export type LoadCompletion = {
  readonly outcome: string;
  readonly reason: string | null;
  readonly interrupted: number;
  readonly retried: number;
  readonly failed: number;
  readonly completedAt: Date;
  readonly report: LoadReport;
};
/** The end of a load that no device reports. */
export type LoadEnd = Pick<LoadCompletion, 'outcome' | 'reason' | 'completedAt'>;

/** Loads that have waited for long. */
export type WaitingLoads = { readonly count: number; readonly oldest: Pick<LoadModel, 'id' | 'requestedAt'> | null };

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
  readonly #committed: Committed;

  constructor(client: Prisma.TransactionClient, committed: Committed) {
    this.#client = client;
    this.#committed = committed;
  }

  async create(loads: readonly NewLoad[]): Promise<void> {
    await this.#client.load.createMany({ data: [...loads] });
  }

  async find(id: string): Promise<LoadRecord | null> {
    return this.#client.load.findUnique({ where: { id } });
  }

  /** When a load was requested, and by whom. */
  async requestOf(id: string): Promise<Pick<LoadModel, 'requestedAt' | 'requestedBy'> | null> {
    return this.#client.load.findFirst({ where: { id }, select: { requestedAt: true, requestedBy: true } });
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

  /** Ends a load as its device reports; one that has ended before stays as it is. Answers which of both, and the rollout that it is of. */
  async complete(id: string, completion: LoadCompletion): Promise<{ readonly hadNotEnded: boolean; readonly rolloutId: string | null }> {
    const [ended] = await this.#client.load.updateManyAndReturn({
      where: { id, state: { not: 'completed' } },
      data: { state: 'completed', ...completion },
      select: { requestedAt: true, rolloutId: true },
    });
    const { outcome, completedAt, report } = completion;
    this.#committed.reports.push(report);
    if (ended === undefined) {
      const late = await this.#client.load.findFirst({ where: { id }, select: { rolloutId: true } });
      return { hadNotEnded: false, rolloutId: late?.rolloutId ?? null };
    }
    const { requestedAt, rolloutId } = ended;
    this.#committed.loads.push({ outcome, completedAt, requestedAt });
    return { hadNotEnded: true, rolloutId };
  }

  /** Ends loads that have not ended. Answers those that are of rollouts. */
  async end(ids: readonly string[], { outcome, reason, completedAt }: LoadEnd): Promise<string[]> {
    const ofRollouts: string[] = [];
    for (const some of chunksOf(ids)) {
      const ended = await this.#client.load.updateManyAndReturn({
        where: { id: { in: some }, state: { not: 'completed' } },
        data: { state: 'completed', outcome, reason, completedAt },
        select: { id: true, requestedAt: true, rolloutId: true },
      });
      for (const { id, requestedAt, rolloutId } of ended) {
        this.#committed.loads.push({ outcome, completedAt, requestedAt });
        if (rolloutId !== null) ofRollouts.push(id);
      }
    }
    return ofRollouts;
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

  /** Loads that wait for their hosts since before that moment: how many, and the first of them. */
  async queuedBefore(moment: Date): Promise<WaitingLoads> {
    const where = { state: 'queued', requestedAt: { lt: moment } };
    const oldest = await this.#client.load.findFirst({ where, orderBy: { id: 'asc' }, select: { id: true, requestedAt: true } });
    return { count: oldest === null ? 0 : await this.#client.load.count({ where }), oldest };
  }

  async countInState(state: string): Promise<number> {
    return this.#client.load.count({ where: { state } });
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
