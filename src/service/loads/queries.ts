// Lists and counts of loads, read outside transactions.

import type { LabelSelector } from '../../protocol/label-selector.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { LoadModel } from '../database/generated/models.ts';
import { deviceConditions } from '../database/label-conditions.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import { candidateDevices } from '../devices/queries.ts';
import type { LoadCompletion, openStates } from './repository.ts';

/** A load in a list. */
export type LoadSummary = LoadModel;
/** The number of loads without an outcome, by state. */
export type OpenLoads = Readonly<Record<(typeof openStates)[number], number>>;
/** The number of loads queued for a long time, and the oldest of them. */
export type WaitingLoads = { readonly count: number; readonly oldest: Pick<LoadModel, 'id' | 'requestedAt'> | null };

/** The number of loads with an outcome, and the accesses that they interrupted. */
export type LoadTotal = Pick<LoadCompletion, 'outcome' | 'interrupted' | 'failed'> & { readonly loads: number };

/** The condition of the partial indexes on open loads. */
const isOpen = { outcome: null };

export type LoadFilter = TimeRange & {
  /** Selects devices by their labels. */
  readonly selector?: LabelSelector | undefined;
  readonly batchId?: string | undefined;
  readonly deviceId?: string | undefined;
  readonly module?: string | undefined;
  readonly version?: string | undefined;
  readonly state?: string | undefined;
  readonly outcome?: string | undefined;
};

export class LoadQueries {
  readonly #client: QueryClient;
  readonly #readable: QueryClient;

  constructor({ client, readable }: Reader) {
    this.#client = client;
    this.#readable = readable;
  }

  async list(filter: LoadFilter, page: PageByTime): Promise<MarkedRows<LoadSummary>> {
    return restoreMarks(await this.#readable.load.findMany(await this.#pageQuery(filter, page)));
  }

  async #pageQuery({ selector = [], from, until, state, module, ...filter }: LoadFilter, page: PageByTime) {
    const requestedAt = (comparison: Comparison<Date>): Prisma.LoadWhereInput => ({ requestedAt: comparison });
    const ofDevice = deviceConditions(selector);
    const candidates = await candidateDevices(this.#client, { selector });
    const areOpen = state !== undefined && state !== 'completed';
    return {
      where: {
        AND: [
          equalTo({ ...filter, state }),
          ...(areOpen ? [isOpen] : []),
          // Open loads are few: the double negation keeps the planner on their index instead of the index on modules.
          ...(module === undefined ? [] : [areOpen ? { NOT: { module: { not: module } } } : { module }]),
          ...(candidates === null ? [] : [{ deviceId: { in: candidates } }]),
          ...(ofDevice.length === 0 ? [] : [{ device: { AND: ofDevice } }]),
          ...timeConditions({ from, until }, page, requestedAt, (id) => ({ id })),
        ],
      },
      orderBy: [{ requestedAt: page.order }, { id: page.order }],
      take: page.limit,
    } satisfies Prisma.LoadFindManyArgs;
  }

  /** Returns the loads that have waited for their hosts since before a time: the count, and the oldest. Held loads wait for maintenance windows instead. */
  async queuedBefore(moment: Date): Promise<WaitingLoads> {
    const notReleasedSince = { OR: [{ heldUntil: null }, { heldUntil: { lt: moment } }] };
    const where = { state: 'queued', ...isOpen, requestedAt: { lt: moment }, heldSince: null, ...notReleasedSince };
    const oldest = await this.#client.load.findFirst({
      where,
      orderBy: [{ requestedAt: 'asc' }, { id: 'asc' }],
      select: { id: true, requestedAt: true },
    });
    return { count: oldest === null ? 0 : await this.#client.load.count({ where }), oldest };
  }

  /** Counts queued and dispatched loads. */
  async countOpen(): Promise<OpenLoads> {
    const groups = await this.#client.load.groupBy({ by: ['state'], where: isOpen, _count: { _all: true } });
    const count = (state: keyof OpenLoads) => groups.find((group) => group.state === state)?._count._all ?? 0;
    return { queued: count('queued'), dispatched: count('dispatched') };
  }

  /** Returns the totals of completed loads, by outcome. */
  async totals(): Promise<LoadTotal[]> {
    const totals = await this.#client.loadTotal.findMany({ orderBy: { outcome: 'asc' } });
    return totals.map(({ outcome, loads, interrupted, failed }) => ({
      outcome,
      loads,
      interrupted: Number(interrupted),
      failed: Number(failed),
    }));
  }
}
