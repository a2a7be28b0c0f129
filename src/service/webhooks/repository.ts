// Rows of webhooks and of their parked events.

import { z } from 'zod';
import type { Connection } from '../database/connection.ts';
import type { ParkedEventModel, WebhookModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { withoutMarks } from '../database/readable-rows.ts';

export type WebhookRecord = Omit<WebhookModel, 'eventTypes'> & { readonly eventTypes: readonly string[] };
/** The progress of deliveries, which changes with each attempt. */
export type DeliveryState = Pick<
  WebhookRecord,
  'cursor' | 'lastDeliveredAt' | 'failingSince' | 'lastError' | 'attempts' | 'firstAttemptAt' | 'nextAttemptAt'
>;
/** Columns that requests and the service change besides. */
export type WebhookChange = Partial<Omit<WebhookRecord, 'id' | 'createdAt' | 'createdBy'>>;
export type NewParkedEvent = Omit<ParkedEventModel, 'event' | 'replayRequestedAt'> & { readonly event: object };

const EventTypes = z.array(z.string());
const webhookRow = { kind: 'webhook', table: 'Webhook', key: ['id'] } as const;

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

  async change(id: string, { eventTypes, ...columns }: WebhookChange): Promise<void> {
    const types = eventTypes === undefined ? {} : { eventTypes: Json.of(eventTypes) };
    await this.#connection.sql
      .updateTable('Webhook')
      .set({ ...columns, ...types })
      .where('id', '=', id)
      .execute();
  }

  /** Changes the state of a webhook if its cursor is still the expected one. Returns whether it was: otherwise another sender or a replay has moved it. */
  async advance(id: string, expectedCursor: number, state: Partial<DeliveryState>): Promise<boolean> {
    const { numUpdatedRows } = await this.#connection.sql
      .updateTable('Webhook')
      .set(state)
      .where('id', '=', id)
      .where('cursor', '=', expectedCursor)
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

  /** Records that a replay failed: the event stays parked. */
  async recordFailure(webhookId: string, number: number, attempts: number, lastError: string): Promise<void> {
    await this.#connection.sql
      .updateTable('ParkedEvent')
      .set({ attempts, lastError, replayRequestedAt: null })
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

  /** Returns the first parked event whose replay is requested; null if there is none. */
  async findToReplay(webhookId: string): Promise<ParkedEventModel | null> {
    const event = await this.#connection.sql
      .selectFrom('ParkedEvent')
      .selectAll()
      .where('webhookId', '=', webhookId)
      .where('replayRequestedAt', 'is not', null)
      .orderBy('number')
      .limit(1)
      .executeTakeFirst();
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
