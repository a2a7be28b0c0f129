// Programs that were declared for devices.

import { chunksOf, readInChunks } from '../database/chunks.ts';
import { Prisma } from '../database/generated/client.ts';
import type { ProgramModel } from '../database/generated/models.ts';
import { type Comparison, equalTo, type PageByTime, type TimeRange, timeConditions } from '../database/page.ts';
import { type MarkedRows, markedRows } from '../database/readable-rows.ts';
import { Query, type Statements } from '../database/statements.ts';

export type ProgramRecord = ProgramModel;
export type NewProgram = Omit<ProgramModel, 'type' | 'arguments' | 'statistics' | 'stopRequested' | 'started' | 'failure'> & {
  readonly type: Prisma.InputJsonValue;
  readonly arguments: Prisma.InputJsonValue;
};

export type ProgramFilter = TimeRange & { readonly deviceId: string; readonly module?: string | undefined };

export type OpenProgram = Pick<ProgramModel, 'id' | 'deviceId' | 'started' | 'stopRequested'>;

const openPrograms = new Query<Pick<OpenProgram, 'id' | 'deviceId'> & { readonly started: number; readonly stopRequested: number }>(
  { hostId: 'text' },
  `SELECT "program"."id", "program"."deviceId", "program"."started", "program"."stopRequested"
  FROM "Device" AS "device" JOIN "Program" AS "program" ON "program"."deviceId" = "device"."id"
  WHERE "device"."hostId" = :hostId AND "program"."failure" IS NULL AND "program"."statistics" IS NULL
  ORDER BY "program"."id"`,
);

export class ProgramRecords {
  readonly #client: Prisma.TransactionClient;
  /** Reads rows that do not depend on each other: those that cannot be decoded are left out. */
  readonly #readable: Prisma.TransactionClient;

  readonly #statements: Statements;

  constructor(client: Prisma.TransactionClient, readable: Prisma.TransactionClient, statements: Statements) {
    this.#client = client;
    this.#readable = readable;
    this.#statements = statements;
  }

  async create(program: NewProgram): Promise<ProgramRecord> {
    return this.#client.program.create({ data: program });
  }

  async find(deviceId: string, id: string): Promise<ProgramRecord | null> {
    return this.#client.program.findFirst({ where: { id, deviceId } });
  }

  /** The names of those of these programs that are the device's, by their identifiers. */
  async namesOn(deviceId: string, ids: readonly string[]): Promise<Map<string, string>> {
    const found = await readInChunks(ids, (some) =>
      this.#client.program.findMany({ where: { id: { in: some }, deviceId }, select: { id: true, name: true } }),
    );
    return new Map(found.map(({ id, name }) => [id, name]));
  }

  /** The module that each program of a device calls. */
  async modulesOn(deviceId: string): Promise<{ id: string; module: string }[]> {
    return this.#client.program.findMany({ where: { deviceId }, select: { id: true, module: true } });
  }

  async list(filter: ProgramFilter, page: PageByTime): Promise<MarkedRows<ProgramRecord>> {
    return markedRows(await this.#readable.program.findMany(this.#pageQuery(filter, page)));
  }

  #pageQuery({ from, until, ...filter }: ProgramFilter, page: PageByTime) {
    const createdAt = (comparison: Comparison<Date>): Prisma.ProgramWhereInput => ({ createdAt: comparison });
    return {
      where: { AND: [equalTo(filter), ...timeConditions({ from, until }, page, createdAt, (id) => ({ id }))] },
      orderBy: [{ createdAt: page.order }, { id: page.order }],
      take: page.limit,
    } satisfies Prisma.ProgramFindManyArgs;
  }

  /** Programs of the devices of a host that have not ended, whether they were started, and whether they are to be stopped. */
  async openOn(hostId: string): Promise<OpenProgram[]> {
    const programs = await this.#statements.all(openPrograms, [hostId]);
    return programs.map(({ started, stopRequested, ...program }) => {
      return { ...program, started: started === 1, stopRequested: stopRequested === 1 };
    });
  }

  async findMany(ids: readonly string[]): Promise<ProgramRecord[]> {
    return readInChunks(ids, (some) => this.#readable.program.findMany({ where: { id: { in: some } }, orderBy: { id: 'asc' } }));
  }

  /** Programs that have not ended, after that identifier, by their identifiers; those that cannot be decoded are left out. */
  async openAfter(after: string, limit: number): Promise<MarkedRows<ProgramRecord>> {
    const where = { id: { gt: after }, failure: null, statistics: { equals: Prisma.DbNull } };
    return markedRows(await this.#readable.program.findMany({ where, orderBy: { id: 'asc' }, take: limit }));
  }

  /** Gives programs another driver. Returns the identifiers of those that had the first and have the second now. */
  async replaceDriver(ids: readonly string[], from: string, to: string): Promise<string[]> {
    const open = await readInChunks(ids, (some) =>
      this.#client.program.findMany({ where: { id: { in: some }, driverDigest: from }, select: { id: true } }),
    );
    const found = open.map(({ id }) => id);
    for (const some of chunksOf(found)) await this.#client.program.updateMany({ where: { id: { in: some } }, data: { driverDigest: to } });
    return found;
  }

  /** A device has started these programs, or could not. */
  async setStarted(ids: readonly string[], failure: string | null): Promise<void> {
    for (const some of chunksOf(ids))
      await this.#client.program.updateMany({ where: { id: { in: some } }, data: { started: true, failure } });
  }

  /** Those of these programs that no device has started yet, or failed to start. */
  async startingAmong(ids: readonly string[]): Promise<Set<string>> {
    const programs = await readInChunks(ids, (some) =>
      this.#client.program.findMany({ where: { id: { in: some }, started: false }, select: { id: true } }),
    );
    return new Set(programs.map(({ id }) => id));
  }

  async requestStop(id: string): Promise<void> {
    await this.#client.program.update({ where: { id }, data: { stopRequested: true } });
  }

  /** Which of these programs have no last statistics yet. */
  async withoutEnd(ids: readonly string[]): Promise<{ id: string; deviceId: string }[]> {
    return readInChunks(ids, (some) =>
      this.#client.program.findMany({
        where: { id: { in: some }, statistics: { equals: Prisma.DbNull } },
        select: { id: true, deviceId: true },
      }),
    );
  }

  async setEnd(id: string, statistics: Prisma.InputJsonValue): Promise<void> {
    await this.#client.program.update({ where: { id }, data: { statistics } });
  }
}
