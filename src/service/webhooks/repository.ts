// Rows of webhooks and of their parked events.

import { z } from 'zod';
import type { Connection } from '../database/connection.ts';
import type { ParkedEventModel, WebhookModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { withoutMarks } from '../database/readable-rows.ts';

export type WebhookRecord = Omit<WebhookModel, 'eventTypes'> & { readonly eventTypes: readonly string[] };
/** A webhook at the moment when it was read: its cursor, and the number of requests that had changed it. */
export type WebhookPosition = Pick<WebhookRecord, 'id' | 'cursor' | 'revision'>;
/** The columns that requests and deliveries change. */
type WebhookChange = Partial<Omit<WebhookRecord, 'id' | 'revision' | 'createdAt' | 'createdBy'>>;
export type NewParkedEvent = Omit<ParkedEventModel, 'event' | 'replayRequestedAt'> & { readonly event: object };

const EventTypes = z.array(z.string());
const webhookRow = { kind: 'webhook', table: 'Webhook', key: ['id'] } as const;
const parkedRow = { kind: 'parked event', table: 'ParkedEvent', key: ['number'] } as const;

/** The state after a delivery, or when the back-off is reset. */
export const noFailures = { failingSince: null, lastError: null, attempts: 0, firstAttemptAt: null, nextAttemptAt: null } as const;

export class WebhookRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create(webhook: WebhookRecord): Promise<void> {
    const { eventTypes, ...columns } = webhook;
    await this.#connection.sql
      .insertInto('Webhook')
      .values({ ...columns, eventTypes: Json.of(eventTypes) })
      .execute();
  }

  /** Changes a webhook by request. The results of deliveries that started before do not count any more. */
  async change(id: string, { eventTypes, ...columns }: WebhookChange): Promise<void> {
    const types = eventTypes === undefined ? {} : { eventTypes: Json.of(eventTypes) };
    await this.#connection.sql
      .updateTable('Webhook')
      .set({ ...columns, ...types })
      .set(({ eb }) => ({ revision: eb('revision', '+', 1) }))
      .where('id', '=', id)
      .execute();
  }

  /** Records the result of a delivery. Returns false, and changes nothing, if a request or another sender has changed the webhook since it was read. */
  async advance({ id, cursor, revision }: WebhookPosition, result: Omit<WebhookChange, 'eventTypes'>): Promise<boolean> {
    const { numUpdatedRows } = await this.#connection.sql
      .updateTable('Webhook')
      .set(result)
      .where('id', '=', id)
      .where('cursor', '=', cursor)
      .where('revision', '=', revision)
      .executeTakeFirst();
    return Number(numUpdatedRows) === 1;
  }

  async remove(id: string): Promise<void> {
    await this.#connection.sql.deleteFrom('ParkedEvent').where('webhookId', '=', id).execute();
    await this.#connection.sql.deleteFrom('Webhook').where('id', '=', id).execute();
  }

  async find(id: string): Promise<WebhookRecord | null> {
    const webhook = await this.#connection.sql.selectFrom('Webhook').selectAll().where('id', '=', id).executeTakeFirst();
    return webhook === undefined ? null : toWebhookRecord(webhook);
  }

  async findByName(name: string): Promise<Pick<WebhookRecord, 'id'> | null> {
    const webhook = await this.#connection.sql.selectFrom('Webhook').select('id').where('name', '=', name).executeTakeFirst();
    return webhook ?? null;
  }

  /** Returns the names of the webhooks that send the events of a group, oldest first. */
  async namesOfGroup(groupId: string): Promise<string[]> {
    const webhooks = this.#connection.sql.selectFrom('Webhook').select('name').where('groupId', '=', groupId);
    return (await webhooks.orderBy('createdAt').orderBy('id').execute()).map(({ name }) => name);
  }

  /** Returns the webhooks that are enabled. Those that cannot be decoded are left out: lists and the health name them. */
  async listEnabled(): Promise<WebhookRecord[]> {
    const query = this.#connection.sql.selectFrom('Webhook').selectAll().where('isEnabled', '=', true);
    return withoutMarks(await this.#connection.queryReadable(query, webhookRow)).flatMap((webhook) => {
      const types = EventTypes.safeParse(webhook.eventTypes);
      return types.success ? [toWebhookRecord(webhook)] : [];
    });
  }

  async count(): Promise<number> {
    const { count } = await this.#connection.sql
      .selectFrom('Webhook')
      .select(({ fn }) => fn.countAll<number | bigint>().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  /** Returns the lowest cursor of the enabled webhooks; null if none is enabled. */
  async lowestCursor(): Promise<number | null> {
    const found = await this.#connection.sql
      .selectFrom('Webhook')
      .select('cursor')
      .where('isEnabled', '=', true)
      .orderBy('cursor')
      .limit(1)
      .executeTakeFirst();
    return found?.cursor ?? null;
  }
}

export class ParkedEventRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Parks an event; replaces it if it is parked already. */
  async park({ event, ...columns }: NewParkedEvent): Promise<void> {
    const row = { ...columns, event: Json.of(event), replayRequestedAt: null };
    const { webhookId, number, ...changed } = row;
    await this.#connection.sql
      .insertInto('ParkedEvent')
      .values(row)
      .onConflict((conflict) => conflict.columns(['webhookId', 'number']).doUpdateSet(changed))
      .execute();
  }

  async remove(webhookId: string, number: number): Promise<void> {
    await this.#connection.sql.deleteFrom('ParkedEvent').where('webhookId', '=', webhookId).where('number', '=', number).execute();
  }

  /** Records that a replay failed: the event stays parked. A replay that was requested during the attempt follows. */
  async recordFailure({ webhookId, number, attempts, replayRequestedAt }: ParkedEventModel, lastError: string): Promise<void> {
    const { sql } = this.#connection;
    await sql
      .updateTable('ParkedEvent')
      .set({ attempts: attempts + 1, lastError })
      .where('webhookId', '=', webhookId)
      .where('number', '=', number)
      .execute();
    await sql
      .updateTable('ParkedEvent')
      .set({ replayRequestedAt: null })
      .where('webhookId', '=', webhookId)
      .where('number', '=', number)
      .where('replayRequestedAt', '=', replayRequestedAt)
      .execute();
  }

  /** Withdraws the request to replay an event that cannot be sent. */
  async withdrawReplay(webhookId: string, number: number, lastError: string): Promise<void> {
    await this.#connection.sql
      .updateTable('ParkedEvent')
      .set({ lastError, replayRequestedAt: null })
      .where('webhookId', '=', webhookId)
      .where('number', '=', number)
      .execute();
  }

  /** Requests a replay of these parked events, or of all. Returns how many there are. */
  async requestReplay(webhookId: string, numbers: readonly number[] | 'all', at: Date): Promise<number> {
    const query = this.#connection.sql.updateTable('ParkedEvent').set({ replayRequestedAt: at }).where('webhookId', '=', webhookId);
    const { numUpdatedRows } = await (numbers === 'all' ? query : query.where('number', 'in', numbers)).executeTakeFirst();
    return Number(numUpdatedRows);
  }

  /** Returns the number of the first parked event whose replay is requested; null if there is none. */
  async firstToReplay(webhookId: string): Promise<number | null> {
    const event = await this.#connection.sql
      .selectFrom('ParkedEvent')
      .select('number')
      .where('webhookId', '=', webhookId)
      .where('replayRequestedAt', 'is not', null)
      .orderBy('number')
      .limit(1)
      .executeTakeFirst();
    return event?.number ?? null;
  }

  /** Returns a parked event; null if it does not exist or cannot be decoded. */
  async find(webhookId: string, number: number): Promise<ParkedEventModel | null> {
    const query = this.#connection.sql
      .selectFrom('ParkedEvent')
      .selectAll()
      .where('webhookId', '=', webhookId)
      .where('number', '=', number);
    const [event] = withoutMarks(await this.#connection.queryReadable(query, parkedRow));
    return event ?? null;
  }

  /** Returns the webhooks with parked events whose replay is requested. */
  async webhooksToReplay(): Promise<string[]> {
    const webhooks = await this.#connection.sql
      .selectFrom('ParkedEvent')
      .select('webhookId')
      .distinct()
      .where('replayRequestedAt', 'is not', null)
      .execute();
    return webhooks.map(({ webhookId }) => webhookId);
  }

  /** Returns the number of parked events of a webhook. */
  async count(webhookId: string): Promise<number> {
    const { count } = await this.#connection.sql
      .selectFrom('ParkedEvent')
      .select(({ fn }) => fn.countAll<number | bigint>().as('count'))
      .where('webhookId', '=', webhookId)
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  /** Returns the number of parked events of each webhook. */
  async countByWebhook(): Promise<Map<string, number>> {
    const counts = await this.#connection.sql
      .selectFrom('ParkedEvent')
      .select(({ fn }) => ['webhookId', fn.countAll<number | bigint>().as('count')])
      .groupBy('webhookId')
      .execute();
    return new Map(counts.map(({ webhookId, count }) => [webhookId, Number(count)]));
  }
}

/** Parses a stored webhook. @throws {z.ZodError} if it is invalid. */
export function toWebhookRecord({ eventTypes, isEnabled, ...webhook }: WebhookModel): WebhookRecord {
  return { ...webhook, eventTypes: EventTypes.parse(eventTypes), isEnabled: Boolean(isEnabled) };
}
