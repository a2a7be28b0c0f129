// Rows of groups.

import { isGroupId } from '../../protocol/identifiers.ts';
import type { LabelSelector } from '../../protocol/label-selector.ts';
import { readInChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { DeviceGroupModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { matchesSelector } from '../database/label-conditions.ts';
import { PreparedQuery } from '../database/prepared-statements.ts';

export type GroupRecord = Omit<DeviceGroupModel, 'maintenanceWindows'> & {
  /** Windows as stored; null: none. */
  readonly maintenanceWindows: Prisma.JsonValue;
};

/** A group with maintenance windows. */
export type WindowedGroup = Pick<GroupRecord, 'name' | 'selector'> & {
  /** The windows, as JSON text that may be damaged. */
  readonly windows: string | null;
};

/** Literals, so that the planners can prove that the partial index has every row. Read as text, so that a damaged row does not block the others. */
const groupsWithWindows = new PreparedQuery({}, (sql) =>
  sql
    .selectFrom('DeviceGroup')
    .select(({ cast }) => ['name', 'selector', cast<string | null>('maintenanceWindows', 'text').as('windows')])
    .where('maintenanceWindows', 'is not', null)
    .orderBy('id'),
);

export class GroupRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create(group: GroupRecord): Promise<void> {
    await this.#connection.sql.insertInto('DeviceGroup').values(toRow(group)).execute();
  }

  async replace(group: GroupRecord): Promise<void> {
    const { id, ...row } = toRow(group);
    await this.#connection.sql.updateTable('DeviceGroup').set(row).where('id', '=', id).execute();
  }

  async remove(id: string): Promise<void> {
    await this.#connection.sql.deleteFrom('DeviceGroup').where('id', '=', id).execute();
  }

  /** Returns the group with an identifier or a name. A text in the form of an identifier is an identifier. */
  async find(reference: string): Promise<GroupRecord | null> {
    const column = isGroupId(reference) ? 'id' : 'name';
    const group = await this.#connection.sql.selectFrom('DeviceGroup').selectAll().where(column, '=', reference).executeTakeFirst();
    return group ?? null;
  }

  /** Returns the groups with maintenance windows, in the order of their creation. */
  listWithWindows(): Promise<WindowedGroup[]> {
    return this.#connection.query(groupsWithWindows, {});
  }

  /** Returns the label selectors of groups, by group identifier. */
  async selectorsOf(ids: readonly string[]): Promise<Map<string, string>> {
    if (ids.length === 0) return new Map();
    const groups = await this.#connection.sql
      .selectFrom('DeviceGroup')
      .select(['id', 'selector'])
      .where('id', 'in', [...ids])
      .execute();
    return new Map(groups.map(({ id, selector }) => [id, selector]));
  }

  /** Returns the names of groups, by identifier. */
  async namesOf(ids: readonly string[]): Promise<Map<string, string>> {
    const groups = await readInChunks([...new Set(ids)], (some) =>
      this.#connection.sql.selectFrom('DeviceGroup').select(['id', 'name']).where('id', 'in', some).execute(),
    );
    return new Map(groups.map(({ id, name }) => [id, name]));
  }

  async count(): Promise<number> {
    const { count } = await this.#connection.sql
      .selectFrom('DeviceGroup')
      .select(({ fn }) => fn.countAll<number | bigint>().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  /** Counts the devices that a selector matches. Leaves out decommissioned ones. */
  async countDevices(selector: LabelSelector): Promise<number> {
    const { devices } = await this.#connection.sql
      .selectFrom('Device')
      .select(({ fn }) => fn.countAll<number | bigint>().as('devices'))
      .where('decommissionedAt', 'is', null)
      .where((device) => matchesSelector(device, selector))
      .executeTakeFirstOrThrow();
    return Number(devices);
  }
}

function toRow({ maintenanceWindows, ...group }: GroupRecord) {
  return { ...group, maintenanceWindows: maintenanceWindows === null ? null : Json.of(maintenanceWindows) };
}
