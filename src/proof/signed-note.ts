// Signed notes (c2sp.org/signed-note): a text followed by signatures, the format of transparency logs.

import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { type Bytes, fromBase64, isSameBytes } from './bytes.ts';
import { isSignedBy, type PublicKey, rawPublicKey } from './ed25519.ts';

/** Identifier of Ed25519 in a signed note. */
const algorithm = 1;
const keyHashBytes = 4;
const signatureBytes = 64;

/** A parsed note. Its text ends with a line feed. */
export type SignedNote = { readonly text: string; readonly signatures: readonly { readonly name: string; readonly bytes: Bytes }[] };

/** Returns the key hash, the first bytes of each signature by the key under a name. */
function keyHashOf(name: string, key: PublicKey): Bytes {
  return sha256(concatBytes(utf8ToBytes(`${name}\n`), typedKeyOf(key))).slice(0, keyHashBytes);
}

const typedKeyOf = (key: PublicKey) => concatBytes(Uint8Array.of(algorithm), rawPublicKey(key));

/** Formats a public key as a verifier key: the name, the key hash, and the key. */
export function formatVerifierKey(name: string, key: PublicKey): string {
  return `${name}+${bytesToHex(keyHashOf(name, key))}+${typedKeyOf(key).toBase64()}`;
}

/** Returns a note of the text with one signature. */
export function writeNote(text: string, name: string, key: PublicKey, signature: Uint8Array): string {
  return `${text}\n— ${name} ${concatBytes(keyHashOf(name, key), signature).toBase64()}\n`;
}

/** Parses a note; null if the text is not a signed note. */
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

/** Returns whether the key has signed the note under a name. */
export function isNoteSignedBy({ text, signatures }: SignedNote, name: string, key: PublicKey): boolean {
  const keyHash = keyHashOf(name, key);
  return signatures.some((signature) => {
    const { bytes } = signature;
    if (signature.name !== name || bytes.length !== keyHashBytes + signatureBytes || !isSameBytes(bytes.subarray(0, keyHashBytes), keyHash))
      return false;
    return isSignedBy(key, utf8ToBytes(text), bytes.subarray(keyHashBytes));
  });
}
