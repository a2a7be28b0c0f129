// Checkpoints (c2sp.org/tlog-checkpoint): the size and root of a Merkle tree, with the time, as a signed note.

import { utf8ToBytes } from '@noble/hashes/utils.js';
import { fromBase64 } from './bytes.ts';
import type { PublicKey } from './ed25519.ts';
import { type Hash, hashBytes } from './merkle-tree.ts';
import { isNoteSignedBy, readNote, type SignedNote, writeNote } from './signed-note.ts';

export type Checkpoint = {
  /** Name of the list that the tree covers. */
  readonly origin: string;
  readonly size: number;
  readonly root: Hash;
  /** Time of the signature: RFC 3339, UTC. */
  readonly at: string;
};

/** Creates the signed note of a checkpoint. @param sign Returns the Ed25519 signature (64 bytes). */
export function writeCheckpoint(checkpoint: Checkpoint, key: PublicKey, sign: (message: Uint8Array) => Uint8Array): string {
  const { origin, size, root, at } = checkpoint;
  const text = `${origin}\n${size}\n${root.toBase64()}\n${at}\n`;
  return writeNote(text, origin, key, sign(utf8ToBytes(text)));
}

/** Parses a checkpoint and its signatures; null if the text is not a checkpoint. */
export function readCheckpoint(text: string): (Checkpoint & { readonly note: SignedNote }) | null {
  const note = readNote(text);
  const [origin = '', size = '', root = '', at = ''] = note?.text.split('\n') ?? [];
  const bytes = fromBase64(root);
  if (note === null || origin === '' || !/^[1-9][0-9]{0,14}$/.test(size) || bytes.length !== hashBytes || Number.isNaN(Date.parse(at)))
    return null;
  return { origin, size: Number(size), root: bytes, at, note };
}

/** Returns whether the key has signed the checkpoint. */
export function isCheckpointSignedBy({ origin, note }: { readonly origin: string; readonly note: SignedNote }, key: PublicKey): boolean {
  return isNoteSignedBy(note, origin, key);
}
