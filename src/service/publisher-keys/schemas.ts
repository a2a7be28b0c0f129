// Schemas of publisher keys.

import { z } from 'zod';
import { exampleIdentity, exampleTimes } from '../../protocol/examples.ts';
import { Digest, DisplayName, exampleIdentifier } from '../../protocol/identifiers.ts';
import { identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { orderQuery } from '../http/list-schemas.ts';

export const publisherKeyParameter = z.object({ publisherKey: identifier('publisher key') });

const exampleKey = { name: 'release-team', publicKey: exampleIdentity.publicKey };

export const NewPublisherKey = z
  .strictObject({
    name: DisplayName.describe('Display name, unique among publisher keys that are not revoked.'),
    publicKey: z.string().max(1_000).describe('The Ed25519 public key in PEM, as `openssl pkey -pubout` writes it.'),
  })
  .meta({ id: 'NewPublisherKey', examples: [exampleKey] });

export const PublisherKey = z
  .object({
    id: identifier('publisher key'),
    name: z.string(),
    keyId: Digest.describe('SHA-256 of the public key (SubjectPublicKeyInfo), used as `keyid` in envelopes.'),
    publicKey: z.string().describe('The Ed25519 public key in PEM.'),
    createdAt: timestamp,
    createdBy: z.string().describe('Identifier of the API key or user that registered it.'),
    revokedAt: timestamp.nullable().describe('When the key was revoked. Its signatures do not count from then on. Null if it is valid.'),
  })
  .meta({
    id: 'PublisherKey',
    description: 'The public key of a publisher who signs builds. Signature policies can require its signatures.',
    examples: [
      {
        id: exampleIdentifier('publisher key'),
        ...exampleKey,
        keyId: exampleIdentity.keyId,
        createdAt: exampleTimes.registered,
        createdBy: exampleIdentifier('key'),
        revokedAt: null,
      },
    ],
  });
export const PublisherKeyPage = pageSchema('PublisherKeyPage', PublisherKey);

export const publisherKeyQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  revoked: z
    .enum(['true', 'false'])
    .optional()
    .describe('`true`: only revoked keys. `false`: only keys that are not revoked. Default: both.')
    .meta({ examples: ['false'] }),
});
