// Checkpoints (c2sp.org/tlog-checkpoint): the size and the root of a tree, and the time, as a note that is signed.

import { utf8ToBytes } from '@noble/hashes/utils.js';
import { fromBase64 } from './bytes.ts';
import type { PublicKey } from './ed25519.ts';
import { type Hash, hashBytes } from './merkle-tree.ts';
import { isNoteSignedBy, readNote, type SignedNote, writeNote } from './signed-note.ts';

export type Checkpoint = {
  /** Names the list that the tree is over. */
  readonly origin: string;
  readonly size: number;
  readonly root: Hash;
  /** When it was signed: RFC 3339, UTC. */
  readonly at: string;
};

/** The note of a checkpoint. @param sign Makes the 64 bytes of the signature. */
export function writeCheckpoint(checkpoint: Checkpoint, key: PublicKey, sign: (message: Uint8Array) => Uint8Array): string {
  const { origin, size, root, at } = checkpoint;
  const text = `${origin}\n${size}\n${root.toBase64()}\n${at}\n`;
  return writeNote(text, origin, key, sign(utf8ToBytes(text)));
}

/** A checkpoint with the signatures under it; null where the text is none. */
export function readCheckpoint(text: string): (Checkpoint & { readonly note: SignedNote }) | null {
  const note = readNote(text);
  const [origin = '', size = '', root = '', at = ''] = note?.text.split('\n') ?? [];
  const bytes = fromBase64(root);
  if (note === null || origin === '' || !/^[1-9][0-9]{0,14}$/.test(size) || bytes.length !== hashBytes || Number.isNaN(Date.parse(at)))
    return null;
  return { origin, size: Number(size), root: bytes, at, note };
}

/** Whether the key has signed the checkpoint. */
export function isCheckpointSignedBy({ origin, note }: { readonly origin: string; readonly note: SignedNote }, key: PublicKey): boolean {
  return isNoteSignedBy(note, origin, key);
}
