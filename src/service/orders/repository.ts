// Orders to device hosts, from their making until a report has settled them.

import { chunksOf, readInChunks } from '../database/chunks.ts';
import type { Committed } from '../database/committed.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { AgentOrderModel } from '../database/generated/models.ts';
import { insertion, Query, removal, type Statements } from '../database/statements.ts';

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

const insertOrder = insertion('AgentOrder', {
  id: 'text',
  hostId: 'text',
  deviceId: 'text',
  kind: 'text',
  body: 'json',
  loadId: 'text',
  createdAt: 'time',
});

const columns = `"number", "id", "hostId", "deviceId", "kind", "body", "loadId", "createdAt", "withdrawnAt"`;

const countInFlight = new Query<{ readonly orders: number }>(
  { hostId: 'text', after: 'integer' },
  `SELECT COUNT(*) AS "orders" FROM "AgentOrder" WHERE "hostId" = :hostId AND "withdrawnAt" IS NULL AND "number" <= :after`,
);

const nextOrders = new Query<Row>(
  { hostId: 'text', after: 'integer', limit: 'integer' },
  `SELECT ${columns} FROM "AgentOrder" WHERE "hostId" = :hostId AND "withdrawnAt" IS NULL AND "number" > :after ORDER BY "number" LIMIT :limit`,
);

const lastNumberGiven = new Query<{ readonly number: number }>(
  {},
  {
    sqlite: `SELECT "seq" AS "number" FROM sqlite_sequence WHERE "name" = 'AgentOrder'`,
    postgresql: `SELECT "last_value" AS "number" FROM "AgentOrder_number_seq"`,
  },
);

const renewableOrders = new Query<Row>(
  { hostId: 'text', after: 'integer', limit: 'integer' },
  `SELECT ${columns} FROM "AgentOrder" WHERE "hostId" = :hostId AND "withdrawnAt" IS NULL AND "number" > :after AND "kind" <> 'attach-device'
  ORDER BY "number" LIMIT :limit`,
);

const ordersUpTo = new Query<Row>(
  { hostId: 'text', last: 'integer', limit: 'integer' },
  `SELECT ${columns} FROM "AgentOrder" WHERE "hostId" = :hostId AND "withdrawnAt" IS NULL AND "number" <= :last ORDER BY "number" LIMIT :limit`,
);

const unsettledOrders = new Query<Row>(
  { ids: 'list', hostId: 'text' },
  // Found by what they are called, not by their host: in no index is the same text with nothing after it.
  `SELECT ${columns} FROM "AgentOrder" WHERE "id" IN :ids AND "hostId" || '' = :hostId`,
);

const removeOrder = removal('AgentOrder', { number: 'integer' }, `"number" = :number`);

export class OrderRecords {
  readonly #client: Prisma.TransactionClient;
  /** Reads rows that do not depend on each other: those that cannot be decoded are left out. */
  readonly #readable: Prisma.TransactionClient;
  readonly #statements: Statements;
  readonly #committed: Committed;

  constructor(client: Prisma.TransactionClient, readable: Prisma.TransactionClient, statements: Statements, committed: Committed) {
    this.#client = client;
    this.#readable = readable;
    this.#statements = statements;
    this.#committed = committed;
  }

  /** Adds orders; their numbers rise in the order given. */
  async create(orders: readonly NewOrder[]): Promise<void> {
    await this.#statements.each(
      insertOrder,
      orders.map(({ id, hostId, deviceId, kind, body, loadId, createdAt }) => {
        return [id, hostId, deviceId, kind, JSON.stringify(body), loadId, createdAt.getTime()];
      }),
    );
    for (const { hostId } of orders) this.#committed.hosts.add(hostId);
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

  /** Orders of a host up to a number that a report has not settled, in their order. */
  async upTo(hostId: string, last: number, limit: number): Promise<OrderRecord[]> {
    return (await this.#statements.all(ordersUpTo, [hostId, last, limit])).map(toRecord);
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

  /** The highest number that an order has been given, whether there still is one or not; 0 where there was none. */
  async lastNumber(): Promise<number> {
    const [last] = await this.#statements.all(lastNumberGiven, []);
    return last?.number ?? 0;
  }

  /** Orders of a host after a number that are to be made again when its devices come up anew, in their order. */
  async renewable(hostId: string, after: number, limit: number): Promise<OrderRecord[]> {
    return (await this.#statements.all(renewableOrders, [hostId, after, limit])).map(toRecord);
  }

  /** Orders that no report has settled, of these devices of a host. */
  async unsettledOn(hostId: string, deviceIds: readonly string[]): Promise<Pick<OrderRecord, 'id' | 'number' | 'deviceId' | 'body'>[]> {
    return readInChunks(deviceIds, (some) =>
      this.#readable.agentOrder.findMany({
        where: { hostId, deviceId: { in: some } },
        select: { id: true, number: true, deviceId: true, body: true },
      }),
    );
  }

  /** Those of these orders that are the host's and unsettled. */
  async findUnsettled(hostId: string, ids: readonly string[]): Promise<OrderRecord[]> {
    return (await this.#statements.all(unsettledOrders, [JSON.stringify(ids), hostId])).map(toRecord);
  }

  /** Removes orders of a host that have been reported on: it has room for others. */
  async settle(hostId: string, numbers: readonly number[]): Promise<void> {
    if (numbers.length > 0) this.#committed.hosts.add(hostId);
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
  return { ...row, ...times, body: bodyOf(body) };
}

/** The body; one that is no JSON as the text that it is, which violates the schema of orders as other damaged bodies do. */
function bodyOf(text: string): Prisma.JsonValue {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
