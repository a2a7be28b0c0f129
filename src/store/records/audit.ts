// The audit trail: who did what to which object, when.

import { type AuditOutcome, hashOfEvent, type KeptEvent, toldEvent, wellFormed } from '../../proof/audit-event.ts';
import type { JsonObject } from '../../proof/canonical-json.ts';
import type { Hash } from '../../proof/merkle-tree.ts';
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
      const unhashed = { ...event, detail: wellFormed(event.detail), at, number, previous: hash };
      hash = hashOfRecord(unhashed);
      return { ...unhashed, hash };
    });
    await this.#insert(rows);
    await this.#client.auditHead.update({ where: { id: 1 }, data: { number, hash, at } });
    for (const event of events) this.#committed.events.push(event);
  }

  /** One statement for all of them: there is one for nearly everything that is done, and Prisma takes four times as long for so many rows. */
  async #insert(
    rows: readonly (NewAuditEvent & { readonly number: number; readonly previous: Hash; readonly hash: Hash })[],
  ): Promise<void> {
    const hex = (hash: Hash) => Buffer.from(hash).toString('hex');
    const events = rows.map(({ number, at, actor, action, object, outcome, requestId, detail, previous, hash }) => {
      return [number, at.getTime(), actor, action, object, outcome, requestId, JSON.stringify(detail), hex(previous), hex(hash)];
    });
    await this.#client.$executeRaw`
      INSERT INTO "AuditEvent" ("number", "at", "actor", "action", "object", "outcome", "requestId", "detail", "previous", "hash")
      SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
        unhex(value ->> 8), unhex(value ->> 9)
      FROM json_each(${JSON.stringify(events)})`;
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

  /** Events after a number, in their order. */
  async after(number: number, limit: number): Promise<AuditRecord[]> {
    return this.#client.auditEvent.findMany({ where: { number: { gt: number } }, orderBy: { number: 'asc' }, take: limit });
  }

  /** The hashes of events after a number, in their order. */
  async hashesAfter(number: number, limit: number): Promise<Hash[]> {
    const where = { number: { gt: number } };
    const events = await this.#client.auditEvent.findMany({ where, orderBy: { number: 'asc' }, take: limit, select: { hash: true } });
    return events.map(({ hash }) => hash);
  }

  /** The number of the last event of before a time; 0 where there is none. */
  async lastBefore(moment: Date): Promise<number> {
    const last = await this.#client.auditEvent.findFirst({
      where: { at: { lt: moment } },
      orderBy: [{ at: 'desc' }, { number: 'desc' }],
      select: { number: true },
    });
    return last?.number ?? 0;
  }

  /** Removes the events up to a number. */
  async prune(prunedThrough: number): Promise<void> {
    await this.#client.auditEvent.deleteMany({ where: { number: { lte: prunedThrough } } });
    await this.#client.auditHead.update({ where: { id: 1 }, data: { prunedThrough } });
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

/** The hash of an event as it is kept: of all that it says, and of the hash before it, where there is one. */
export function hashOfRecord(event: KeptEvent): Hash {
  return hashOfEvent(toldEvent(event));
}
