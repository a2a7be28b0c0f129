// Endorsements: each signing key signs the next one, so that a verifier who trusts the first key can trust its successors.

import { z } from 'zod';
import { decodeUtf8, fromBase64 } from './bytes.ts';
import { KeyError, type PublicKey, readPublicKey } from './ed25519.ts';
import { type Envelope, findSigners } from './envelope.ts';

export const endorsementType = 'application/vnd.patchbay.signing-key+json';

const Endorsed = z.object({ keyId: z.string(), publicKey: z.string(), createdAt: z.string() });

/** Returns the given keys and all keys that they endorse, directly or through other endorsed keys. */
export function resolveTrustedKeys(keys: readonly PublicKey[], endorsements: readonly Envelope[]): PublicKey[] {
  const trusted = new Map(keys.map((key) => [key.keyId, key]));
  const pending = new Set(endorsements.filter(({ payloadType }) => payloadType === endorsementType));
  for (let before = -1; before < trusted.size; ) {
    before = trusted.size;
    for (const envelope of pending) {
      if (findSigners(envelope, [...trusted.values()]).length === 0) continue;
      pending.delete(envelope);
      const key = readEndorsedKey(envelope);
      if (key !== null) trusted.set(key.keyId, key);
    }
  }
  return [...trusted.values()];
}

/** Parses the endorsed key in an envelope without checking signatures; null if it contains none. */
function readEndorsedKey({ payload }: Envelope): PublicKey | null {
  try {
    const { keyId, publicKey } = Endorsed.parse(JSON.parse(decodeUtf8(fromBase64(payload))));
    const key = readPublicKey(publicKey);
    return key.keyId === keyId ? key : null;
  } catch (error) {
    if (error instanceof KeyError || error instanceof z.ZodError || error instanceof SyntaxError) return null;
    throw error;
  }
}
