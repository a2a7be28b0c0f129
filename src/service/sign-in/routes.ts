// Signing in with the identity provider: /sign-in (for browsers), /v1/sign-in-options, /v1/sessions/current and /v1/users.

import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { sessionSecret, setSessionCookie } from '../http/access.ts';
import { parsePageByTime, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, getRequester } from '../http/route.ts';
import { Problem } from '../problem.ts';
import type { IdentityProvider } from './identity-provider.ts';
import type { UserRecord } from './repository.ts';
import { PendingCookie, SignedOut, SignInOptions, signInQuery, User, UserPage, userParameter, userQuery } from './schemas.ts';
import { rolesFrom, type Users } from './users.ts';

const tags = ['users'];
/** The cookie that a browser keeps while it is at the provider. */
const pendingCookie = 'patchbay-sign-in';
/** Seconds within which a person must sign in at the provider. */
const pendingLifetime = 900;
const paths = { start: '/sign-in', callback: '/sign-in/callback' } as const;

/** Why a sign-in failed, for the dashboard. */
type Failure = 'no-role' | 'no-devices' | 'unavailable' | 'expired' | 'failed';

type Uses = { readonly users: Users; readonly damagedRows: DamagedRows };

export function addSignInRoutes(app: Api, uses: Uses): void {
  addOptionsRoute(app, uses);
  addBrowserRoutes(app, uses);
  addSessionRoute(app, uses);
  addUserRoutes(app, uses);
}

function addOptionsRoute(app: Api, { users }: Uses): void {
  app.get(
    '/v1/sign-in-options',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getSignInOptions',
        tags,
        summary: 'Get the ways to sign in',
        description: 'Returns how people can sign in to the dashboard, besides with API keys.',
        response: { 200: SignInOptions.describe('The ways to sign in.'), ...problems() },
      },
    },
    async () => ({ provider: users.provider === null ? null : { name: users.provider.settings.name, path: paths.start } }),
  );
}

/** Redirects browsers to the provider and back. These pages are not for API clients, so the OpenAPI document leaves them out. */
function addBrowserRoutes(app: Api, { users }: Uses): void {
  app.get(paths.start, { config: { access: 'public' }, schema: { hide: true, querystring: signInQuery } }, async (request, reply) => {
    const provider = requireProvider(users);
    try {
      const { page, pending } = await provider.begin(callbackUrl(request, provider));
      keepPending(request, reply, { ...pending, return: localPath(request.query.return) });
      return await reply.redirect(page.href, 303);
    } catch (error) {
      return failed(request, reply, error);
    }
  });

  app.get(paths.callback, { config: { access: 'public' }, schema: { hide: true } }, async (request, reply) => {
    const provider = requireProvider(users);
    const pending = readPending(request);
    keepPending(request, reply, null);
    if (pending === null) return toDashboard(reply, '/', 'expired');
    try {
      const url = callbackUrl(request, provider);
      const identity = await provider.complete(new URL(`${url}?${request.url.split('?')[1] ?? ''}`), pending);
      setSessionCookie(request, reply, await users.openSession(identity, request.id));
      // Another site of the same domain may have set the cookie.
      return await toDashboard(reply, localPath(pending.return));
    } catch (error) {
      return failed(request, reply, error);
    }
  });
}

function addSessionRoute(app: Api, { users }: Uses): void {
  app.delete(
    '/v1/sessions/current',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'endCurrentSession',
        tags,
        summary: 'End the current session',
        description:
          'Signs the browser out of the dashboard. It stays signed in at the identity provider. Without a session, the request has no effect.',
        response: { 204: z.null().describe('The session has ended.'), ...problems() },
      },
    },
    async (request, reply) => {
      const secret = sessionSecret(request);
      if (secret !== null) await users.endSession(secret, getRequester(request));
      setSessionCookie(request, reply, null);
      return reply.status(204).send(null);
    },
  );
}

function addUserRoutes(app: Api, { users, damagedRows }: Uses): void {
  app.get(
    '/v1/users',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'listUsers',
        tags,
        summary: 'List users',
        description: 'Lists the people and other clients of the identity provider who have signed in or sent a token.',
        querystring: userQuery,
        response: { 200: UserPage.describe('A page of users.'), ...problems() },
      },
    },
    async (request, reply) => {
      const page = await users.list(parsePageByTime(request));
      return sendPage(request, reply, page, { kind: 'user', schema: User, idOf: ({ id }) => id, toItem: toUser, damagedRows });
    },
  );

  app.get(
    '/v1/users/:user',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'getUser',
        tags,
        summary: 'Get a user',
        params: userParameter,
        response: { 200: User.describe('The user.'), ...problems('not-found') },
      },
    },
    async ({ params }) => toUser(await users.find(params.user)),
  );

  app.post(
    '/v1/users/:user/sign-out',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'signOutUser',
        tags,
        summary: 'Sign a user out',
        description:
          'Ends all sessions of the user. Tokens of the identity provider stay valid until they expire, and the user can sign in again: to prevent both, remove the role or the user at the provider.',
        params: userParameter,
        response: { 200: SignedOut.describe('The sessions have ended.'), ...postProblems('not-found') },
      },
    },
    async (request) => ({ sessions: await users.signOut(request.params.user, getRequester(request)) }),
  );
}

function requireProvider({ provider }: Users): IdentityProvider {
  if (provider === null)
    throw new Problem(
      'not-found',
      'the service has no identity provider: sign in with an API key, or start the service with --oidc-issuer',
    );
  return provider;
}

/** Returns the URL at which the provider sends the browser back; it must be registered there. */
function callbackUrl(request: FastifyRequest, { settings }: IdentityProvider): string {
  const origin = settings.publicUrl?.origin ?? `${request.protocol}://${request.host}`;
  return `${origin}${paths.callback}`;
}

/** Returns a path of this service; anything else, which could lead to another site, becomes the start page. */
function localPath(path = '/'): string {
  return /^\/(?![/\\])[\x21-\x7e]*$/.test(path) ? path : '/';
}

function keepPending(request: FastifyRequest, reply: FastifyReply, pending: z.infer<typeof PendingCookie> | null): void {
  // Lax: the browser comes back from another site.
  const options = { path: paths.start, httpOnly: true, sameSite: 'lax', secure: request.protocol === 'https' } as const;
  if (pending === null) reply.clearCookie(pendingCookie, options);
  else reply.setCookie(pendingCookie, Buffer.from(JSON.stringify(pending)).toString('base64url'), { ...options, maxAge: pendingLifetime });
}

function readPending(request: FastifyRequest): z.infer<typeof PendingCookie> | null {
  try {
    return PendingCookie.parse(JSON.parse(Buffer.from(request.cookies[pendingCookie] ?? '', 'base64url').toString()));
  } catch {
    return null;
  }
}

/** Returns the browser to the dashboard, which explains the failure; the log has the details. */
function failed(request: FastifyRequest, reply: FastifyReply, error: unknown): FastifyReply {
  request.log.warn({ err: error }, 'a sign-in failed');
  return toDashboard(reply, '/', failureOf(error));
}

function failureOf(error: unknown): Failure {
  if (!(error instanceof Problem)) return 'failed';
  if (error.kind === 'forbidden') return 'no-role';
  if (error.kind === 'out-of-scope') return 'no-devices';
  return error.kind === 'provider-unavailable' ? 'unavailable' : 'failed';
}

function toDashboard(reply: FastifyReply, path: string, failure?: Failure): FastifyReply {
  return reply.header('cache-control', 'no-store').redirect(failure === undefined ? path : `${path}?sign-in=${failure}`, 303);
}

function toUser({ roles, createdAt, ...user }: UserRecord): z.infer<typeof User> {
  return { ...user, roles: rolesFrom(roles), createdAt: createdAt.toISOString() };
}
