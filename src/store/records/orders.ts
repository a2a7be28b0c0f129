// Orders to device hosts, from their making until a report has settled them.

import type { Prisma } from '../generated/client.ts';
import type { AgentOrderModel } from '../generated/models.ts';
import { chunksOf } from './chunks.ts';

export type OrderRecord = AgentOrderModel;
export type NewOrder = Omit<AgentOrderModel, 'number' | 'body' | 'dispatchedAt' | 'withdrawnAt' | 'settledAt'> & {
  readonly body: Prisma.InputJsonValue;
};

export class OrderRecords {
  readonly #client: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient) {
    this.#client = client;
  }

  /** Adds orders; their numbers rise in the order given. */
  async create(orders: readonly NewOrder[]): Promise<void> {
    await this.#client.agentOrder.createMany({ data: [...orders] });
  }

  /**
   * Orders of a host after a number that a report has not settled, in their order.
   * @param flight How many the host may have at once; those up to that number count.
   */
  async next(hostId: string, after: number, flight: number, limit: number): Promise<OrderRecord[]> {
    const open = { hostId, settledAt: null, withdrawnAt: null };
    const inFlight = await this.#client.agentOrder.count({ where: { ...open, number: { lte: after } } });
    return this.#client.agentOrder.findMany({
      where: { ...open, number: { gt: after } },
      orderBy: { number: 'asc' },
      take: Math.max(0, Math.min(limit, flight - inFlight)),
    });
  }

  /** Notes that these orders are sent to their host now; those that were sent before keep the time of the first. */
  async markDispatched(ids: readonly string[], dispatchedAt: Date): Promise<void> {
    await this.#client.agentOrder.updateMany({ where: { id: { in: [...ids] }, dispatchedAt: null }, data: { dispatchedAt } });
  }

  /** The orders of these loads are not to be sent any more. */
  async withdraw(loadIds: readonly string[], withdrawnAt: Date): Promise<void> {
    for (const some of chunksOf(loadIds))
      await this.#client.agentOrder.updateMany({ where: { loadId: { in: some }, settledAt: null }, data: { withdrawnAt } });
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
    return this.#client.agentOrder.count({ where: { settledAt: null, withdrawnAt: null } });
  }

  /** Removes the orders of a host that are not settled. */
  async removeUnsettled(hostId: string): Promise<void> {
    await this.#client.agentOrder.deleteMany({ where: { hostId, settledAt: null } });
  }
}
