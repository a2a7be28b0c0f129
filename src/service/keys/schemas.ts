// Schemas of API keys.

import { z } from 'zod';
import { DisplayName, exampleIdentifier, ScopeText, Timestamp } from '../../protocol/identifiers.ts';
import { identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { orderQuery, rangeQuery } from '../http/list-schemas.ts';
import { roles, rolesWithScope } from '../roles.ts';

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
  expiresAt: '2027-11-23T09:30:00.000Z',
  requestsPerMinute: null,
  scope: null,
  createdAt: '2026-11-23T09:30:00.000Z',
  createdBy: 'key_019365a0b1c27d3e8f4a5b6c7d8e9f0a',
  lastUsedAt: null,
  revokedAt: null,
} as const;

export const NewKey = z
  .strictObject({
    name: DisplayName.describe('Display name, unique among valid keys.'),
    role: Role,
    host: DisplayName.optional().describe(
      'Name of the host that the key can register. Required with, and only allowed with, the role `agent`.',
    ),
    expiresAt: Timestamp.nullable()
      .default(null)
      .describe('When the key stops working (RFC 3339). Null: never.')
      .meta({ examples: [keyExample.expiresAt] }),
    requestsPerMinute: z
      .int()
      .min(1)
      .max(1_000_000_000)
      .nullable()
      .default(null)
      .describe('Maximum requests of the key a minute, if it is less than the limit of the service. Null: the limit of the service.'),
    scope: ScopeText.nullable()
      .default(null)
      .describe(
        'The devices that the key can use: those that match this label selector at each request, or one of several such as `(zone=north) or (tier=edge)`. Others do not exist for it, and it cannot use operations of the whole fleet. Only with the roles `viewer`, `operator` and `publisher`. Null: all devices.',
      ),
  })
  .refine(({ role, host }) => (role === 'agent') === (host !== undefined), {
    path: ['host'],
    message: 'is required with "role": "agent", and not allowed otherwise',
  })
  .refine(({ role, scope }) => scope === null || rolesWithScope.some((allowed) => allowed === role), {
    path: ['scope'],
    message: `is allowed with the roles ${rolesWithScope.join(', ')} only: an admin key changes the whole fleet, and an agent key registers a host`,
  })
  .meta({
    id: 'NewKey',
    examples: [
      { name: 'release-pipeline', role: 'publisher', expiresAt: keyExample.expiresAt },
      { name: 'on-call-north', role: 'operator', scope: 'zone=north' },
    ],
  });

export const Key = z
  .object({
    id: identifier('key'),
    name: z.string(),
    role: Role,
    host: z.string().nullable().describe('Name of the host that a key with the role `agent` can register. Null for other roles.'),
    expiresAt: timestamp.nullable().describe('When the key stops working. Null: never.'),
    requestsPerMinute: z.int().nullable().describe('Maximum requests of the key a minute. Null: the limit of the service.'),
    scope: z
      .string()
      .nullable()
      .describe('The devices that the key can use: a label selector, or several such as `(zone=north) or (tier=edge)`. Null: all devices.'),
    createdAt: timestamp,
    createdBy: z.string().describe('Identifier of the API key or user that created it, or `service`.'),
    lastUsedAt: timestamp.nullable().describe('When the key was last used, accurate to a minute. Null if never.'),
    revokedAt: timestamp.nullable().describe('When the key was revoked. Null if it was not.'),
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
    id: z
      .string()
      .nullable()
      .describe('Identifier of the API key, or of the user who signed in. Null if authentication is disabled.')
      .meta({ examples: [exampleIdentifier('key')] }),
    name: z.string().nullable().describe('Name of the key or user. Null if unknown.'),
    role: Role.describe('The role of the key; the first role of a user who has several.'),
    expiresAt: timestamp.nullable().describe('When the key, token or session stops working. Null: never.'),
    grantedRoles: z
      .array(Role)
      .describe('The roles that the key or user has: its own and those that these include. An operation requires one of them.'),
    scope: z
      .string()
      .nullable()
      .describe(
        'The devices that the key or user can use: a label selector, or several such as `(zone=north) or (tier=edge)`. Null: all devices.',
      ),
  })
  .meta({
    id: 'CurrentKey',
    description: 'The API key of the request, or the user who signed in.',
    examples: [
      {
        id: exampleIdentifier('key'),
        name: 'on-call-north',
        role: 'operator',
        expiresAt: null,
        grantedRoles: ['viewer', 'operator'],
        scope: 'zone=north',
      },
    ],
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
