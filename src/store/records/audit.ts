// The audit trail: who did what to which object, when.

import type { Prisma } from '../generated/client.ts';
import type { AuditEventModel } from '../generated/models.ts';
import type { Committed } from './committed.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from './page.ts';

export type AuditRecord = AuditEventModel;
export type NewAuditEvent = Omit<AuditEventModel, 'number' | 'detail'> & { readonly detail: Prisma.InputJsonObject };
export type AuditFilter = TimeRange & {
  readonly action?: string | undefined;
  readonly object?: string | undefined;
  readonly actor?: string | undefined;
  readonly requestId?: string | undefined;
};

export class AuditRecords {
  readonly #client: Prisma.TransactionClient;
  readonly #committed: Committed;

  constructor(client: Prisma.TransactionClient, committed: Committed) {
    this.#client = client;
    this.#committed = committed;
  }

  /** Adds events. None is of an earlier time than those there are: what waited for its transaction comes when it is done, and so no reader misses it. */
  async append(events: readonly NewAuditEvent[]): Promise<void> {
    const last = await this.#client.auditEvent.findFirst({ select: { at: true }, orderBy: { number: 'desc' } });
    const data = events.map((event) => (last !== null && event.at < last.at ? { ...event, at: last.at } : event));
    await this.#client.auditEvent.createMany({ data });
    for (const event of data) this.#committed.events.push(event);
  }

  async list({ from, until, ...filter }: AuditFilter, page: PageByTime<number>): Promise<AuditRecord[]> {
    const at = (comparison: Comparison<Date>): Prisma.AuditEventWhereInput => ({ at: comparison });
    return this.#client.auditEvent.findMany({
      where: { AND: [equalTo(filter), ...timeConditions({ from, until }, page, at, (number) => ({ number }))] },
      orderBy: [{ at: page.order }, { number: page.order }],
      take: page.limit,
    });
  }

  /** Events after a number whose actions begin with one of these and a dot, in their order. */
  async listAfter(after: number, types: readonly string[], limit: number): Promise<AuditRecord[]> {
    return this.#client.auditEvent.findMany({
      where: { number: { gt: after }, OR: types.map((type) => ({ action: { startsWith: `${type}.` } })) },
      orderBy: { number: 'asc' },
      take: limit,
    });
  }

  /** The highest number that there is, 0 where there is none. */
  async newest(): Promise<number> {
    const event = await this.#client.auditEvent.findFirst({ select: { number: true }, orderBy: { number: 'desc' } });
    return event?.number ?? 0;
  }
}
