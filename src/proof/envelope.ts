// Signed statements: DSSE envelopes (github.com/secure-systems-lab/dsse, protocol 1.0), which may have several signatures.

import { concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { z } from 'zod';
import { type Bytes, fromBase64 } from './bytes.ts';
import { isSignedBy, type PublicKey, type SignatureCheck } from './ed25519.ts';

/** Maximum signatures of one envelope. */
export const signatureLimit = 100;

const base64 = z.string().regex(/^[A-Za-z0-9+/]*={0,2}$/, 'must be base64 (RFC 4648)');

export const Signature = z
  .object({
    keyid: z.string().max(128).describe('SHA-256 of the public key, as `sha256:` and 64 hexadecimal digits.'),
    sig: base64.max(256).describe('The Ed25519 signature, in base64.'),
  })
  .meta({ id: 'EnvelopeSignature' });
export type Signature = z.infer<typeof Signature>;

export const Envelope = z.object({
  payloadType: z.string().max(256),
  payload: base64.max(64 * 1024).describe('The signed payload, in base64.'),
  signatures: z.array(Signature).max(signatureLimit),
});
export type Envelope = z.infer<typeof Envelope>;

/** Parses an envelope in JSON; null if the text is not an envelope. */
export function readEnvelope(text: string): Envelope | null {
  try {
    return Envelope.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

/** Returns the signed bytes of an envelope: the pre-authentication encoding (PAE), which binds the payload to its type. */
export function preAuthEncoding({ payloadType, payload }: Pick<Envelope, 'payloadType' | 'payload'>): Bytes {
  const bytes = fromBase64(payload);
  return concatBytes(utf8ToBytes(`DSSEv1 ${utf8ToBytes(payloadType).length} ${payloadType} ${bytes.length} `), bytes);
}

/** Returns the keys that have signed the envelope. */
export function findSigners<Key extends PublicKey>(envelope: Envelope, keys: readonly Key[], isSigned: SignatureCheck = isSignedBy): Key[] {
  const message = preAuthEncoding(envelope);
  return keys.filter((key) => envelope.signatures.some(({ keyid, sig }) => keyid === key.keyId && isSigned(key, message, fromBase64(sig))));
}
