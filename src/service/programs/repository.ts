// Programs of devices.

import { readInChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { ProgramModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { RowStatement } from '../database/prepared-statements.ts';
import { type MarkedRows, withoutMarks } from '../database/readable-rows.ts';

export type ProgramRecord = ProgramModel;
export type NewProgram = Omit<ProgramModel, 'type' | 'arguments' | 'statistics' | 'stopRequested' | 'started' | 'failure'> & {
  readonly type: Prisma.InputJsonValue;
  readonly arguments: Prisma.InputJsonValue;
};

export type OpenProgram = Pick<ProgramModel, 'id' | 'deviceId' | 'started' | 'stopRequested'>;

/** The final statistics of a program. */
export type FinalStatistics = { readonly id: string; readonly statistics: Prisma.InputJsonValue };

/** How error messages name a row. */
const programRow = { kind: 'program', table: 'Program', key: ['id'] } as const;

const updateStarted = new RowStatement({ failure: 'text?', id: 'text' }, (sql, { failure, id }) =>
  sql.updateTable('Program').set({ started: true, failure }).where('id', '=', id),
);

const updateStatistics = new RowStatement({ statistics: 'json', id: 'text' }, (sql, { statistics, id }) =>
  sql.updateTable('Program').set({ statistics }).where('id', '=', id),
);

export class ProgramRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create({ type, arguments: values, ...program }: NewProgram): Promise<ProgramRecord> {
    return this.#connection.sql
      .insertInto('Program')
      .values({ ...program, type: Json.of(type), arguments: Json.of(values) })
      .returningAll()
      .executeTakeFirstOrThrow();
  }

  async find(deviceId: string, id: string): Promise<ProgramRecord | null> {
    const program = await this.#connection.sql
      .selectFrom('Program')
      .selectAll()
      .where('id', '=', id)
      .where('deviceId', '=', deviceId)
      .executeTakeFirst();
    return program ?? null;
  }

  /** Returns the names of programs of a device, by identifier; without an entry for a program of another device. */
  async namesOn(deviceId: string, ids: readonly string[]): Promise<Map<string, string>> {
    const found = await readInChunks(ids, (chunk) =>
      this.#connection.sql.selectFrom('Program').select(['id', 'name']).where('id', 'in', chunk).where('deviceId', '=', deviceId).execute(),
    );
    return new Map(found.map(({ id, name }) => [id, name]));
  }

  /** Returns the module that each program of a device calls. */
  async modulesOn(deviceId: string): Promise<{ id: string; module: string }[]> {
    return this.#connection.sql.selectFrom('Program').select(['id', 'module']).where('deviceId', '=', deviceId).execute();
  }

  /** Returns the programs on the devices of a host that have not ended. Leaves out undecodable rows. */
  async listOpenOnHost(hostId: string): Promise<OpenProgram[]> {
    const open = this.#connection.sql
      .selectFrom('Device')
      .innerJoin('Program', 'Program.deviceId', 'Device.id')
      .select(['Program.id', 'Program.deviceId', 'Program.started', 'Program.stopRequested'])
      .where('Device.hostId', '=', hostId)
      .where('Program.failure', 'is', null)
      .where('Program.statistics', 'is', null)
      .orderBy('Program.id');
    return withoutMarks(await this.#connection.queryReadable(open, programRow));
  }

  /** Returns the programs on devices that have not ended. Leaves out undecodable rows. */
  async listOpenOn(deviceIds: readonly string[]): Promise<OpenProgram[]> {
    return readInChunks(deviceIds, async (chunk) => {
      const open = this.#connection.sql
        .selectFrom('Program')
        .select(['id', 'deviceId', 'started', 'stopRequested'])
        .where('deviceId', 'in', chunk)
        .where('failure', 'is', null)
        .where('statistics', 'is', null)
        .orderBy('id');
      return withoutMarks(await this.#connection.queryReadable(open, programRow));
    });
  }

  /** Returns programs by identifier. Leaves out undecodable rows. */
  async findMany(ids: readonly string[]): Promise<ProgramRecord[]> {
    return readInChunks(ids, async (chunk) => {
      const programs = this.#connection.sql.selectFrom('Program').selectAll().where('id', 'in', chunk).orderBy('id');
      return withoutMarks(await this.#connection.queryReadable(programs, programRow));
    });
  }

  /** Returns programs that have not ended, after an identifier and by identifier. */
  async listOpenAfter(after: string, limit: number): Promise<MarkedRows<ProgramRecord>> {
    const open = this.#connection.sql
      .selectFrom('Program')
      .selectAll()
      .where('id', '>', after)
      .where('failure', 'is', null)
      .where('statistics', 'is', null)
      .orderBy('id')
      .limit(limit);
    return this.#connection.queryReadable(open, programRow);
  }

  /** Replaces one driver of programs by another. Returns the identifiers of the programs that had the old driver. */
  async replaceDriver(ids: readonly string[], from: string, to: string): Promise<string[]> {
    const replaced = await readInChunks(ids, (chunk) =>
      this.#connection.sql
        .updateTable('Program')
        .set({ driverDigest: to })
        .where('id', 'in', chunk)
        .where('driverDigest', '=', from)
        .returning('id')
        .execute(),
    );
    return replaced.map(({ id }) => id);
  }

  /** Marks programs as started, or as failed to start. */
  async setStarted(ids: readonly string[], failure: string | null): Promise<void> {
    await this.#connection.executeForRows(
      updateStarted,
      ids.map((id) => ({ failure, id })),
    );
  }

  /** Returns which of these programs have not been started and have not failed to start. */
  async filterStarting(ids: readonly string[]): Promise<Set<string>> {
    const programs = await readInChunks(ids, (chunk) =>
      this.#connection.sql.selectFrom('Program').select('id').where('id', 'in', chunk).where('started', '=', false).execute(),
    );
    return new Set(programs.map(({ id }) => id));
  }

  async requestStop(id: string): Promise<void> {
    await this.#connection.sql.updateTable('Program').set({ stopRequested: true }).where('id', '=', id).execute();
  }

  /** Returns which of these programs have no final statistics. */
  async filterWithoutStatistics(ids: readonly string[]): Promise<{ id: string; deviceId: string }[]> {
    return readInChunks(ids, (chunk) =>
      this.#connection.sql
        .selectFrom('Program')
        .select(['id', 'deviceId'])
        .where('id', 'in', chunk)
        .where('statistics', 'is', null)
        .execute(),
    );
  }

  async setFinalStatistics(ends: readonly FinalStatistics[]): Promise<void> {
    await this.#connection.executeForRows(
      updateStatistics,
      ends.map(({ id, statistics }) => ({ statistics: Json.of(statistics), id })),
    );
  }
}
