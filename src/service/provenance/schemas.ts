// Publishers' signatures of builds in the API.

import { z } from 'zod';
import { exampleIdentity } from '../../protocol/examples.ts';
import { Digest } from '../../protocol/identifiers.ts';

export const NewSignature = z
  .strictObject({
    keyId: Digest.describe('SHA-256 of the public key (SubjectPublicKeyInfo) of a publisher key that is registered.'),
    signature: z
      .string()
      .regex(/^[A-Za-z0-9+/]{86}==$/, 'must be the 64 bytes of an Ed25519 signature in base64')
      .describe("The key's signature of the pre-authentication encoding of the envelope of `getProvenance`, base64."),
  })
  .meta({ id: 'NewSignature', examples: [{ keyId: exampleIdentity.keyId, signature: exampleIdentity.signature }] });
