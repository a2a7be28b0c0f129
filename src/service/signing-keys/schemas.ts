// Schemas of the signing keys of the service.

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
    keyId: Digest.describe('SHA-256 of the public key (SubjectPublicKeyInfo), used as `keyid` in envelopes.'),
    publicKey: z.string().describe('The Ed25519 public key in PEM.'),
    verifierKey: z.string().describe('The public key as a verifier key for signed notes (c2sp.org/signed-note), to verify checkpoints.'),
    createdAt: timestamp,
    retiredAt: timestamp.nullable().describe('When the key was replaced. Null for the current key.'),
    endorsement: SignedStatement.nullable().describe(
      'Statement in which the previous key endorses this key. Null for the first key, and for a key that replaced a lost key.',
    ),
  })
  .meta({
    id: 'SigningKey',
    description: 'A key with which the service signs the provenance of builds and drivers, and checkpoints.',
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
