// Loads: one build on one device each.

import type { Prisma } from '../generated/client.ts';
import type { LoadModel } from '../generated/models.ts';
import type { Page } from './page.ts';

export type LoadRecord = LoadModel;
/** A load without its report, as lists show it. */
export type LoadSummary = Omit<LoadModel, 'report'>;
export type NewLoad = Pick<
  LoadModel,
  'id' | 'batchId' | 'deviceId' | 'buildId' | 'module' | 'version' | 'strategy' | 'invalidation' | 'state' | 'requestedAt'
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

export type LoadFilter = {
  readonly batchId?: string | undefined;
  readonly deviceId?: string | undefined;
  readonly module?: string | undefined;
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

  async list(filter: LoadFilter, page: Page<string>): Promise<LoadSummary[]> {
    return this.#client.load.findMany({
      where: { ...definedOf(filter), ...(page.after === null ? {} : { id: { lt: page.after } }) },
      orderBy: { id: 'desc' },
      take: page.limit,
      omit: { report: true },
    });
  }

  async complete(id: string, completion: LoadCompletion): Promise<void> {
    await this.#client.load.update({ where: { id }, data: { state: 'completed', ...completion } });
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

function definedOf(filter: LoadFilter): Prisma.LoadWhereInput {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}
