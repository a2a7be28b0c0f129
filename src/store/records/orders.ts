// Orders to device hosts, from their making until a report has settled them.

import type { Prisma } from '../generated/client.ts';
import type { AgentOrderModel } from '../generated/models.ts';
import { Statement, type Statements } from '../statements.ts';
import { chunksOf } from './chunks.ts';

export type OrderRecord = AgentOrderModel;
export type NewOrder = Omit<AgentOrderModel, 'number' | 'body' | 'withdrawnAt'> & {
  readonly body: Prisma.InputJsonValue;
};

type Row = Pick<AgentOrderModel, 'number' | 'id' | 'hostId' | 'deviceId' | 'kind' | 'loadId'> & {
  readonly body: string;
  readonly createdAt: number;
  readonly withdrawnAt: number | null;
};

/** Loads that have ended without their devices. */
export type WithdrawnLoads = { readonly sent: readonly string[]; readonly unsent: readonly string[] };

const insertOrder = new Statement(`
  INSERT INTO "AgentOrder" ("id", "hostId", "deviceId", "kind", "body", "loadId", "createdAt") VALUES (?, ?, ?, ?, ?, ?, ?)`);

const columns = `"number", "id", "hostId", "deviceId", "kind", "body", "loadId", "createdAt", "withdrawnAt"`;

const countInFlight = new Statement<{ readonly orders: number }>(`
  SELECT COUNT(*) AS "orders" FROM "AgentOrder" WHERE "hostId" = ? AND "withdrawnAt" IS NULL AND "number" <= ?`);

const nextOrders = new Statement<Row>(`
  SELECT ${columns} FROM "AgentOrder" WHERE "hostId" = ? AND "withdrawnAt" IS NULL AND "number" > ?
  ORDER BY "number" LIMIT ?`);

const unsettledOrders = new Statement<Row>(`
  SELECT ${columns} FROM "AgentOrder" WHERE "id" IN (SELECT value FROM json_each(?)) AND +"hostId" = ?`);

const removeOrder = new Statement(`DELETE FROM "AgentOrder" WHERE "number" = ?`);

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

  /**
   * Orders of loads are not to be sent any more.
   * @param sent Loads whose hosts have been sent them, and may report on them still: their orders stay until then.
   * @param unsent Loads of which nobody knows: their orders go.
   */
  async withdraw({ sent, unsent }: WithdrawnLoads, withdrawnAt: Date): Promise<void> {
    for (const some of chunksOf(sent)) await this.#client.agentOrder.updateMany({ where: { loadId: { in: some } }, data: { withdrawnAt } });
    for (const some of chunksOf(unsent)) await this.#client.agentOrder.deleteMany({ where: { loadId: { in: some } } });
  }

  async allUnsettled(hostId: string): Promise<OrderRecord[]> {
    return this.#client.agentOrder.findMany({ where: { hostId }, orderBy: { number: 'asc' } });
  }

  /** Those of these orders that are the host's and unsettled. */
  async findUnsettled(hostId: string, ids: readonly string[]): Promise<OrderRecord[]> {
    return (await this.#statements.all(unsettledOrders, [JSON.stringify(ids), hostId])).map(toRecord);
  }

  /** Removes orders that have been reported on. */
  async settle(numbers: readonly number[]): Promise<void> {
    await this.#statements.each(
      removeOrder,
      numbers.map((number) => [number]),
    );
  }

  async countUnsettled(): Promise<number> {
    return this.#client.agentOrder.count({ where: { withdrawnAt: null } });
  }

  /** Removes the orders of a host that are not settled. */
  async removeUnsettled(hostId: string): Promise<void> {
    await this.#client.agentOrder.deleteMany({ where: { hostId } });
  }
}

function toRecord({ body, createdAt, withdrawnAt, ...row }: Row): OrderRecord {
  const times = { createdAt: new Date(createdAt), withdrawnAt: withdrawnAt === null ? null : new Date(withdrawnAt) };
  return { ...row, ...times, body: JSON.parse(body) };
}
