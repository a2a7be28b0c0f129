// Loads: one build on one device each.

import type { LoadReport } from '../../protocol/load-report.ts';
import { chunksOf, readInChunks } from '../database/chunks.ts';
import type { Committed } from '../database/committed.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { LoadModel } from '../database/generated/models.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import { type MarkedRows, markedRows } from '../database/readable-rows.ts';
import { change, insertion, Query, type Statements, valuesOf } from '../database/statements.ts';
import { checkDates } from '../database/unreadable.ts';
import { fewDevicesWith, hasLabels } from '../devices/repository.ts';
import { keptReport, reportAsKept } from './kept-report.ts';

/** A load as lists show it. */
export type LoadSummary = LoadModel;
/** A load with what its device has reported; null where no device has. */
export type LoadRecord = LoadModel & { readonly report: Prisma.JsonValue };
/** The columns that a load has from its request on. */
const newLoadColumns = {
  id: 'text',
  batchId: 'text',
  deviceId: 'text',
  buildId: 'text',
  module: 'text',
  version: 'text',
  strategy: 'text',
  invalidation: 'text',
  drainMilliseconds: 'integer',
  versionPolicy: 'text',
  downgradeReason: 'text',
  similarityPolicy: 'text',
  state: 'text',
  requestedAt: 'time',
  requestedBy: 'text',
  rollback: 'truth',
  rolloutId: 'text',
  deadlineAt: 'time',
} as const;
export type NewLoad = Pick<LoadModel, keyof typeof newLoadColumns>;
export type LoadCompletion = Pick<LoadModel, 'id' | 'requestedAt'> & {
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

/** A load that has ended without its device, for which rollout it was, and when its host was sent it, if it was. */
export type EndedLoad = Pick<LoadModel, 'id' | 'rolloutId' | 'dispatchedAt'>;

/** Who asked for a load, when, and for which rollout. */
export type LoadRequest = Pick<LoadModel, 'id' | 'requestedAt' | 'requestedBy' | 'rolloutId'>;

/** What a load came to, as it is counted. */
type Ended = Pick<LoadCompletion, 'outcome' | 'completedAt' | 'requestedAt' | 'interrupted' | 'failed'>;
/** Loads that have ended in an outcome, and the accesses that they interrupted. */
export type LoadTotal = Pick<LoadCompletion, 'outcome' | 'interrupted' | 'failed'> & { readonly loads: number };

/** When a load was requested, and until when it may take. */
export type LoadTimes = Pick<LoadModel, 'id' | 'requestedAt' | 'deadlineAt'>;

const openStates = ['queued', 'dispatched'] as const;
export const loadStates = [...openStates, 'completed'] as const;

/** Loads without an outcome, by their states. */
export type OpenLoads = Readonly<Record<(typeof openStates)[number], number>>;
/** As the indexes of open loads have it, by which few are looked through and not all that there ever were. */
export const isOpen = { outcome: null };

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

const insertLoad = insertion('Load', newLoadColumns);

const completeLoad = change(
  'Load',
  { outcome: 'text', reason: 'text', interrupted: 'integer', retried: 'integer', failed: 'integer', completedAt: 'time', id: 'text' },
  `"state" = 'completed', "outcome" = :outcome, "reason" = :reason, "interrupted" = :interrupted, "retried" = :retried, "failed" = :failed,
    "completedAt" = :completedAt`,
  `"id" = :id AND "state" <> 'completed'`,
);

const insertReport = insertion('LoadReport', { loadId: 'text', body: 'json' });

const countEnded = insertion(
  'LoadTotal',
  { outcome: 'text', loads: 'integer', interrupted: 'integer', failed: 'integer' },
  `ON CONFLICT ("outcome") DO UPDATE SET "loads" = "LoadTotal"."loads" + excluded."loads",
    "interrupted" = "LoadTotal"."interrupted" + excluded."interrupted", "failed" = "LoadTotal"."failed" + excluded."failed"`,
);

const moveLoad = change(
  'Load',
  { to: 'text', dispatchedAt: 'time', id: 'text', from: 'text' },
  `"state" = :to, "dispatchedAt" = :dispatchedAt`,
  `"id" = :id AND "state" = :from`,
);

const moveRequest = change(
  'Load',
  { requestedAt: 'time', deadlineAt: 'time', id: 'text' },
  `"requestedAt" = :requestedAt, "deadlineAt" = :deadlineAt`,
  `"id" = :id AND "outcome" IS NULL`,
);

const requestsOfLoads = new Query<Omit<LoadRequest, 'requestedAt'> & { readonly requestedAt: number }>(
  { ids: 'list' },
  `SELECT "id", "requestedAt", "requestedBy", "rolloutId" FROM "Load" WHERE "id" IN :ids`,
);

const openLoadsByDevice = new Query<{ readonly deviceId: string; readonly loads: number }>(
  { ids: 'list' },
  `SELECT "deviceId", COUNT(*) AS "loads" FROM "Load" WHERE "deviceId" IN :ids AND "outcome" IS NULL GROUP BY "deviceId"`,
);

export class LoadRecords {
  readonly #client: Prisma.TransactionClient;
  /** Reads rows that do not depend on each other: those that cannot be decoded are left out. */
  readonly #readable: Prisma.TransactionClient;
  readonly #statements: Statements;
  readonly #committed: Committed;

  constructor(client: Prisma.TransactionClient, readable: Prisma.TransactionClient, statements: Statements, committed: Committed) {
    this.#client = client;
    this.#readable = readable;
    this.#statements = statements;
    this.#committed = committed;
  }

  async create(loads: readonly NewLoad[]): Promise<void> {
    await this.#statements.each(
      insertLoad,
      loads.map((load) => valuesOf(newLoadColumns, load)),
    );
  }

  async find(id: string): Promise<LoadRecord | null> {
    const load = await this.#client.load.findUnique({ where: { id }, include: { report: true } });
    return load && { ...load, report: load.report && reportAsKept(load.report.body) };
  }

  /** The requests of loads, by their identifiers. @throws {UndecodableCell} where the time of one cannot be decoded. */
  async requestsOf(ids: readonly string[]): Promise<Map<string, LoadRequest>> {
    const rows = await this.#statements.all(requestsOfLoads, [JSON.stringify(ids)]);
    return new Map(rows.map((row) => [row.id, checkDates({ ...row, requestedAt: new Date(row.requestedAt) })]));
  }

  async list(filter: LoadFilter, page: PageByTime): Promise<MarkedRows<LoadSummary>> {
    return markedRows(await this.#readable.load.findMany(await this.#pageQuery(filter, page)));
  }

  async #pageQuery({ labels, from, until, state, module, ...filter }: LoadFilter, page: PageByTime) {
    const requestedAt = (comparison: Comparison<Date>): Prisma.LoadWhereInput => ({ requestedAt: comparison });
    const ofDevice = hasLabels(labels);
    const few = await fewDevicesWith(this.#client, { labels });
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

  /** Ends loads as their devices report; those that have ended before stay as they are. Answers which had not. */
  async complete(completions: readonly LoadCompletion[]): Promise<Set<string>> {
    const changes = await this.#statements.each(
      completeLoad,
      completions.map(({ id, outcome, reason, interrupted, retried, failed, completedAt }) => {
        return [outcome, reason, interrupted, retried, failed, completedAt.getTime(), id];
      }),
    );
    const ended = completions.filter((_, index) => changes[index] === 1);
    await this.#statements.each(
      insertReport,
      ended.map(({ id, report }) => [id, keptReport(report)]),
    );
    for (const { report } of completions) this.#committed.reports.push(report);
    await this.#count(ended);
    return new Set(ended.map(({ id }) => id));
  }

  /** Ends loads that have not ended. Answers which those were. */
  async end(ids: readonly string[], { outcome, reason, completedAt }: LoadEnd): Promise<EndedLoad[]> {
    const all: EndedLoad[] = [];
    for (const some of chunksOf(ids)) {
      // Read before they are changed, so that a row that cannot be decoded stays as it is and keeps no other from ending.
      const ended = await this.#readable.load.findMany({
        where: { id: { in: some }, ...isOpen },
        select: { id: true, requestedAt: true, rolloutId: true, dispatchedAt: true },
      });
      await this.#client.load.updateMany({
        where: { id: { in: ended.map(({ id }) => id) }, ...isOpen },
        data: { state: 'completed', outcome, reason, completedAt },
      });
      await this.#count(ended.map(({ requestedAt }) => ({ outcome, completedAt, requestedAt, interrupted: 0, failed: 0 })));
      all.push(...ended);
    }
    return all;
  }

  /** Counts loads among those that have ended. */
  async #count(ended: readonly Ended[]): Promise<void> {
    const totals = new Map<string, { loads: number; interrupted: number; failed: number }>();
    for (const { outcome, completedAt, requestedAt, interrupted, failed } of ended) {
      this.#committed.loads.push({ outcome, completedAt, requestedAt });
      const total = totals.get(outcome) ?? { loads: 0, interrupted: 0, failed: 0 };
      totals.set(outcome, { loads: total.loads + 1, interrupted: total.interrupted + interrupted, failed: total.failed + failed });
    }
    await this.#statements.each(
      countEnded,
      [...totals].map(([outcome, { loads, interrupted, failed }]) => [outcome, loads, interrupted, failed]),
    );
  }

  /** Loads are with their hosts, or (null) wait again. */
  async setDispatched(ids: readonly string[], dispatchedAt: Date | null): Promise<void> {
    const [from, to] = dispatchedAt === null ? ['dispatched', 'queued'] : ['queued', 'dispatched'];
    const at = dispatchedAt?.getTime() ?? null;
    await this.#statements.each(
      moveLoad,
      ids.map((id) => [to, at, id, from]),
    );
  }

  /** Loads that have not ended though their deadline is over, the first of them. */
  async overdue(moment: Date, limit: number): Promise<Pick<LoadModel, 'id' | 'deviceId'>[]> {
    return this.#client.load.findMany({
      where: { ...isOpen, deadlineAt: { lte: moment } },
      orderBy: { deadlineAt: 'asc' },
      take: limit,
      select: { id: true, deviceId: true },
    });
  }

  /** Loads that have not ended though they were requested after a time, the last of them. */
  async requestedAfter(moment: Date, limit: number): Promise<MarkedRows<LoadTimes>> {
    const loads = await this.#readable.load.findMany({
      where: { ...isOpen, requestedAt: { gt: moment } },
      orderBy: [{ requestedAt: 'desc' }, { id: 'desc' }],
      take: limit,
      select: { id: true, requestedAt: true, deadlineAt: true },
    });
    return markedRows(loads);
  }

  /** Has loads be requested at a time, with as long until their deadlines as they had. */
  async moveRequests(loads: readonly LoadTimes[], requestedAt: Date): Promise<void> {
    await this.#statements.each(
      moveRequest,
      loads.map(({ id, requestedAt: before, deadlineAt }) => {
        const deadline = deadlineAt === null ? null : deadlineAt.getTime() - before.getTime() + requestedAt.getTime();
        return [requestedAt.getTime(), deadline, id];
      }),
    );
  }

  /** Loads of a module that wait for these devices and were not dispatched. */
  async queuedFor(deviceIds: readonly string[], module: string): Promise<{ id: string; deviceId: string }[]> {
    return readInChunks(deviceIds, (some) =>
      this.#client.load.findMany({
        where: { deviceId: { in: some }, state: 'queued', module, ...isOpen },
        select: { id: true, deviceId: true },
      }),
    );
  }

  /** How many loads wait for devices or are under way there, by their identifiers; a device without any is not there. */
  async openOn(deviceIds: readonly string[]): Promise<Map<string, number>> {
    if (deviceIds.length === 0) return new Map();
    const rows = await this.#statements.all(openLoadsByDevice, [JSON.stringify(deviceIds)]);
    return new Map(rows.map(({ deviceId, loads }) => [deviceId, loads]));
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
