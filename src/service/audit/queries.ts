// Queries for lists of the audit trail, and for what is read of it outside transactions.

import type { Hash } from '../../proof/merkle-tree.ts';
import type { AuditHead, AuditRecord } from '../audit-events/repository.ts';
import type { Prisma } from '../database/generated/client.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import { UndecodableRow } from '../database/undecodable-row.ts';

export type AuditFilter = TimeRange & {
  readonly action?: string | undefined;
  readonly object?: string | undefined;
  readonly actor?: string | undefined;
  readonly outcome?: string | undefined;
  readonly requestId?: string | undefined;
};

export class AuditQueries {
  readonly #client: QueryClient;
  readonly #readable: QueryClient;

  constructor({ client, readable }: Reader) {
    this.#client = client;
    this.#readable = readable;
  }

  async list(filter: AuditFilter, page: PageByTime<number>): Promise<MarkedRows<AuditRecord>> {
    return restoreMarks(await this.#readable.auditEvent.findMany(this.#pageQuery(filter, page)));
  }

  #pageQuery({ from, until, ...filter }: AuditFilter, page: PageByTime<number>) {
    const at = (comparison: Comparison<Date>): Prisma.AuditEventWhereInput => ({ at: comparison });
    return {
      where: { AND: [equalTo(filter), ...timeConditions({ from, until }, page, at, (number) => ({ number }))] },
      orderBy: [{ at: page.order }, { number: page.order }],
      take: page.limit,
    } satisfies Prisma.AuditEventFindManyArgs;
  }

  /** Events after a number whose actions begin with one of these and a dot, in their order. */
  async listAfter(readAfter: number, types: readonly string[], limit: number): Promise<MarkedRows<AuditRecord>> {
    const events = await this.#readable.auditEvent.findMany({
      where: { number: { gt: readAfter }, OR: types.map((type) => ({ action: { startsWith: `${type}.` } })) },
      orderBy: { number: 'asc' },
      take: limit,
    });
    return restoreMarks(events);
  }

  /** Events after a number, in their order. */
  async after(number: number, limit: number): Promise<MarkedRows<AuditRecord>> {
    const where = { number: { gt: number } };
    return restoreMarks(await this.#readable.auditEvent.findMany({ where, orderBy: { number: 'asc' }, take: limit }));
  }

  /** The hashes of events after a number, in their order. */
  async hashesAfter(number: number, limit: number): Promise<Hash[]> {
    const where = { number: { gt: number } };
    const events = await this.#client.auditEvent.findMany({ where, orderBy: { number: 'asc' }, take: limit, select: { hash: true } });
    return events.map(({ hash }) => hash);
  }

  /**
   * The number of the last event that is not pruned and before the first that is not older than a time; that of the last pruned where there is none.
   * Times do not always rise with the numbers: an event that a wrong clock has dated too early does not take those before it along.
   * @param head Where the trail ended when it was read.
   */
  async findLastOlderThan({ number: newest, prunedThrough }: Pick<AuditHead, 'number' | 'prunedThrough'>, moment: Date): Promise<number> {
    // Negated, it is looked up in no index but that of the numbers: few events are older than those that are kept.
    const first = await this.#client.auditEvent.findFirst({
      where: { number: { gt: prunedThrough }, NOT: { at: { lt: moment } } },
      orderBy: { number: 'asc' },
      select: { number: true },
    });
    return first === null ? newest : first.number - 1;
  }
}

/** The number of an event, which is its key: it can be read where nothing else can. */
export function numberOf(event: AuditRecord | UndecodableRow): number {
  return event instanceof UndecodableRow ? Number(event.id) : event.number;
}
