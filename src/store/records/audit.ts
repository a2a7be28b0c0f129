// The audit trail: who did what to which object, when.

import { type AuditOutcome, hashOfEvent, wellFormed } from '../../proof/audit-event.ts';
import type { Json, JsonObject } from '../../proof/canonical-json.ts';
import { type Hash, hashText } from '../../proof/merkle-tree.ts';
import type { Prisma } from '../generated/client.ts';
import type { AuditEventModel, AuditHeadModel } from '../generated/models.ts';
import { readInChunks } from './chunks.ts';
import type { Committed } from './committed.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from './page.ts';

export type AuditRecord = AuditEventModel;
export type NewAuditEvent = Omit<AuditEventModel, 'number' | 'previous' | 'hash' | 'outcome' | 'detail'> & {
  readonly outcome: AuditOutcome;
  readonly detail: JsonObject;
};
/** Where the trail ends, and up to where it has been pruned. */
export type AuditHead = Omit<AuditHeadModel, 'id'>;
export type AuditFilter = TimeRange & {
  readonly action?: string | undefined;
  readonly object?: string | undefined;
  readonly actor?: string | undefined;
  readonly outcome?: string | undefined;
  readonly requestId?: string | undefined;
};

export class AuditRecords {
  readonly #client: Prisma.TransactionClient;
  readonly #committed: Committed;

  constructor(client: Prisma.TransactionClient, committed: Committed) {
    this.#client = client;
    this.#committed = committed;
  }

  /**
   * Adds events to the chain. None is of an earlier time than those there are: what waited for its transaction comes when it is done, and so no
   * reader misses it.
   */
  async append(events: readonly NewAuditEvent[]): Promise<void> {
    if (events.length === 0) return;
    let { number, hash, at } = await this.head();
    const rows = events.map((event) => {
      number += 1;
      if (event.at > at) at = event.at;
      const row = chained({ ...event, detail: wellFormed(event.detail), at, number }, hash);
      hash = row.hash;
      return row;
    });
    await this.#client.auditEvent.createMany({ data: rows });
    await this.#client.auditHead.update({ where: { id: 1 }, data: { number, hash, at } });
    for (const event of events) this.#committed.events.push(event);
  }

  /** Where the trail ends. */
  async head(): Promise<AuditHead> {
    const head = await this.#client.auditHead.findFirst();
    if (head === null) throw new Error('the row that says where the audit trail ends is gone: restore the database from a backup');
    return head;
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

  /** Events of an action on these objects. */
  async of(action: string, objects: readonly string[]): Promise<AuditRecord[]> {
    return readInChunks(objects, (some) => this.#client.auditEvent.findMany({ where: { action, object: { in: some } } }));
  }

  /** The highest number that there is, 0 where there is none. */
  async newest(): Promise<number> {
    return (await this.head()).number;
  }
}

type UnchainedEvent = Omit<AuditEventModel, 'previous' | 'hash' | 'detail'> & { readonly detail: Json };

/** The event as the link of the chain after the one of that hash; none is before the first. */
export function chained<Event extends UnchainedEvent>(event: Event, previous: Hash): Event & { previous: Hash; hash: Hash } {
  const { number, at, actor, action, object, outcome, requestId, detail } = event;
  const told = { number, at: at.toISOString(), actor, action, object, outcome, request: requestId || null, detail };
  return { ...event, previous, hash: hashOfEvent({ ...told, previous: previous.length === 0 ? null : hashText(previous) }) };
}
