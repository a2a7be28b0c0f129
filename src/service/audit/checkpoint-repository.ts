// Checkpoints of the audit trail, and the Merkle tree behind them in tiles.

import type { Connection } from '../database/connection.ts';
import type { AuditTileModel, CheckpointModel } from '../database/generated/models.ts';
import { RowStatement } from '../database/prepared-statements.ts';

export type CheckpointRecord = CheckpointModel;
export type TileRecord = AuditTileModel;

/** Of an event of the audit trail. */
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
    // PostgreSQL cannot be asked for more than the column holds.
    if (size > highestNumber) return null;
    const found = await this.#connection.sql.selectFrom('Checkpoint').selectAll().where('size', '=', size).executeTakeFirst();
    return found ?? null;
  }

  /** How many tiles of a level there are: they are made in their order. */
  async countTiles(level: number): Promise<number> {
    const tiles = this.#connection.sql.selectFrom('AuditTile').select('index').where('level', '=', level);
    const last = await tiles.orderBy('index', 'desc').limit(1).executeTakeFirst();
    return last === undefined ? 0 : last.index + 1;
  }

  async createTiles(tiles: readonly TileRecord[]): Promise<void> {
    await this.#connection.executeForRows(insertTile, tiles);
  }
}
