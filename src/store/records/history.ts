// The module history of devices: every stay of a version in a device's memory.

import type { Prisma } from '../generated/client.ts';
import type { HistoryEntryModel } from '../generated/models.ts';
import { chunksOf } from './chunks.ts';
import { type Comparison, type PageByTime, type TimeRange, timeConditions } from './page.ts';

export type HistoryRecord = HistoryEntryModel;
export type NewHistoryEntry = Pick<
  HistoryEntryModel,
  'deviceId' | 'module' | 'version' | 'imageDigest' | 'loadId' | 'address' | 'pages' | 'enteredAt'
>;
export type HistoryFilter = TimeRange & { readonly deviceId: string; readonly module: string };
export type Leaving = { readonly leftAt: Date; readonly leftBy: string; readonly interrupted: number };

export class HistoryRecords {
  readonly #client: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient) {
    this.#client = client;
  }

  async enter(entries: readonly NewHistoryEntry[]): Promise<void> {
    await this.#client.historyEntry.createMany({ data: [...entries] });
  }

  /** Ends the stays that have not ended, of one module of a device or of all modules of several. */
  async leave(of: { readonly deviceIds: readonly string[]; readonly module?: string }, leaving: Leaving): Promise<void> {
    for (const ids of chunksOf(of.deviceIds)) {
      await this.#client.historyEntry.updateMany({
        where: { deviceId: { in: ids }, leftAt: null, ...(of.module === undefined ? {} : { module: of.module }) },
        data: leaving,
      });
    }
  }

  async list({ from, until, ...filter }: HistoryFilter, page: PageByTime<number>): Promise<HistoryRecord[]> {
    const enteredAt = (comparison: Comparison<Date>): Prisma.HistoryEntryWhereInput => ({ enteredAt: comparison });
    return this.#client.historyEntry.findMany({
      where: { AND: [filter, ...timeConditions({ from, until }, page, enteredAt, (number) => ({ number }))] },
      orderBy: [{ enteredAt: page.order }, { number: page.order }],
      take: page.limit,
    });
  }
}
