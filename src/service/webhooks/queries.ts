// Queries of webhooks and their parked events, outside transactions.

import type { Prisma } from '../database/generated/client.ts';
import type { ParkedEventModel, WebhookModel } from '../database/generated/models.ts';
import { type Comparison, type PageByNumber, type PageByTime, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';

/** A webhook whose deliveries fail, or that the service disabled. */
export type UnhealthyWebhook = Pick<WebhookModel, 'name' | 'failingSince' | 'lastError' | 'disabledReason'>;

export class WebhookQueries {
  readonly #client: QueryClient;
  readonly #readable: QueryClient;

  constructor({ client, readable }: Reader) {
    this.#client = client;
    this.#readable = readable;
  }

  /** Returns unparsed rows, so that one invalid webhook does not prevent reading the others. */
  async list(page: PageByTime): Promise<MarkedRows<WebhookModel>> {
    const createdAt = (comparison: Comparison<Date>): Prisma.WebhookWhereInput => ({ createdAt: comparison });
    const webhooks = await this.#readable.webhook.findMany({
      where: { AND: timeConditions({}, page, createdAt, (id) => ({ id })) },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    });
    return restoreMarks(webhooks);
  }

  async listParked(webhookId: string, { order, limit, after }: PageByNumber): Promise<MarkedRows<ParkedEventModel>> {
    const beyond = after === null ? {} : { number: order === 'asc' ? { gt: after.number } : { lt: after.number } };
    const events = await this.#readable.parkedEvent.findMany({
      where: { webhookId, ...beyond },
      orderBy: { number: order },
      take: limit,
    });
    return restoreMarks(events);
  }

  /** Returns the webhooks that have failed since before a time, or that the service disabled. */
  async unhealthy(failingBefore: Date, limit: number): Promise<UnhealthyWebhook[]> {
    return this.#client.webhook.findMany({
      where: { OR: [{ isEnabled: true, failingSince: { lt: failingBefore } }, { disabledReason: { not: null } }] },
      orderBy: { name: 'asc' },
      take: limit,
      select: { name: true, failingSince: true, lastError: true, disabledReason: true },
    });
  }

  /** Returns the number of parked events. */
  async countParked(): Promise<number> {
    return this.#client.parkedEvent.count();
  }

  /** Returns the number of webhooks by state. */
  async countByState(): Promise<{ readonly delivering: number; readonly failing: number; readonly disabled: number }> {
    const [disabled, failing, all] = await Promise.all([
      this.#client.webhook.count({ where: { isEnabled: false } }),
      this.#client.webhook.count({ where: { isEnabled: true, failingSince: { not: null } } }),
      this.#client.webhook.count(),
    ]);
    return { delivering: all - disabled - failing, failing, disabled };
  }
}
