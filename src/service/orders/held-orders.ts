// Orders of loads that are held while maintenance windows are closed. Hosts are not offered these orders.

import { readInChunks, splitIntoChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { HeldOrderModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';
import { type NewOrder, withBody } from './repository.ts';

/** A held order. It has no host: its device may move until the order is released. */
export type HeldOrder = Omit<HeldOrderModel, 'createdAt'>;

const columns = ['number', 'id', 'deviceId', 'kind', 'loadId'] as const;
const storedColumns = [...columns, 'createdAt', 'body'] as const;

const insertHeld = new RowStatement(
  { number: 'integer', id: 'text', deviceId: 'text', kind: 'text', body: 'json', loadId: 'text', createdAt: 'time' },
  (sql, order) => sql.insertInto('HeldOrder').values(order),
);

const devicesWithHeldOrders = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('HeldOrder')
    .select('deviceId')
    .distinct()
    .where(({ ref }) => ids.includes(ref('deviceId'))),
);

export class HeldOrderRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Holds the orders of loads that no host was offered. They keep their numbers, which are the sequence of the loads of their devices. */
  async hold(loadIds: readonly string[]): Promise<void> {
    const { sql } = this.#connection;
    for (const chunk of splitIntoChunks(loadIds)) {
      const orders = sql.selectFrom('AgentOrder').select(storedColumns).where('loadId', 'in', chunk);
      await sql.insertInto('HeldOrder').columns(storedColumns).expression(orders).execute();
      await sql.deleteFrom('AgentOrder').where('loadId', 'in', chunk).execute();
    }
  }

  /** Adds orders that were removed from the queue of a host. */
  async add(orders: readonly (NewOrder & Pick<HeldOrder, 'number' | 'loadId'>)[]): Promise<void> {
    await this.#connection.executeForRows(
      insertHeld,
      orders.map(({ hostId: _, body, ...order }) => ({ ...order, body: Json.of(body) })),
    );
  }

  /** Returns which of these devices have held orders. */
  async filterDevices(deviceIds: readonly string[]): Promise<Set<string>> {
    if (deviceIds.length === 0) return new Set();
    const rows = await this.#connection.query(devicesWithHeldOrders, { ids: deviceIds });
    return new Set(rows.map(({ deviceId }) => deviceId));
  }

  /**
   * Removes the held orders of devices, and returns them in the sequence of the loads. Leaves none, not even one that is damaged: the later loads of its
   * device would be held again for ever.
   */
  async take(deviceIds: readonly string[]): Promise<HeldOrder[]> {
    const { sql } = this.#connection;
    const taken = await readInChunks(deviceIds, async (chunk) => {
      const held = sql
        .selectFrom('HeldOrder')
        .select(columns)
        .select(({ cast }) => cast<string>('body', 'text').as('body'))
        .where('deviceId', 'in', chunk);
      return (await held.execute()).map(withBody);
    });
    for (const chunk of splitIntoChunks(taken.map(({ id }) => id))) await sql.deleteFrom('HeldOrder').where('id', 'in', chunk).execute();
    return taken.toSorted((left, right) => left.number - right.number);
  }

  /** Removes the held orders of loads that have ended. */
  async remove(loadIds: readonly string[]): Promise<void> {
    for (const chunk of splitIntoChunks(loadIds)) await this.#connection.sql.deleteFrom('HeldOrder').where('loadId', 'in', chunk).execute();
  }
}
