// The service's signing keys in the API.

import { z } from 'zod';
import { Envelope } from '../../proof/envelope.ts';
import { exampleTimes } from '../../protocol/examples.ts';
import { Digest, exampleIdentifier } from '../../protocol/identifiers.ts';
import { identifier, pageOf, pageQuery, timestamp } from './common.ts';
import { orderQuery } from './lists.ts';

export const signingKeyParameter = z.object({ signingKey: identifier('signing key') });

export const exampleKeyId = 'sha256:5a2c5a1d9c2f0c6c9be1e4cfa0e6f8a3d40a5c9a1b7a2f2b1dc2a68f9d3e7b10';

export const exampleOrigin = 'patchbay/5a2c5a1d9c2f0c6c';

export const SignedStatement = Envelope.meta({
  id: 'Envelope',
  description: 'A signed statement: a DSSE envelope (github.com/secure-systems-lab/dsse).',
});

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
        keyId: exampleKeyId,
        publicKey: '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n',
        verifierKey: `${exampleOrigin}+8f1d2c3b+ARm/RAlphM3+hUG6wWfcO5bIUIaqMLa2ywxcOK1wMWbh`,
        createdAt: exampleTimes.registered,
        retiredAt: null,
        endorsement: null,
      },
    ],
  });
export const SigningKeyPage = pageOf('SigningKeyPage', SigningKey);
export const signingKeyQuery = z.strictObject({ ...pageQuery, ...orderQuery });
