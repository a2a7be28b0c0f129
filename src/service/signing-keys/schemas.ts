// The service's signing keys in the API.

import { z } from 'zod';
import { exampleIdentity } from '../../protocol/examples.ts';
import { Digest, exampleIdentifier } from '../../protocol/identifiers.ts';
import { exampleServiceKey, SignedStatement } from '../../protocol/signed-statement.ts';
import { identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { orderQuery } from '../http/list-schemas.ts';

export const signingKeyParameter = z.object({ signingKey: identifier('signing key') });

export const SigningKey = z
  .object({
    id: identifier('signing key'),
    keyId: Digest.describe('SHA-256 of the public key (SubjectPublicKeyInfo), as envelopes name it.'),
    publicKey: z.string().describe('The Ed25519 public key in PEM.'),
    verifierKey: z.string().describe('The same, as tools for signed notes take it (c2sp.org/signed-note): to check checkpoints.'),
    createdAt: timestamp,
    retiredAt: timestamp.nullable().describe('Since when nothing is signed with it; null for the one that is used.'),
    endorsement: SignedStatement.nullable().describe(
      'The statement by which the key before it vouches for it; null for the first, and for one that was made because that key was lost.',
    ),
  })
  .meta({
    id: 'SigningKey',
    description: 'A key that the service signs builds and checkpoints of the audit trail with.',
    examples: [
      {
        id: exampleIdentifier('signing key'),
        ...exampleServiceKey,
        verifierKey: `${exampleIdentity.origin}+8f1d2c3b+ARm/RAlphM3+hUG6wWfcO5bIUIaqMLa2ywxcOK1wMWbh`,
        retiredAt: null,
      },
    ],
  });
export const SigningKeyPage = pageSchema('SigningKeyPage', SigningKey);
export const signingKeyQuery = z.strictObject({ ...pageQuery, ...orderQuery });
