// Rows of checkpoints, and of the tiles of the Merkle tree over the audit trail.

import type { Connection } from '../database/connection.ts';
import type { AuditTileModel, CheckpointModel } from '../database/generated/models.ts';
import { RowStatement } from '../database/prepared-statements.ts';

export type CheckpointRecord = CheckpointModel;
export type TileRecord = AuditTileModel;

/** Highest possible number of an event: the column is a 32-bit integer. */
const highestNumber = 2 ** 31 - 1;

const insertTile = new RowStatement({ level: 'integer', index: 'integer', root: 'bytes', hashes: 'bytes' }, (sql, tile) =>
  sql.insertInto('AuditTile').values(tile),
);

export class CheckpointRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create(checkpoint: CheckpointRecord): Promise<CheckpointRecord> {
    await this.#connection.sql.insertInto('Checkpoint').values(checkpoint).execute();
    return checkpoint;
  }

  async find(size: number): Promise<CheckpointRecord | null> {
    // PostgreSQL rejects a value outside the range of the column.
    if (size > highestNumber) return null;
    const found = await this.#connection.sql.selectFrom('Checkpoint').selectAll().where('size', '=', size).executeTakeFirst();
    return found ?? null;
  }

  /** Returns the number of tiles of a level. Tiles are created in order. */
  async countTiles(level: number): Promise<number> {
    const tiles = this.#connection.sql.selectFrom('AuditTile').select('index').where('level', '=', level);
    const last = await tiles.orderBy('index', 'desc').limit(1).executeTakeFirst();
    return last === undefined ? 0 : last.index + 1;
  }

  async createTiles(tiles: readonly TileRecord[]): Promise<void> {
    await this.#connection.executeForRows(insertTile, tiles);
  }
}
