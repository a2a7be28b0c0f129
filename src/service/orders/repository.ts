// Orders to device hosts, from their making until a report has settled them.

import { type Expression, type Kysely, sql as text } from 'kysely';
import { readInChunks, splitIntoChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { AgentOrderModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';
import { withoutMarks } from '../database/readable-rows.ts';
import type { Tables } from '../database/tables.ts';

const columns = ['number', 'id', 'hostId', 'deviceId', 'kind', 'loadId'] as const;
export type OrderRecord = Pick<AgentOrderModel, (typeof columns)[number] | 'body'>;
export type ReissuableOrder = OrderRecord & Pick<AgentOrderModel, 'createdAt'>;
export type NewOrder = Omit<ReissuableOrder, 'number' | 'body'> & {
  readonly body: Prisma.InputJsonValue;
};

/** Loads that have ended without their devices. */
export type CancelledLoads = { readonly sent: readonly string[]; readonly unsent: readonly string[] };

/** How lists call an order. */
const orderRow = { kind: 'order', table: 'AgentOrder', key: ['id'] } as const;

const insertOrder = new RowStatement(
  { id: 'text', hostId: 'text', deviceId: 'text', kind: 'text', body: 'json', loadId: 'text?', createdAt: 'time' },
  (sql, order) => sql.insertInto('AgentOrder').values(order),
);

/** Bodies are read as texts: one that is no JSON keeps no other order from being read. */
const selectOrders = (sql: Kysely<Tables>) =>
  sql
    .selectFrom('AgentOrder')
    .select(columns)
    .select(({ cast }) => cast<string>('body', 'text').as('body'));

/** Orders of a host that are still to be sent, in their order. */
const selectOpen = (sql: Kysely<Tables>, hostId: Expression<string>) =>
  selectOrders(sql).where('hostId', '=', hostId).where('cancelledAt', 'is', null).orderBy('number');

const countInFlight = new PreparedQuery({ hostId: 'text', after: 'integer' }, (sql, { hostId, after }) =>
  sql
    .selectFrom('AgentOrder')
    .select(({ fn }) => fn.countAll<number | bigint>().as('orders'))
    .where('hostId', '=', hostId)
    .where('cancelledAt', 'is', null)
    .where('number', '<=', after),
);

const nextOrders = new PreparedQuery({ hostId: 'text', after: 'integer', limit: 'integer' }, (sql, { hostId, after, limit }) =>
  selectOpen(sql, hostId).where('number', '>', after).limit(limit),
);

const selectLastNumber = new PreparedQuery({}, (sql, _given, compiler) => sql.selectNoFrom(compiler.lastNumber('AgentOrder').as('number')));

const reissuableOrders = new PreparedQuery({ hostId: 'text', after: 'integer', limit: 'integer' }, (sql, { hostId, after, limit }) =>
  selectOpen(sql, hostId).select('createdAt').where('number', '>', after).where('kind', '<>', 'attach-device').limit(limit),
);

const ordersUpTo = new PreparedQuery({ hostId: 'text', last: 'integer', limit: 'integer' }, (sql, { hostId, last, limit }) =>
  selectOpen(sql, hostId).where('number', '<=', last).limit(limit),
);

const unsettledOrders = new PreparedQuery({ ids: 'list', hostId: 'text' }, (sql, { ids, hostId }) =>
  selectOrders(sql)
    .where(({ ref }) => ids.includes(ref('id')))
    // Found by what they are called, not by their host: in no index is the same text with nothing after it.
    .where(({ ref }) => text<string>`${ref('hostId')} || ''`, '=', hostId),
);

const removeOrder = new RowStatement({ number: 'integer' }, (sql, { number }) => sql.deleteFrom('AgentOrder').where('number', '=', number));

export class OrderRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Adds orders; their numbers rise in the order given. */
  async create(orders: readonly NewOrder[]): Promise<void> {
    await this.#connection.executeForRows(
      insertOrder,
      orders.map((order) => ({ ...order, body: Json.of(order.body) })),
    );
    for (const { hostId } of orders) this.#connection.commitEffects.hosts.add(hostId);
  }

  /**
   * Orders of a host after a number that a report has not settled, in their order.
   * @param flight How many the host may have at once; those up to that number count.
   */
  async next(hostId: string, after: number, flight: number, limit: number): Promise<OrderRecord[]> {
    const [inFlight] = await this.#connection.query(countInFlight, { hostId, after });
    const room = Math.max(0, Math.min(limit, flight - Number(inFlight?.orders ?? 0)));
    return (await this.#connection.query(nextOrders, { hostId, after, limit: room })).map(withBody);
  }

  /** Orders of a host up to a number that a report has not settled, in their order. */
  async listUpTo(hostId: string, last: number, limit: number): Promise<OrderRecord[]> {
    return (await this.#connection.query(ordersUpTo, { hostId, last, limit })).map(withBody);
  }

  /**
   * Orders of loads are not to be sent any more.
   * @param sent Loads whose hosts have been sent them, and may report on them still: their orders stay until then.
   * @param unsent Loads of which nobody knows: their orders go.
   */
  async cancel({ sent, unsent }: CancelledLoads, cancelledAt: Date): Promise<void> {
    const { sql } = this.#connection;
    for (const some of splitIntoChunks(sent))
      await sql.updateTable('AgentOrder').set({ cancelledAt }).where('loadId', 'in', some).execute();
    for (const some of splitIntoChunks(unsent)) await sql.deleteFrom('AgentOrder').where('loadId', 'in', some).execute();
  }

  /** The highest number that an order has been given, whether there still is one or not; 0 where there was none. */
  async lastNumber(): Promise<number> {
    const [last] = await this.#connection.query(selectLastNumber, {});
    return Number(last?.number ?? 0);
  }

  /** Orders of a host after a number that are to be made again when its devices come up anew, in their order. */
  async listReissuable(hostId: string, after: number, limit: number): Promise<ReissuableOrder[]> {
    return (await this.#connection.query(reissuableOrders, { hostId, after, limit })).map(withBody);
  }

  /** Orders that no report has settled, of these devices of a host. */
  async listUnsettled(hostId: string, deviceIds: readonly string[]): Promise<Pick<OrderRecord, 'id' | 'number' | 'deviceId' | 'body'>[]> {
    return readInChunks(deviceIds, async (some) => {
      const orders = this.#connection.sql.selectFrom('AgentOrder').select(['id', 'number', 'deviceId', 'body']);
      const query = orders.where('hostId', '=', hostId).where('deviceId', 'in', some);
      return withoutMarks(await this.#connection.queryReadable(query, orderRow));
    });
  }

  /** Those of these orders that are the host's and unsettled. */
  async findUnsettled(hostId: string, ids: readonly string[]): Promise<OrderRecord[]> {
    return (await this.#connection.query(unsettledOrders, { ids, hostId })).map(withBody);
  }

  /** Removes orders of a host that have been reported on: it has room for others. */
  async settle(hostId: string, numbers: readonly number[]): Promise<void> {
    if (numbers.length > 0) this.#connection.commitEffects.hosts.add(hostId);
    await this.#connection.executeForRows(
      removeOrder,
      numbers.map((number) => ({ number })),
    );
  }

  /** Removes the orders of a host that are not settled. */
  async removeUnsettled(hostId: string): Promise<void> {
    await this.#connection.sql.deleteFrom('AgentOrder').where('hostId', '=', hostId).execute();
  }
}

const withBody = <Row extends { readonly body: string }>({ body, ...row }: Row) => ({ ...row, body: bodyOf(body) });

/** The body; one that is no JSON as the text that it is, which violates the schema of orders as other damaged bodies do. */
function bodyOf(body: string): Prisma.JsonValue {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}
