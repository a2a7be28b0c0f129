// Rows of the audit trail: a hash chain of events that record who did what to which object, and when.

import { toWellFormedJson } from '../../proof/audit-event.ts';
import { hashStoredEvent } from '../database/audit-chain.ts';
import { readInChunks } from '../database/chunks.ts';
import type { NewAuditEvent } from '../database/commit-effects.ts';
import type { Connection } from '../database/connection.ts';
import type { AuditEventModel, AuditHeadModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';
import { withoutMarks } from '../database/readable-rows.ts';

/** How much earlier than its predecessor an event may be because it waited for its transaction, in milliseconds. */
const reorderTolerance = 60_000;

export type AuditRecord = AuditEventModel;
/** The last event of the trail, and the number up to which events were pruned. */
export type AuditHead = Omit<AuditHeadModel, 'id'>;

/** Identifies an event in lists of damaged rows. */
const eventRow = { kind: 'audit event', table: 'AuditEvent', key: ['number'] } as const;

/** Identifier of the only row of `AuditHead`. */
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
   * Appends events to the chain. An event slightly earlier than its predecessor gets the predecessor's time, so that readers by time miss no event. An
   * event earlier by more than `reorderTolerance` keeps its time: the clock was ahead before and is now correct.
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

  /** Returns the head of the trail. */
  async head(): Promise<AuditHead> {
    const [head] = await this.#connection.query(readHead, {});
    if (head === undefined)
      throw new Error('the head of the audit trail is missing in the table AuditHead: restore the database from a backup');
    return head;
  }

  /** Removes the events up to a number. */
  async prune(prunedThrough: number): Promise<void> {
    const { sql } = this.#connection;
    await sql.deleteFrom('AuditEvent').where('number', '<=', prunedThrough).execute();
    await sql.updateTable('AuditHead').set({ prunedThrough }).where('id', '=', headId).execute();
  }

  /** Returns the events of an action on these objects. */
  async findByAction(action: string, objects: readonly string[]): Promise<AuditRecord[]> {
    return readInChunks(objects, async (some) => {
      const query = this.#connection.sql.selectFrom('AuditEvent').selectAll().where('action', '=', action).where('object', 'in', some);
      return withoutMarks(await this.#connection.queryReadable(query, eventRow));
    });
  }

  /** Returns the number of the last event; 0 if there is none. */
  async lastNumber(): Promise<number> {
    return (await this.head()).number;
  }
}
