// Queries for lists and figures of loads, outside transactions.

import type { Prisma } from '../database/generated/client.ts';
import type { LoadModel } from '../database/generated/models.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import { candidateDevices, labelConditions } from '../devices/queries.ts';
import type { LoadCompletion, openStates } from './repository.ts';

/** A load as lists show it. */
export type LoadSummary = LoadModel;
/** Loads without an outcome, by their states. */
export type OpenLoads = Readonly<Record<(typeof openStates)[number], number>>;
/** Loads that have waited for long. */
export type WaitingLoads = { readonly count: number; readonly oldest: Pick<LoadModel, 'id' | 'requestedAt'> | null };

/** Loads that have ended in an outcome, and the accesses that they interrupted. */
export type LoadTotal = Pick<LoadCompletion, 'outcome' | 'interrupted' | 'failed'> & { readonly loads: number };

/** As the indexes of open loads have it, by which few are looked through and not all that there ever were. */
const isOpen = { outcome: null };

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

  async #pageQuery({ labels, from, until, state, module, ...filter }: LoadFilter, page: PageByTime) {
    const requestedAt = (comparison: Comparison<Date>): Prisma.LoadWhereInput => ({ requestedAt: comparison });
    const ofDevice = labelConditions(labels);
    const few = await candidateDevices(this.#client, { labels });
    const areOpen = state !== undefined && state !== 'completed';
    return {
      where: {
        AND: [
          equalTo({ ...filter, state }),
          ...(areOpen ? [isOpen] : []),
          // The few that are open are looked through, not all that there ever were of a module: negated twice, that is in no index.
          ...(module === undefined ? [] : [areOpen ? { NOT: { module: { not: module } } } : { module }]),
          ...(few === null ? [] : [{ deviceId: { in: few } }]),
          ...(ofDevice.length === 0 ? [] : [{ device: { AND: ofDevice } }]),
          ...timeConditions({ from, until }, page, requestedAt, (id) => ({ id })),
        ],
      },
      orderBy: [{ requestedAt: page.order }, { id: page.order }],
      take: page.limit,
    } satisfies Prisma.LoadFindManyArgs;
  }

  /** Loads that wait for their hosts since before that moment: how many, and the first of them. */
  async queuedBefore(moment: Date): Promise<WaitingLoads> {
    const where = { state: 'queued', ...isOpen, requestedAt: { lt: moment } };
    const oldest = await this.#client.load.findFirst({
      where,
      orderBy: [{ requestedAt: 'asc' }, { id: 'asc' }],
      select: { id: true, requestedAt: true },
    });
    return { count: oldest === null ? 0 : await this.#client.load.count({ where }), oldest };
  }

  /** How many loads wait for their hosts, and how many are with them. */
  async countOpen(): Promise<OpenLoads> {
    const groups = await this.#client.load.groupBy({ by: ['state'], where: isOpen, _count: { _all: true } });
    const count = (state: keyof OpenLoads) => groups.find((group) => group.state === state)?._count._all ?? 0;
    return { queued: count('queued'), dispatched: count('dispatched') };
  }

  /** What the loads that have ended came to, by their outcomes. */
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
