// Signed notes (c2sp.org/signed-note): a text with signatures under it, as the tools of transparency logs read and write it.

import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { type Bytes, fromBase64, isSameBytes } from './bytes.ts';
import { isSignedBy, type PublicKey, rawPublicKey } from './ed25519.ts';

/** Of Ed25519 in a signed note. */
const algorithm = 1;
const keyHashBytes = 4;
const signatureBytes = 64;

/** A note: its text ends with a line feed. */
export type SignedNote = { readonly text: string; readonly signatures: readonly { readonly name: string; readonly bytes: Bytes }[] };

/** The first bytes of every signature by the key under that name. */
function keyHashOf(name: string, key: PublicKey): Bytes {
  return sha256(concatBytes(utf8ToBytes(`${name}\n`), typedKeyOf(key))).slice(0, keyHashBytes);
}

const typedKeyOf = (key: PublicKey) => concatBytes(Uint8Array.of(algorithm), rawPublicKey(key));

/** A public key as such tools take it: the name, the key's hash, and the key. */
export function formatVerifierKey(name: string, key: PublicKey): string {
  return `${name}+${bytesToHex(keyHashOf(name, key))}+${typedKeyOf(key).toBase64()}`;
}

/** The text with one signature under it. */
export function writeNote(text: string, name: string, key: PublicKey, signature: Uint8Array): string {
  return `${text}\n— ${name} ${concatBytes(keyHashOf(name, key), signature).toBase64()}\n`;
}

/** The note of a text; null where it is none. */
export function readNote(note: string): SignedNote | null {
  const end = note.lastIndexOf('\n\n');
  if (end < 0 || !note.endsWith('\n')) return null;
  const signatures = note
    .slice(end + 2, -1)
    .split('\n')
    .map((line) => {
      const [, name = '', base64 = ''] = /^— (\S+) ([A-Za-z0-9+/]+={0,2})$/.exec(line) ?? [];
      return { name, bytes: fromBase64(base64) };
    });
  if (signatures.some(({ bytes }) => bytes.length <= keyHashBytes)) return null;
  return { text: note.slice(0, end + 1), signatures };
}

/** Whether the key has signed the note under that name. */
export function isNoteSignedBy({ text, signatures }: SignedNote, name: string, key: PublicKey): boolean {
  const keyHash = keyHashOf(name, key);
  return signatures.some((signature) => {
    const { bytes } = signature;
    if (signature.name !== name || bytes.length !== keyHashBytes + signatureBytes || !isSameBytes(bytes.subarray(0, keyHashBytes), keyHash))
      return false;
    return isSignedBy(key, utf8ToBytes(text), bytes.subarray(keyHashBytes));
  });
}
