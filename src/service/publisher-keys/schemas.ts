// Publishers' keys in the API.

import { z } from 'zod';
import { exampleIdentity, exampleTimes } from '../../protocol/examples.ts';
import { Digest, DisplayName, exampleIdentifier } from '../../protocol/identifiers.ts';
import { identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { orderQuery } from '../http/list-schemas.ts';

export const publisherKeyParameter = z.object({ publisherKey: identifier('publisher key') });

const exampleKey = { name: 'release-team', publicKey: exampleIdentity.publicKey };

export const NewPublisherKey = z
  .strictObject({
    name: DisplayName.describe('What the key is known by; two keys of one name are not in use at once.'),
    publicKey: z.string().max(1_000).describe('The Ed25519 public key in PEM, as `openssl pkey -pubout` writes it.'),
  })
  .meta({ id: 'NewPublisherKey', examples: [exampleKey] });

export const PublisherKey = z
  .object({
    id: identifier('publisher key'),
    name: z.string(),
    keyId: Digest.describe('SHA-256 of the public key (SubjectPublicKeyInfo), as envelopes name it.'),
    publicKey: z.string().describe('The Ed25519 public key in PEM.'),
    createdAt: timestamp,
    createdBy: z.string().describe('Identifier of the key that registered it.'),
    revokedAt: timestamp.nullable().describe('Since when its signatures do not count.'),
  })
  .meta({
    id: 'PublisherKey',
    description: 'The public key of somebody whose signatures of builds devices can be made to demand.',
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
    .describe('Only keys that are revoked, or only those that are not.')
    .meta({ examples: ['false'] }),
});
