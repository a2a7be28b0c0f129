// The audit trail: who did what to which object, when.

import type { Prisma } from '../generated/client.ts';
import type { AuditEventModel } from '../generated/models.ts';
import type { Committed } from './committed.ts';
import type { Page } from './page.ts';

export type AuditRecord = AuditEventModel;
export type NewAuditEvent = Omit<AuditEventModel, 'number' | 'detail'> & { readonly detail: Prisma.InputJsonObject };
export type AuditFilter = { readonly action?: string | undefined; readonly object?: string | undefined };

export class AuditRecords {
  readonly #client: Prisma.TransactionClient;
  readonly #committed: Committed;

  constructor(client: Prisma.TransactionClient, committed: Committed) {
    this.#client = client;
    this.#committed = committed;
  }

  async append(events: readonly NewAuditEvent[]): Promise<void> {
    await this.#client.auditEvent.createMany({ data: [...events] });
    for (const event of events) this.#committed.events.push(event);
  }

  async list(filter: AuditFilter, order: 'asc' | 'desc', page: Page<number>): Promise<AuditRecord[]> {
    return this.#client.auditEvent.findMany({
      where: {
        ...(filter.action === undefined ? {} : { action: filter.action }),
        ...(filter.object === undefined ? {} : { object: filter.object }),
        ...(page.after === null ? {} : { number: order === 'desc' ? { lt: page.after } : { gt: page.after } }),
      },
      orderBy: { number: order },
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

  /** The highest number that there is, 0 where there is none. */
  async newest(): Promise<number> {
    const event = await this.#client.auditEvent.findFirst({ select: { number: true }, orderBy: { number: 'desc' } });
    return event?.number ?? 0;
  }
}
