// Signs the envelopes that `src/proof` verifies.

import { utf8ToBytes } from '@noble/hashes/utils.js';
import { canonicalJson } from '../proof/canonical-json.ts';
import type { PublicKey } from '../proof/ed25519.ts';
import { endorsementType } from '../proof/endorsement.ts';
import { type Envelope, preAuthEncoding, type Signature } from '../proof/envelope.ts';
import { derivePublicKey, signMessage } from './private-key.ts';

/** Creates a signature for an envelope. @throws {KeyError} */
export function signEnvelope(envelope: Pick<Envelope, 'payloadType' | 'payload'>, privateKey: string): Signature {
  return { keyid: derivePublicKey(privateKey).keyId, sig: signMessage(privateKey, preAuthEncoding(envelope)).toBase64() };
}

/** Creates an envelope with a payload and one signature. @throws {KeyError} */
export function createSignedEnvelope(privateKey: string, payloadType: string, payload: string): Envelope {
  const envelope = { payloadType, payload: utf8ToBytes(payload).toBase64() };
  return { ...envelope, signatures: [signEnvelope(envelope, privateKey)] };
}

/** Creates the signed statement by which the holder of a private key endorses another key. @throws {KeyError} */
export function createEndorsement(privateKey: string, { keyId, pem }: PublicKey, createdAt: Date): Envelope {
  return createSignedEnvelope(privateKey, endorsementType, canonicalJson({ keyId, publicKey: pem, createdAt: createdAt.toISOString() }));
}
