// Orders to device hosts, from their making until a report has settled them.

import type { Prisma } from '../generated/client.ts';
import type { AgentOrderModel } from '../generated/models.ts';
import { Statement, type Statements } from '../statements.ts';
import { chunksOf } from './chunks.ts';

export type OrderRecord = AgentOrderModel;
export type NewOrder = Omit<AgentOrderModel, 'number' | 'body' | 'dispatchedAt' | 'withdrawnAt' | 'settledAt'> & {
  readonly body: Prisma.InputJsonValue;
};

type Row = Pick<AgentOrderModel, 'number' | 'id' | 'hostId' | 'deviceId' | 'kind' | 'loadId'> & {
  readonly body: string;
  readonly createdAt: number;
  readonly dispatchedAt: number | null;
  readonly withdrawnAt: number | null;
};

const insertOrder = new Statement(`
  INSERT INTO "AgentOrder" ("id", "hostId", "deviceId", "kind", "body", "loadId", "createdAt") VALUES (?, ?, ?, ?, ?, ?, ?)`);

const columns = `"number", "id", "hostId", "deviceId", "kind", "body", "loadId", "createdAt", "dispatchedAt", "withdrawnAt"`;

const countInFlight = new Statement<{ readonly orders: number }>(`
  SELECT COUNT(*) AS "orders" FROM "AgentOrder" WHERE "settledAt" IS NULL AND "hostId" = ? AND "number" <= ? AND "withdrawnAt" IS NULL`);

const nextOrders = new Statement<Row>(`
  SELECT ${columns} FROM "AgentOrder" WHERE "settledAt" IS NULL AND "hostId" = ? AND "number" > ? AND "withdrawnAt" IS NULL
  ORDER BY "number" LIMIT ?`);

const unsettledOrders = new Statement<Row>(`
  SELECT ${columns} FROM "AgentOrder" WHERE "id" IN (SELECT value FROM json_each(?)) AND +"hostId" = ? AND +"settledAt" IS NULL`);

const markOrder = new Statement(`UPDATE "AgentOrder" SET "dispatchedAt" = ? WHERE "number" = ? AND "dispatchedAt" IS NULL`);
const settleOrder = new Statement(`UPDATE "AgentOrder" SET "settledAt" = ? WHERE "number" = ?`);

export class OrderRecords {
  readonly #client: Prisma.TransactionClient;
  readonly #statements: Statements;

  constructor(client: Prisma.TransactionClient, statements: Statements) {
    this.#client = client;
    this.#statements = statements;
  }

  /** Adds orders; their numbers rise in the order given. */
  async create(orders: readonly NewOrder[]): Promise<void> {
    await this.#statements.each(
      insertOrder,
      orders.map(({ id, hostId, deviceId, kind, body, loadId, createdAt }) => {
        return [id, hostId, deviceId, kind, JSON.stringify(body), loadId, createdAt.getTime()];
      }),
    );
  }

  /**
   * Orders of a host after a number that a report has not settled, in their order.
   * @param flight How many the host may have at once; those up to that number count.
   */
  async next(hostId: string, after: number, flight: number, limit: number): Promise<OrderRecord[]> {
    const [inFlight] = await this.#statements.all(countInFlight, [hostId, after]);
    const room = Math.max(0, Math.min(limit, flight - (inFlight?.orders ?? 0)));
    return (await this.#statements.all(nextOrders, [hostId, after, room])).map(toRecord);
  }

  /** Notes that these orders are sent to their host now; those that were sent before keep the time of the first. */
  async markDispatched(numbers: readonly number[], dispatchedAt: Date): Promise<void> {
    const at = dispatchedAt.getTime();
    await this.#statements.each(
      markOrder,
      numbers.map((number) => [at, number]),
    );
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
    return (await this.#statements.all(unsettledOrders, [JSON.stringify(ids), hostId])).map(toRecord);
  }

  async settle(numbers: readonly number[], settledAt: Date): Promise<void> {
    const at = settledAt.getTime();
    await this.#statements.each(
      settleOrder,
      numbers.map((number) => [at, number]),
    );
  }

  async countUnsettled(): Promise<number> {
    return this.#client.agentOrder.count({ where: { settledAt: null, withdrawnAt: null } });
  }

  /** Removes the orders of a host that are not settled. */
  async removeUnsettled(hostId: string): Promise<void> {
    await this.#client.agentOrder.deleteMany({ where: { hostId, settledAt: null } });
  }
}

function toRecord({ body, createdAt, dispatchedAt, withdrawnAt, ...row }: Row): OrderRecord {
  const date = (time: number | null) => (time === null ? null : new Date(time));
  const times = { createdAt: new Date(createdAt), dispatchedAt: date(dispatchedAt), withdrawnAt: date(withdrawnAt), settledAt: null };
  return { ...row, ...times, body: JSON.parse(body) };
}
