// Queries for checkpoints and for the Merkle tree tiles of proofs, outside transactions.

import type { Hash } from '../../proof/merkle-tree.ts';
import type { Prisma } from '../database/generated/client.ts';
import { type Comparison, type PageByTime, timeConditions } from '../database/page.ts';
import type { QueryClient } from '../database/query-client.ts';
import { type MarkedRows, restoreMarks } from '../database/readable-rows.ts';
import type { Reader } from '../database/reader.ts';
import type { CheckpointRecord } from './checkpoint-repository.ts';

export class CheckpointQueries {
  readonly #client: QueryClient;
  readonly #readable: QueryClient;

  constructor({ client, readable }: Reader) {
    this.#client = client;
    this.#readable = readable;
  }

  /** Returns the checkpoint over the most events. */
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
    return restoreMarks(checkpoints);
  }

  /** Returns the concatenated hashes of a tile; null if the tile does not exist yet. */
  async tile(level: number, index: number): Promise<Hash | null> {
    const tile = await this.#client.auditTile.findFirst({ where: { level, index }, select: { hashes: true } });
    return tile?.hashes ?? null;
  }

  /** Returns the roots of consecutive tiles. */
  async tileRoots(level: number, from: number, limit: number): Promise<Hash[]> {
    const where = { level, index: { gte: from } };
    const tiles = await this.#client.auditTile.findMany({ where, orderBy: { index: 'asc' }, take: limit, select: { root: true } });
    return tiles.map(({ root }) => root);
  }
}
