// The audit trail: who did what to which object, when.

import { toWellFormedJson } from '../../proof/audit-event.ts';
import { hashStoredEvent } from '../database/audit-chain.ts';
import { readInChunks } from '../database/chunks.ts';
import type { NewAuditEvent } from '../database/commit-effects.ts';
import type { Connection } from '../database/connection.ts';
import type { AuditEventModel, AuditHeadModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';
import { withoutMarks } from '../database/readable-rows.ts';

/** How much earlier an event may be than the one before because it waited for its transaction, in milliseconds. */
const reorderTolerance = 60_000;

export type AuditRecord = AuditEventModel;
/** Where the trail ends, and up to where it has been pruned. */
export type AuditHead = Omit<AuditHeadModel, 'id'>;

/** How lists call an event. */
const eventRow = { kind: 'audit event', table: 'AuditEvent', key: ['number'] } as const;

/** The one row of the head. */
const headId = 1;

const insertEvent = new RowStatement(
  {
    number: 'integer',
    at: 'time',
    actor: 'text',
    action: 'text',
    object: 'text',
    outcome: 'text',
    requestId: 'text?',
    detail: 'json',
    previous: 'bytes',
    hash: 'bytes',
  },
  (sql, event) => sql.insertInto('AuditEvent').values(event),
);

const moveHead = new RowStatement({ number: 'integer', hash: 'bytes', at: 'time' }, (sql, head) =>
  sql.updateTable('AuditHead').set(head).where('id', '=', headId),
);

const readHead = new PreparedQuery({}, (sql) =>
  sql.selectFrom('AuditHead').select(['number', 'hash', 'at', 'prunedThrough']).where('id', '=', headId),
);

export class AuditRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
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
      if (event.at > at || at.getTime() - event.at.getTime() > reorderTolerance) at = event.at;
      const unhashed = { ...event, detail: toWellFormedJson(event.detail), at, number, previous: hash };
      hash = hashStoredEvent(unhashed);
      return { ...unhashed, detail: Json.of(unhashed.detail), hash };
    });
    await Promise.all([
      this.#connection.executeForRows(insertEvent, rows),
      this.#connection.executeForRows(moveHead, [{ number, hash, at }]),
    ]);
    for (const event of events) this.#connection.commitEffects.events.push(event);
  }

  /** Where the trail ends. */
  async head(): Promise<AuditHead> {
    const [head] = await this.#connection.query(readHead, {});
    if (head === undefined) throw new Error('the row that says where the audit trail ends is gone: restore the database from a backup');
    return head;
  }

  /** Removes the events up to a number. */
  async prune(prunedThrough: number): Promise<void> {
    const { sql } = this.#connection;
    await sql.deleteFrom('AuditEvent').where('number', '<=', prunedThrough).execute();
    await sql.updateTable('AuditHead').set({ prunedThrough }).where('id', '=', headId).execute();
  }

  /** Events of an action on these objects. */
  async findByAction(action: string, objects: readonly string[]): Promise<AuditRecord[]> {
    return readInChunks(objects, async (some) => {
      const query = this.#connection.sql.selectFrom('AuditEvent').selectAll().where('action', '=', action).where('object', 'in', some);
      return withoutMarks(await this.#connection.queryReadable(query, eventRow));
    });
  }

  /** The highest number that there is, 0 where there is none. */
  async lastNumber(): Promise<number> {
    return (await this.head()).number;
  }
}
