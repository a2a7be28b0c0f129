// API keys in the API.

import { z } from 'zod';
import { DisplayName, exampleIdentifier } from '../../protocol/identifiers.ts';
import { identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { orderQuery, rangeQuery } from '../http/list-schemas.ts';
import { roles } from '../roles.ts';

export const keyParameter = z.object({ key: identifier('key') });

const Role = z
  .enum(roles)
  .describe(
    'What the key may be used for. `viewer`: to read. `operator`: to read, to load builds, and to run programs and devices. `publisher`: to read, and to push builds. ' +
      '`admin`: all of these, and keys. `agent`: to register one host.',
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
    name: DisplayName.describe('What the key is known by; two keys of one name are not in use at once.'),
    role: Role,
    host: DisplayName.optional().describe('Name of the host that a key of the role `agent` registers; only for those.'),
  })
  .refine(({ role, host }) => (role === 'agent') === (host !== undefined), {
    path: ['host'],
    message: 'name the host with "role": "agent", and only there',
  })
  .meta({ id: 'NewKey', examples: [{ name: 'release-pipeline', role: 'publisher' }] });

export const Key = z
  .object({
    id: identifier('key'),
    name: z.string(),
    role: Role,
    host: z.string().nullable().describe('The host that a key of the role `agent` registers.'),
    createdAt: timestamp,
    createdBy: z.string().describe('Identifier of the key that made it, or `service`.'),
    lastUsedAt: timestamp.nullable().describe('Up to a minute late; null where it never was.'),
    revokedAt: timestamp.nullable().describe('Since when nobody can use it.'),
  })
  .meta({ id: 'Key', description: 'An API key, without its secret.', examples: [keyExample] });

export const CreatedKey = Key.extend({
  secret: z.string().describe('What to show as `Authorization: Bearer SECRET`. Nobody can see it again.'),
}).meta({
  id: 'CreatedKey',
  examples: [
    { ...keyExample, secret: `${exampleIdentifier('key').replace('key', 'patchbay')}_Xq3vS0m9pYkW5tRzB7uHcJ2nLd8fGaEo1iVxTr6wMsQ` },
  ],
});
export const CurrentKey = z
  .object({
    id: identifier('key').nullable().describe('Null where the service asks nobody for a key.'),
    name: z.string().nullable(),
    role: Role,
    grantedRoles: z.array(Role).describe('The roles that its own includes: what an operation needs is one of them.'),
  })
  .meta({
    id: 'CurrentKey',
    description: 'The API key that a request shows.',
    examples: [{ id: exampleIdentifier('key'), name: 'on-call', role: 'operator', grantedRoles: ['viewer', 'operator'] }],
  });
export const KeyPage = pageSchema('KeyPage', Key);

export const keyQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  role: Role.optional()
    .describe('Only keys of this role.')
    .meta({ examples: ['admin'] }),
  revoked: z
    .enum(['true', 'false'])
    .optional()
    .describe('Only keys that are revoked, or only those that are not.')
    .meta({ examples: ['false'] }),
});
