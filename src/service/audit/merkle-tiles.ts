// Stores the Merkle tree over the audit trail in tiles of 256 adjacent nodes. A tile is stored once it is complete.

import { type Hash, hashBytes, nodeHash, type ReadSubtree } from '../../proof/merkle-tree.ts';
import type { Reader } from '../database/reader.ts';
import type { Store } from '../database/store.ts';
import { CheckpointQueries } from './checkpoint-queries.ts';
import { CheckpointRecords } from './checkpoint-repository.ts';
import { AuditQueries } from './queries.ts';

/** Tree levels per tile. */
const tileHeight = 8;
/** Hashes per tile. */
export const tileWidth = 2 ** tileHeight;
/** Tiles stored in one transaction. */
const tileBatchSize = 64;

/**
 * Stores the missing complete tiles of the tree over the first `size` events.
 * @param size At most the number of committed events.
 */
export async function storeCompleteTiles(store: Store, size: number): Promise<void> {
  for (let level = 0, nodes = size; nodes >= tileWidth; level += 1, nodes = Math.floor(nodes / tileWidth)) {
    const wanted = Math.floor(nodes / tileWidth);
    for (let next = await new CheckpointRecords(store.readConnection).countTiles(level); next < wanted; next += tileBatchSize) {
      const count = Math.min(tileBatchSize, wanted - next);
      const hashes = await readNodes(store.reader, level, next * tileWidth, count * tileWidth);
      const tiles = Array.from({ length: count }, (_, place) => {
        const some = hashes.slice(place * tileWidth, (place + 1) * tileWidth);
        return { level, index: next + place, root: merkleRoot(some), hashes: new Uint8Array(Buffer.concat(some)) };
      });
      await store.transaction(async (connection) => {
        // Another replica may have stored the same tiles in the meantime.
        const isNext = (await new CheckpointRecords(connection).countTiles(level)) === next;
        if (isNext) await new CheckpointRecords(connection).createTiles(tiles);
      });
    }
  }
}

/** Returns a reader of subtrees, which combines stored tiles with the nodes after the last tile. */
export function subtreeReader(reader: Reader): ReadSubtree {
  const checkpoints = new CheckpointQueries(reader);
  // Proofs read adjacent nodes of a tile.
  const tiles = new Map<string, Promise<Hash[]>>();
  const read = async (level: number, index: number): Promise<Hash[]> => {
    const whole = await checkpoints.tile(level, index);
    if (whole === null) return readNodes(reader, level, index * tileWidth, tileWidth);
    return Array.from({ length: tileWidth }, (_, place) => whole.slice(place * hashBytes, (place + 1) * hashBytes));
  };
  return async (level, index) => {
    const tileLevel = Math.floor(level / tileHeight);
    const width = 2 ** (level % tileHeight);
    const tileIndex = Math.floor((index * width) / tileWidth);
    const key = `${tileLevel}/${tileIndex}`;
    const tile = tiles.get(key) ?? read(tileLevel, tileIndex);
    tiles.set(key, tile);
    const first = (index * width) % tileWidth;
    const nodes = (await tile).slice(first, first + width);
    if (nodes.length < width)
      throw new Error(`the audit trail does not have the ${width} nodes of level ${tileLevel * tileHeight} from ${index * width} on`);
    return merkleRoot(nodes);
  };
}

/** Returns up to `limit` adjacent nodes of a tile level: hashes of events, or roots of the tiles below. */
function readNodes(reader: Reader, tileLevel: number, from: number, limit: number): Promise<Hash[]> {
  if (tileLevel === 0) return new AuditQueries(reader).hashesAfter(from, limit);
  return new CheckpointQueries(reader).tileRoots(tileLevel - 1, from, limit);
}

/** Returns the root over nodes whose number is a power of two. */
function merkleRoot(nodes: readonly Hash[]): Hash {
  const [left, right] = nodes;
  if (left === undefined) throw new Error('an empty tree has no root');
  if (right === undefined) return left;
  const middle = nodes.length / 2;
  return nodeHash(merkleRoot(nodes.slice(0, middle)), merkleRoot(nodes.slice(middle)));
}
