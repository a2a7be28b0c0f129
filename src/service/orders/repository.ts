// Orders for device hosts, from their creation until a report settles them.

import { type Expression, type Kysely, type SqlBool, sql as text } from 'kysely';
import type { Order } from '../../protocol/agent.ts';
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

/** Identifiers of loads that ended without a report, by whether their order was sent. */
export type CancelledLoads = { readonly sent: readonly string[]; readonly unsent: readonly string[] };

/**
 * Orders that end a drain. They are offered beyond the limit of orders in flight: the orders in flight may be the draining loads, and the loads queued
 * behind them.
 */
const urgentKinds = ['inject-load', 'cancel-load'] as const satisfies readonly Order['kind'][];

/** Whether an order is offered beyond the limit of orders in flight. */
export const isUrgent = ({ kind }: Pick<OrderRecord, 'kind'>) => urgentKinds.some((urgent) => urgent === kind);

/** How error messages name a row. */
const orderRow = { kind: 'order', table: 'AgentOrder', key: ['id'] } as const;

const insertOrder = new RowStatement(
  { id: 'text', hostId: 'text', deviceId: 'text', kind: 'text', body: 'json', loadId: 'text?', createdAt: 'time' },
  (sql, order) => sql.insertInto('AgentOrder').values(order),
);

/** Reads bodies as strings, so that a body that is not JSON does not block reading other orders. */
const selectOrders = (sql: Kysely<Tables>) =>
  sql
    .selectFrom('AgentOrder')
    .select(columns)
    .select(({ cast }) => cast<string>('body', 'text').as('body'));

/** Selects the orders of a host that are not cancelled, by number. */
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

/** Literals, so that the planners can prove that the partial index on urgent orders has every row. */
const isUrgentInSql = text<SqlBool>`"kind" in (${text.join(urgentKinds.map((kind) => text.lit(kind)))})`;

const urgentOrders = new PreparedQuery({ hostId: 'text', after: 'integer', limit: 'integer' }, (sql, { hostId, after, limit }) =>
  selectOpen(sql, hostId).where('number', '>', after).where(isUrgentInSql).limit(limit),
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
    // The concatenation keeps the planner from using the index on `hostId` instead of the one on `id`.
    .where(({ ref }) => text<string>`${ref('hostId')} || ''`, '=', hostId),
);

const removeOrder = new RowStatement({ number: 'integer' }, (sql, { number }) => sql.deleteFrom('AgentOrder').where('number', '=', number));

export class OrderRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Inserts orders. Their numbers rise in the given order. */
  async create(orders: readonly NewOrder[]): Promise<void> {
    await this.#connection.executeForRows(
      insertOrder,
      orders.map((order) => ({ ...order, body: Json.of(order.body) })),
    );
    for (const { hostId } of orders) this.#connection.commitEffects.hosts.add(hostId);
  }

  /**
   * Returns unsettled orders of a host after a number, by number.
   * @param maxInFlight Maximum number of unsettled orders of the host; the orders up to `after` count.
   */
  async next(hostId: string, after: number, maxInFlight: number, limit: number): Promise<OrderRecord[]> {
    const [inFlight] = await this.#connection.query(countInFlight, { hostId, after });
    const room = Math.max(0, Math.min(limit, maxInFlight - Number(inFlight?.orders ?? 0)));
    return (await this.#connection.query(nextOrders, { hostId, after, limit: room })).map(withBody);
  }

  /** Returns urgent unsettled orders of a host after a number, by number. */
  async listUrgent(hostId: string, after: number, limit: number): Promise<OrderRecord[]> {
    return (await this.#connection.query(urgentOrders, { hostId, after, limit })).map(withBody);
  }

  /** Returns unsettled orders of a host up to a number, by number. */
  async listUpTo(hostId: string, last: number, limit: number): Promise<OrderRecord[]> {
    return (await this.#connection.query(ordersUpTo, { hostId, last, limit })).map(withBody);
  }

  /**
   * Stops the dispatch of orders of loads.
   * @param sent Loads whose orders were sent: marks the orders as cancelled, because the hosts may still report on them.
   * @param unsent Loads whose orders were not sent: deletes the orders.
   */
  async cancel({ sent, unsent }: CancelledLoads, cancelledAt: Date): Promise<void> {
    const { sql } = this.#connection;
    for (const chunk of splitIntoChunks(sent))
      await sql.updateTable('AgentOrder').set({ cancelledAt }).where('loadId', 'in', chunk).execute();
    for (const chunk of splitIntoChunks(unsent)) await sql.deleteFrom('AgentOrder').where('loadId', 'in', chunk).execute();
  }

  /** Returns which of these kinds of orders for a load are unsettled. */
  async pendingKinds<Kind extends string>(loadId: string, kinds: readonly Kind[]): Promise<Kind[]> {
    const query = this.#connection.sql
      .selectFrom('AgentOrder')
      .select('kind')
      .where('loadId', '=', loadId)
      .where('cancelledAt', 'is', null);
    const pending = new Set((await query.execute()).map(({ kind }) => kind));
    return kinds.filter((kind) => pending.has(kind));
  }

  /** Returns the highest number ever assigned to an order; 0 if there was none. */
  async lastNumber(): Promise<number> {
    const [last] = await this.#connection.query(selectLastNumber, {});
    return Number(last?.number ?? 0);
  }

  /** Returns the orders of a host to reissue when its devices attach again, after a number and by number. */
  async listReissuable(hostId: string, after: number, limit: number): Promise<ReissuableOrder[]> {
    return (await this.#connection.query(reissuableOrders, { hostId, after, limit })).map(withBody);
  }

  /** Returns which of these devices of a host have an unsettled order of a kind. */
  async filterWithOrder(hostId: string, deviceIds: readonly string[], kind: Order['kind']): Promise<Set<string>> {
    const orders = await readInChunks(deviceIds, (chunk) => {
      const ofKind = this.#connection.sql.selectFrom('AgentOrder').select('deviceId').where('kind', '=', kind);
      return ofKind.where('hostId', '=', hostId).where('deviceId', 'in', chunk).execute();
    });
    return new Set(orders.map(({ deviceId }) => deviceId));
  }

  /** Returns the orders of devices of a host to reissue on another host, by number. */
  async listReissuableOf(hostId: string, deviceIds: readonly string[]): Promise<ReissuableOrder[]> {
    const orders = await readInChunks(deviceIds, async (chunk) => {
      const open = selectOrders(this.#connection.sql).select('createdAt').where('hostId', '=', hostId).where('cancelledAt', 'is', null);
      return (await open.where('deviceId', 'in', chunk).execute()).map(withBody);
    });
    return orders.toSorted((left, right) => left.number - right.number);
  }

  /** Returns the unsettled orders of these devices of a host. */
  async listUnsettled(hostId: string, deviceIds: readonly string[]): Promise<Pick<OrderRecord, 'id' | 'number' | 'deviceId' | 'body'>[]> {
    return readInChunks(deviceIds, async (chunk) => {
      const orders = this.#connection.sql.selectFrom('AgentOrder').select(['id', 'number', 'deviceId', 'body']);
      const query = orders.where('hostId', '=', hostId).where('deviceId', 'in', chunk);
      return withoutMarks(await this.#connection.queryReadable(query, orderRow));
    });
  }

  /** Returns which of these orders are unsettled and belong to the host. */
  async findUnsettled(hostId: string, ids: readonly string[]): Promise<OrderRecord[]> {
    return (await this.#connection.query(unsettledOrders, { ids, hostId })).map(withBody);
  }

  /** Deletes settled orders of a host, which makes room for others. */
  async settle(hostId: string, numbers: readonly number[]): Promise<void> {
    if (numbers.length > 0) this.#connection.commitEffects.hosts.add(hostId);
    await this.#connection.executeForRows(
      removeOrder,
      numbers.map((number) => ({ number })),
    );
  }

  /** Deletes every unsettled order of devices of a host. */
  async removeOfDevices(hostId: string, deviceIds: readonly string[]): Promise<void> {
    for (const chunk of splitIntoChunks(deviceIds))
      await this.#connection.sql.deleteFrom('AgentOrder').where('hostId', '=', hostId).where('deviceId', 'in', chunk).execute();
    this.#connection.commitEffects.hosts.add(hostId);
  }

  /** Deletes every unsettled order of a host. */
  async removeUnsettled(hostId: string): Promise<void> {
    await this.#connection.sql.deleteFrom('AgentOrder').where('hostId', '=', hostId).execute();
  }
}

/** Returns a row with its body, which was read as text. */
export const withBody = <Row extends { readonly body: string }>({ body, ...row }: Row) => ({ ...row, body: bodyOf(body) });

/** Parses a body. Returns a body that is not JSON as a string, which violates the schema of orders like other damaged bodies. */
function bodyOf(body: string): Prisma.JsonValue {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}
