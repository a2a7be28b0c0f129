// Orders to device hosts, from their making until a report has settled them.

import type { Prisma } from '../generated/client.ts';
import type { AgentOrderModel } from '../generated/models.ts';

export type OrderRecord = AgentOrderModel;
export type NewOrder = Omit<AgentOrderModel, 'number' | 'body' | 'settledAt'> & { readonly body: Prisma.InputJsonValue };

export class OrderRecords {
  readonly #client: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient) {
    this.#client = client;
  }

  /** Adds orders; their numbers rise in the order given. */
  async create(orders: readonly NewOrder[]): Promise<void> {
    await this.#client.agentOrder.createMany({ data: [...orders] });
  }

  /** Unsettled orders of a host after a number, in their order. */
  async unsettled(hostId: string, after: number, limit: number): Promise<OrderRecord[]> {
    return this.#client.agentOrder.findMany({
      where: { hostId, settledAt: null, number: { gt: after } },
      orderBy: { number: 'asc' },
      take: limit,
    });
  }

  async allUnsettled(hostId: string): Promise<OrderRecord[]> {
    return this.#client.agentOrder.findMany({ where: { hostId, settledAt: null }, orderBy: { number: 'asc' } });
  }

  /** Those of these orders that are the host's and unsettled. */
  async findUnsettled(hostId: string, ids: readonly string[]): Promise<OrderRecord[]> {
    return this.#client.agentOrder.findMany({ where: { hostId, id: { in: [...ids] }, settledAt: null } });
  }

  async settle(ids: readonly string[], settledAt: Date): Promise<void> {
    await this.#client.agentOrder.updateMany({ where: { id: { in: [...ids] } }, data: { settledAt } });
  }

  async countUnsettled(): Promise<number> {
    return this.#client.agentOrder.count({ where: { settledAt: null } });
  }

  /** Removes the orders of a host that are not settled. */
  async removeUnsettled(hostId: string): Promise<void> {
    await this.#client.agentOrder.deleteMany({ where: { hostId, settledAt: null } });
  }
}
