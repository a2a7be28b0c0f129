// The audit trail: who did what to which object, when.

import { wellFormed } from '../../proof/audit-event.ts';
import type { Hash } from '../../proof/merkle-tree.ts';
import { hashOfRecord } from '../database/audit-chain.ts';
import { readInChunks } from '../database/chunks.ts';
import type { Committed, NewAuditEvent } from '../database/committed.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { AuditEventModel, AuditHeadModel } from '../database/generated/models.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import { type MarkedRows, markedRows } from '../database/readable-rows.ts';
import { change, insertion, Query, type Statements } from '../database/statements.ts';
import { UnreadableRow } from '../database/unreadable.ts';

/** How much earlier an event may be than the one before because it waited for its transaction, in milliseconds. */
const longestWait = 60_000;

export type AuditRecord = AuditEventModel;
/** Where the trail ends, and up to where it has been pruned. */
export type AuditHead = Omit<AuditHeadModel, 'id'>;
export type AuditFilter = TimeRange & {
  readonly action?: string | undefined;
  readonly object?: string | undefined;
  readonly actor?: string | undefined;
  readonly outcome?: string | undefined;
  readonly requestId?: string | undefined;
};

const insertEvent = insertion('AuditEvent', {
  number: 'integer',
  at: 'time',
  actor: 'text',
  action: 'text',
  object: 'text',
  outcome: 'text',
  requestId: 'text',
  detail: 'json',
  previous: 'bytes',
  hash: 'bytes',
});

const moveHead = change(
  'AuditHead',
  { number: 'integer', hash: 'bytes', at: 'time' },
  `"number" = :number, "hash" = :hash, "at" = :at`,
  `"id" = 1`,
);

const readHead = new Query<Omit<AuditHead, 'at'> & { readonly at: number }>(
  {},
  `SELECT "number", "hash", "at", "prunedThrough" FROM "AuditHead" WHERE "id" = 1`,
);

export class AuditRecords {
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

  /**
   * Adds events to the chain. None is a little earlier than those there are: what waited for its transaction comes when it is done, and so no
   * reader misses it. One that is much earlier says that the clock was ahead, and is set right.
   */
  async append(events: readonly NewAuditEvent[]): Promise<void> {
    if (events.length === 0) return;
    let { number, hash, at } = await this.head();
    const rows = events.map((event) => {
      number += 1;
      if (event.at > at || at.getTime() - event.at.getTime() > longestWait) at = event.at;
      const unhashed = { ...event, detail: wellFormed(event.detail), at, number, previous: hash };
      hash = hashOfRecord(unhashed);
      return { ...unhashed, hash };
    });
    const inserted = this.#statements.each(
      insertEvent,
      rows.map((row) => [
        row.number,
        row.at.getTime(),
        row.actor,
        row.action,
        row.object,
        row.outcome,
        row.requestId,
        JSON.stringify(row.detail),
        row.previous,
        row.hash,
      ]),
    );
    await Promise.all([inserted, this.#statements.each(moveHead, [[number, hash, at.getTime()]])]);
    for (const event of events) this.#committed.events.push(event);
  }

  /** Where the trail ends. */
  async head(): Promise<AuditHead> {
    const [head] = await this.#statements.all(readHead, []);
    if (head === undefined) throw new Error('the row that says where the audit trail ends is gone: restore the database from a backup');
    return { ...head, hash: new Uint8Array(head.hash), at: new Date(head.at) };
  }

  async list(filter: AuditFilter, page: PageByTime<number>): Promise<MarkedRows<AuditRecord>> {
    return markedRows(await this.#readable.auditEvent.findMany(this.#pageQuery(filter, page)));
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
  async listAfter(after: number, types: readonly string[], limit: number): Promise<MarkedRows<AuditRecord>> {
    const events = await this.#readable.auditEvent.findMany({
      where: { number: { gt: after }, OR: types.map((type) => ({ action: { startsWith: `${type}.` } })) },
      orderBy: { number: 'asc' },
      take: limit,
    });
    return markedRows(events);
  }

  /** Events after a number, in their order. */
  async after(number: number, limit: number): Promise<MarkedRows<AuditRecord>> {
    const where = { number: { gt: number } };
    return markedRows(await this.#readable.auditEvent.findMany({ where, orderBy: { number: 'asc' }, take: limit }));
  }

  /** The hashes of events after a number, in their order. */
  async hashesAfter(number: number, limit: number): Promise<Hash[]> {
    const where = { number: { gt: number } };
    const events = await this.#client.auditEvent.findMany({ where, orderBy: { number: 'asc' }, take: limit, select: { hash: true } });
    return events.map(({ hash }) => hash);
  }

  /**
   * The number of the last event after a number and before the first that is not older than a time; that number where there is none. Times do not always rise with the numbers: an
   * event that a wrong clock has dated too early does not take those before it along.
   */
  async lastOld(after: number, moment: Date): Promise<number> {
    // Negated, it is looked up in no index but that of the numbers: few events are older than those that are kept.
    const first = await this.#client.auditEvent.findFirst({
      where: { number: { gt: after }, NOT: { at: { lt: moment } } },
      orderBy: { number: 'asc' },
      select: { number: true },
    });
    return first === null ? await this.newest() : first.number - 1;
  }

  /** Removes the events up to a number. */
  async prune(prunedThrough: number): Promise<void> {
    await this.#client.auditEvent.deleteMany({ where: { number: { lte: prunedThrough } } });
    await this.#client.auditHead.update({ where: { id: 1 }, data: { prunedThrough } });
  }

  /** Events of an action on these objects. */
  async of(action: string, objects: readonly string[]): Promise<AuditRecord[]> {
    return readInChunks(objects, (some) => this.#readable.auditEvent.findMany({ where: { action, object: { in: some } } }));
  }

  /** The highest number that there is, 0 where there is none. */
  async newest(): Promise<number> {
    return (await this.head()).number;
  }
}

/** The number of an event, which is its key: it can be read where nothing else can. */
export function numberOf(event: AuditRecord | UnreadableRow): number {
  return event instanceof UnreadableRow ? Number(event.id) : event.number;
}
