// Checkpoints of the audit trail, and the Merkle tree behind them in tiles.

import type { Hash } from '../../proof/merkle-tree.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { AuditTileModel, CheckpointModel } from '../database/generated/models.ts';
import { type Comparison, type PageByTime, timeConditions } from '../database/page.ts';
import { type MarkedRows, markedRows } from '../database/readable-rows.ts';

export type CheckpointRecord = CheckpointModel;
export type TileRecord = AuditTileModel;

/** Of an event of the audit trail. */
const highestNumber = 2 ** 31 - 1;

export class CheckpointRecords {
  readonly #client: Prisma.TransactionClient;
  /** Reads rows that do not depend on each other: those that cannot be decoded are left out. */
  readonly #readable: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient, readable: Prisma.TransactionClient) {
    this.#client = client;
    this.#readable = readable;
  }

  async create(checkpoint: CheckpointRecord): Promise<CheckpointRecord> {
    return this.#client.checkpoint.create({ data: checkpoint });
  }

  async find(size: number): Promise<CheckpointRecord | null> {
    // PostgreSQL cannot be asked for more than the column holds.
    if (size > highestNumber) return null;
    return this.#client.checkpoint.findFirst({ where: { size } });
  }

  /** The one over the most events. */
  async newest(): Promise<CheckpointRecord | null> {
    return this.#client.checkpoint.findFirst({ orderBy: { size: 'desc' } });
  }

  async list(page: PageByTime<number>): Promise<MarkedRows<CheckpointRecord>> {
    const at = (comparison: Comparison<Date>): Prisma.CheckpointWhereInput => ({ at: comparison });
    const checkpoints = await this.#readable.checkpoint.findMany({
      where: { AND: timeConditions({}, page, at, (size) => ({ size })) },
      orderBy: [{ at: page.order }, { size: page.order }],
      take: page.limit,
    });
    return markedRows(checkpoints);
  }

  /** The hashes of a tile, one after another; null where there is none yet. */
  async tile(level: number, index: number): Promise<Hash | null> {
    const tile = await this.#client.auditTile.findFirst({ where: { level, index }, select: { hashes: true } });
    return tile?.hashes ?? null;
  }

  /** The roots of tiles side by side, from one on. */
  async tileRoots(level: number, from: number, limit: number): Promise<Hash[]> {
    const where = { level, index: { gte: from } };
    const tiles = await this.#client.auditTile.findMany({ where, orderBy: { index: 'asc' }, take: limit, select: { root: true } });
    return tiles.map(({ root }) => root);
  }

  /** How many tiles of a level there are: they are made in their order. */
  async countTiles(level: number): Promise<number> {
    const last = await this.#client.auditTile.findFirst({ where: { level }, orderBy: { index: 'desc' }, select: { index: true } });
    return last === null ? 0 : last.index + 1;
  }

  async createTiles(tiles: readonly TileRecord[]): Promise<void> {
    await this.#client.auditTile.createMany({ data: [...tiles] });
  }
}
