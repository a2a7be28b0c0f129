// How one signing key vouches for the next, so that who trusts the first can come to trust them all.

import { z } from 'zod';
import { decodeUtf8, fromBase64 } from './bytes.ts';
import { KeyError, type PublicKey, readPublicKey } from './ed25519.ts';
import { type Envelope, findSigners } from './envelope.ts';

export const endorsementType = 'application/vnd.patchbay.signing-key+json';

const Endorsed = z.object({ keyId: z.string(), publicKey: z.string(), createdAt: z.string() });

/** The keys, and those for which they vouch, and those for which these do, and so on. */
export function resolveTrustedKeys(keys: readonly PublicKey[], endorsements: readonly Envelope[]): PublicKey[] {
  const trusted = new Map(keys.map((key) => [key.keyId, key]));
  const open = new Set(endorsements.filter(({ payloadType }) => payloadType === endorsementType));
  for (let before = -1; before < trusted.size; ) {
    before = trusted.size;
    for (const envelope of open) {
      if (findSigners(envelope, [...trusted.values()]).length === 0) continue;
      open.delete(envelope);
      const key = endorsedBy(envelope);
      if (key !== null) trusted.set(key.keyId, key);
    }
  }
  return [...trusted.values()];
}

/** The key for which an envelope vouches, whoever has signed it; null where it is of no such key. */
function endorsedBy({ payload }: Envelope): PublicKey | null {
  try {
    const { keyId, publicKey } = Endorsed.parse(JSON.parse(decodeUtf8(fromBase64(payload))));
    const key = readPublicKey(publicKey);
    return key.keyId === keyId ? key : null;
  } catch (error) {
    if (error instanceof KeyError || error instanceof z.ZodError || error instanceof SyntaxError) return null;
    throw error;
  }
}
