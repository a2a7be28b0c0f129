// Lists and counts of orders, read outside transactions.

import type { AgentOrderModel } from '../database/generated/models.ts';
import type { QueryClient } from '../database/query-client.ts';
import type { Reader } from '../database/reader.ts';

export class OrderQueries {
  readonly #client: QueryClient;

  constructor({ client }: Reader) {
    this.#client = client;
  }

  async allUnsettled(hostId: string): Promise<AgentOrderModel[]> {
    return this.#client.agentOrder.findMany({ where: { hostId }, orderBy: { number: 'asc' } });
  }

  async countUnsettled(): Promise<number> {
    return this.#client.agentOrder.count({ where: { cancelledAt: null } });
  }
}
