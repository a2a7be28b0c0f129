// Schemas of publisher signatures.

import { z } from 'zod';
import { exampleIdentity } from '../../protocol/examples.ts';
import { Digest } from '../../protocol/identifiers.ts';

export const NewSignature = z
  .strictObject({
    keyId: Digest.describe('SHA-256 of the public key (SubjectPublicKeyInfo) of a registered publisher key.'),
    signature: z
      .string()
      .regex(/^[A-Za-z0-9+/]{86}==$/, 'must be the 64 bytes of an Ed25519 signature in base64')
      .describe('Ed25519 signature of the DSSE pre-authentication encoding of the envelope from `getProvenance`, in base64.'),
  })
  .meta({ id: 'NewSignature', examples: [{ keyId: exampleIdentity.keyId, signature: exampleIdentity.signature }] });
