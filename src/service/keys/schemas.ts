// Schemas of API keys.

import { z } from 'zod';
import { DisplayName, exampleIdentifier } from '../../protocol/identifiers.ts';
import { identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { orderQuery, rangeQuery } from '../http/list-schemas.ts';
import { roles } from '../roles.ts';

export const keyParameter = z.object({ key: identifier('key') });

const Role = z
  .enum(roles)
  .describe(
    'What the key permits. `viewer`: read everything except keys. `operator`: also load builds and manage devices, programs and rollouts. `publisher`: read as `viewer`, push and sign builds. ' +
      '`admin`: all of these, and manage API keys, signing keys, publisher keys and signature policies. `agent`: register one host.',
  )
  .meta({ id: 'Role' });

const keyExample = {
  id: exampleIdentifier('key'),
  name: 'release-pipeline',
  role: 'publisher',
  host: null,
  createdAt: '2026-11-23T09:30:00.000Z',
  createdBy: 'key_019365a0b1c27d3e8f4a5b6c7d8e9f0a',
  lastUsedAt: null,
  revokedAt: null,
} as const;

export const NewKey = z
  .strictObject({
    name: DisplayName.describe('Display name, unique among keys that are not revoked.'),
    role: Role,
    host: DisplayName.optional().describe(
      'Name of the host that the key can register. Required with, and only allowed with, the role `agent`.',
    ),
  })
  .refine(({ role, host }) => (role === 'agent') === (host !== undefined), {
    path: ['host'],
    message: 'is required with "role": "agent", and not allowed otherwise',
  })
  .meta({ id: 'NewKey', examples: [{ name: 'release-pipeline', role: 'publisher' }] });

export const Key = z
  .object({
    id: identifier('key'),
    name: z.string(),
    role: Role,
    host: z.string().nullable().describe('Name of the host that a key with the role `agent` can register. Null for other roles.'),
    createdAt: timestamp,
    createdBy: z.string().describe('Identifier of the API key that created it, or `service`.'),
    lastUsedAt: timestamp.nullable().describe('When the key was last used, accurate to a minute. Null if never.'),
    revokedAt: timestamp.nullable().describe('When the key was revoked. Null if it is valid.'),
  })
  .meta({ id: 'Key', description: 'An API key, without its secret.', examples: [keyExample] });

export const CreatedKey = Key.extend({
  secret: z.string().describe('The secret, for the header `Authorization: Bearer SECRET`. It is shown only once.'),
}).meta({
  id: 'CreatedKey',
  examples: [
    { ...keyExample, secret: `${exampleIdentifier('key').replace('key', 'patchbay')}_Xq3vS0m9pYkW5tRzB7uHcJ2nLd8fGaEo1iVxTr6wMsQ` },
  ],
});
export const CurrentKey = z
  .object({
    id: identifier('key').nullable().describe('Null if authentication is disabled.'),
    name: z.string().nullable(),
    role: Role,
    grantedRoles: z
      .array(Role)
      .describe('The roles that the key has: its own and those that its role includes. An operation requires one of them.'),
  })
  .meta({
    id: 'CurrentKey',
    description: 'The API key of the request.',
    examples: [{ id: exampleIdentifier('key'), name: 'on-call', role: 'operator', grantedRoles: ['viewer', 'operator'] }],
  });
export const KeyPage = pageSchema('KeyPage', Key);

export const keyQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  role: Role.optional()
    .describe('Only keys with this role.')
    .meta({ examples: ['admin'] }),
  revoked: z
    .enum(['true', 'false'])
    .optional()
    .describe('`true`: only revoked keys. `false`: only keys that are not revoked. Default: both.')
    .meta({ examples: ['false'] }),
});
