// Queries of the audit trail, outside transactions.

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

  /** Returns the events of these types after a number, in order. */
  async listAfter(readAfter: number, types: readonly string[], limit: number): Promise<MarkedRows<AuditRecord>> {
    const events = await this.#readable.auditEvent.findMany({
      where: { number: { gt: readAfter }, OR: types.map((type) => ({ action: { startsWith: `${type}.` } })) },
      orderBy: { number: 'asc' },
      take: limit,
    });
    return restoreMarks(events);
  }

  /** Returns the events after a number, in order. */
  async after(number: number, limit: number): Promise<MarkedRows<AuditRecord>> {
    const where = { number: { gt: number } };
    return restoreMarks(await this.#readable.auditEvent.findMany({ where, orderBy: { number: 'asc' }, take: limit }));
  }

  /** Returns the hashes of the events after a number, in order. */
  async hashesAfter(number: number, limit: number): Promise<Hash[]> {
    const where = { number: { gt: number } };
    const events = await this.#client.auditEvent.findMany({ where, orderBy: { number: 'asc' }, take: limit, select: { hash: true } });
    return events.map(({ hash }) => hash);
  }

  /**
   * Returns the number up to which all events are older than a time; the number of the last pruned event if none is. Times do not always rise with the
   * numbers: an event dated too early by a wrong clock does not make newer events before it count as old.
   * @param head The head of the trail.
   */
  async findLastOlderThan({ number: newest, prunedThrough }: Pick<AuditHead, 'number' | 'prunedThrough'>, moment: Date): Promise<number> {
    // The negation keeps the planner on the index of numbers: few events are older than the retained ones.
    const first = await this.#client.auditEvent.findFirst({
      where: { number: { gt: prunedThrough }, NOT: { at: { lt: moment } } },
      orderBy: { number: 'asc' },
      select: { number: true },
    });
    return first === null ? newest : first.number - 1;
  }
}

/** Returns the number of an event. The number is the key and can be read even if the row cannot. */
export function numberOf(event: AuditRecord | UndecodableRow): number {
  return event instanceof UndecodableRow ? Number(event.id) : event.number;
}
