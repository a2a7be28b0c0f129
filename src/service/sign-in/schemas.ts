// Schemas of users and of ways to sign in.

import { z } from 'zod';
import { exampleIdentifier } from '../../protocol/identifiers.ts';
import { count, identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { orderQuery } from '../http/list-schemas.ts';
import { personRoles } from './role-rules.ts';

export const userParameter = z.object({ user: identifier('user') });
export const userQuery = z.strictObject({ ...pageQuery, ...orderQuery });

export const User = z
  .object({
    id: identifier('user'),
    name: z.string().nullable().describe('Name that the provider states. Null if it states none.'),
    email: z
      .string()
      .nullable()
      .describe('Email address that the provider states. Null if it states none, or one that it has not verified.'),
    issuer: z.string().describe('URL of the identity provider.'),
    subject: z.string().describe('Identifier of the person or client at the provider.'),
    roles: z
      .array(z.enum(personRoles))
      .describe(
        'The roles that the last sign-in or token gave. Empty if none, or if the user has not signed in since the service stores them.',
      ),
    scope: z
      .string()
      .nullable()
      .describe(
        'The devices that the last sign-in or token gave: a label selector, or several such as `(zone=north) or (tier=edge)`. Null: all devices, if the user has a role.',
      ),
    createdAt: timestamp.describe('When the user first signed in or sent a token.'),
  })
  .meta({
    id: 'User',
    description: 'A person or another client of the identity provider. The audit trail names users by their identifiers.',
    examples: [
      {
        id: exampleIdentifier('user'),
        name: 'Grace Hopper',
        email: 'grace@example.com',
        issuer: 'https://sso.example.com/',
        subject: '248289761001',
        roles: ['operator'],
        scope: 'zone=north',
        createdAt: '2026-11-23T09:30:00.000Z',
      },
    ],
  });
export const UserPage = pageSchema('UserPage', User);

export const SignedOut = z
  .object({ sessions: count.describe('Number of sessions that were ended.') })
  .meta({ id: 'SignedOut', examples: [{ sessions: 2 }] });

export const SignInOptions = z
  .object({
    provider: z
      .object({
        name: z.string().describe('Name of the identity provider.'),
        path: z.string().describe('Path of this service at which a browser starts to sign in.'),
      })
      .nullable()
      .describe('The identity provider with which people can sign in. Null: with API keys only.'),
  })
  .meta({
    id: 'SignInOptions',
    description: 'The ways to sign in, besides API keys.',
    examples: [{ provider: { name: 'Example SSO', path: '/sign-in' } }],
  });

/** Where a browser goes after it signed in: a path of the dashboard. */
export const signInQuery = z.object({ return: z.string().max(2_000).optional() });

/** What a browser keeps while it is at the provider. */
export const PendingCookie = z.object({ verifier: z.string(), state: z.string(), nonce: z.string(), return: z.string() });
