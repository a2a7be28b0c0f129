// Access control: every route declares the access that it requires, and the caller is authenticated before the request body is read.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { formatLabelSelector, type LabelSelector } from '../../protocol/label-selector.ts';
import { Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import {
  type DenialCause,
  type Denied,
  grantRole,
  type KeyHolder,
  keyPrefix,
  type Role,
  rolesGranting,
  type UserHolder,
} from '../roles.ts';
import { rejectCrossOrigin } from './browser-protection.ts';

/**
 * The access that a route requires: an API key that grants a role; a registration credential (the join token, or a key with the role `agent`);
 * the token that a host received at registration; or none.
 */
type Access = Exclude<Role, 'agent'> | 'registration' | 'host' | 'public';

/**
 * How a route honours the scope of a key or user: it has a path with an object, which must be in the scope; its handler leaves out all other devices; or it
 * concerns no devices. Without any of these, the route refuses callers with a scope.
 */
type ScopeRule = 'path' | 'filter' | 'unrelated';

/** Whether API keys are required. */
export type KeyPolicy = 'required' | 'off';

/** The authenticated caller of a request: `unknown` without a valid credential, `anyone` if API keys are not required. */
export type Caller =
  | { readonly kind: 'unknown' | 'anyone' }
  | ({ readonly kind: 'key' } & KeyHolder)
  | ({ readonly kind: 'user' } & UserHolder)
  | { readonly kind: 'join-token' }
  | { readonly kind: 'host'; readonly id: string };

/** Authenticates the callers of requests. */
export type Authentication = {
  readonly keys: {
    /** Returns the holder of an API key. @throws {Problem} `unauthenticated`. */
    authenticate(key: string | null): Promise<KeyHolder>;
  };
  readonly users: {
    /** Returns the holder of a session. @throws {Problem} `unauthenticated`. */
    authenticateSession(secret: string): Promise<UserHolder>;
    /** Returns the holder of a token of the identity provider. @throws {Problem} `unauthenticated`, `provider-unavailable`. */
    authenticateToken(token: string, requestId: string): Promise<UserHolder>;
  };
  readonly hosts: {
    /** Returns the identifier of the host with this token. @throws {Problem} `unauthenticated`. */
    authenticate(token: string | null): Promise<string>;
    /** @throws {Problem} `unauthenticated`. */
    checkJoinToken(token: string | null): void;
  };
  readonly denials: {
    /** Notes an attempt of a key or a user at what its roles or its scope do not allow. */
    record(denied: Denied, cause: DenialCause, operation: string, requester: Requester): Promise<void>;
  };
};

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
    scope?: ScopeRule;
  }
}

/** The security requirement of each access in the OpenAPI document. */
const securityRequirements: Readonly<Record<Access, readonly { readonly [scheme: string]: string[] }[]>> = {
  viewer: [{ apiKey: ['viewer'] }],
  operator: [{ apiKey: ['operator'] }],
  publisher: [{ apiKey: ['publisher'] }],
  admin: [{ apiKey: ['admin'] }],
  registration: [{ joinToken: [] }, { apiKey: ['agent'] }],
  host: [{ agentToken: [] }],
  public: [],
};

/** Returns the sentence that describes an access in the OpenAPI document; undefined for public routes. */
function describeAccess(access: Access): string | undefined {
  switch (access) {
    case 'public':
      return undefined;
    case 'registration':
      return 'Requires the join token or an API key with the role `agent`.';
    case 'host':
      return 'Requires the token that the host received at registration.';
    default:
      return `Requires an API key with the role ${rolesGranting(access)
        .map((role) => `\`${role}\``)
        .join(' or ')}.`;
  }
}

/** Returns the sentence on scopes in the OpenAPI document, for routes that other keys of the same role can use. */
function describeScope(access: Access, scope: ScopeRule | undefined): string | undefined {
  if (access === 'public' || access === 'registration' || access === 'host' || access === 'admin') return undefined;
  if (scope === undefined) return 'Keys and users with a scope cannot use it.';
  return scope === 'unrelated' ? undefined : 'For keys and users with a scope, devices outside of it do not exist.';
}

/** The documentation pages. They contain nothing that is not in a public file, and their plugin declares no access. */
const documentationPath = /^\/documentation(\/|$)/;
const loopbackHost = /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:\d+)?$/;
const hostParameter = z.object({ host: z.string() });

const callers = new WeakMap<FastifyRequest, Caller>();
const authentications = new WeakMap<FastifyRequest, Authentication>();

/** Returns the caller of a request; `unknown` until the request is authenticated. */
export function getCaller(request: FastifyRequest): Caller {
  return callers.get(request) ?? { kind: 'unknown' };
}

/** Returns whether the key, token or session of a request is still valid; true for other callers. */
export async function isStillAuthenticated(request: FastifyRequest): Promise<boolean> {
  const authentication = authentications.get(request);
  const { kind } = getCaller(request);
  if (authentication === undefined || (kind !== 'key' && kind !== 'user')) return true;
  try {
    await authenticate(request, authentication);
    return true;
  } catch (error) {
    // Not if the database or the provider is unavailable for a moment.
    return !(error instanceof Problem && error.kind === 'unauthenticated');
  }
}

/** Returns the time until the credential of a request expires, in milliseconds; infinite if it does not. */
export function millisecondsUntilExpiry(request: FastifyRequest): number {
  const caller = getCaller(request);
  const expiresAt = caller.kind === 'key' || caller.kind === 'user' ? caller.expiresAt : null;
  // At least a second: the clock of the service, which decides, may be behind.
  return expiresAt === null ? Number.POSITIVE_INFINITY : Math.max(1_000, expiresAt.getTime() - Date.now());
}

/** Returns the name of a caller in the audit trail. */
export function actorName(caller: Caller): string {
  switch (caller.kind) {
    case 'unknown':
    case 'anyone':
      return 'anonymous';
    case 'join-token':
      return 'join-token';
    default:
      return caller.id;
  }
}

/** Returns the token of `Authorization: Bearer TOKEN` (RFC 6750), or null. */
function bearerToken({ headers }: Pick<FastifyRequest, 'headers'>): string | null {
  return /^Bearer +([^ ]+) *$/i.exec(headers.authorization ?? '')?.[1] ?? null;
}

/** The cookie of a session, which a browser sends instead of a token. Only pages of the service can use it. */
const sessionCookie = 'patchbay-session';

/** Returns the secret of the session of a request, or null. */
export function sessionSecret(request: FastifyRequest): string | null {
  return request.cookies[sessionCookie] ?? null;
}

/** Sets the cookie of a session, or deletes it (null). Scripts cannot read it, and requests of other sites do not carry it. */
export function setSessionCookie(
  request: FastifyRequest,
  reply: FastifyReply,
  session: { readonly secret: string; readonly expiresAt: Date } | null,
): void {
  const options = { path: '/', httpOnly: true, sameSite: 'strict', secure: request.protocol === 'https' } as const;
  if (session === null) reply.clearCookie(sessionCookie, options);
  else reply.setCookie(sessionCookie, session.secret, { ...options, expires: session.expiresAt });
}

/** Returns the credential of a request: its token, otherwise its session; null without any. */
export function credentialOf(request: FastifyRequest): string | null {
  return bearerToken(request) ?? sessionSecret(request);
}

/**
 * Authenticates and authorizes every request. Call it before routes are added.
 * @param count Counts a request after authentication, successful or not; throws if the rate limit is exceeded.
 */
export function addAccessControl(
  app: FastifyInstance,
  authentication: Authentication,
  keys: KeyPolicy,
  count: (request: FastifyRequest, reply: FastifyReply) => Promise<void>,
): void {
  app.addHook('onRoute', (route) => {
    if (documentationPath.test(route.url)) return;
    const access = route.config?.access;
    if (access === undefined) throw new Error(`${String(route.method)} ${route.url} declares no access: set config.access`);
    const description = [route.schema?.description, describeAccess(access), describeScope(access, route.config?.scope)]
      .filter((text) => text !== undefined)
      .join('\n\n');
    route.schema = { ...route.schema, ...(description === '' ? {} : { description }), security: [...securityRequirements[access]] };
  });
  app.addHook('onRequest', async (request, reply) => {
    try {
      authentications.set(request, authentication);
      callers.set(request, await authorize(request, authentication, keys));
    } finally {
      await count(request, reply);
    }
  });
}

/** Returns the caller of a request. @throws {Problem} `unauthenticated` without a valid credential, `forbidden` if it does not grant the access. */
async function authorize(request: FastifyRequest, authentication: Authentication, policy: KeyPolicy): Promise<Caller> {
  const access = request.routeOptions.config.access ?? 'public';
  const token = bearerToken(request);
  switch (access) {
    case 'public':
      return { kind: 'unknown' };
    case 'registration': {
      if (token === null || !token.startsWith(keyPrefix)) {
        authentication.hosts.checkJoinToken(token);
        return { kind: 'join-token' };
      }
      return checkRole(request, authentication, { kind: 'key', ...(await authentication.keys.authenticate(token)) }, 'agent');
    }
    case 'host': {
      const id = await authentication.hosts.authenticate(token);
      const parameters = hostParameter.safeParse(request.params);
      if (parameters.success && parameters.data.host !== id)
        throw new Problem('forbidden', `the token belongs to host ${id} and is not valid for another host`);
      return { kind: 'host', id };
    }
    default:
      if (policy === 'required') return checkRole(request, authentication, await authenticate(request, authentication), access);
      checkIsLocal(request);
      // Without API keys, a page of another origin must not start an expensive operation, such as an export. Following a link is allowed.
      if (request.headers['sec-fetch-mode'] !== 'navigate') rejectCrossOrigin(request);
      return { kind: 'anyone' };
  }
}

/** Returns the scope of the caller of a request; null if all devices are in it. */
export function scopeOf(request: FastifyRequest): LabelSelector | null {
  const caller = getCaller(request);
  return caller.kind === 'key' || caller.kind === 'user' ? caller.scope : null;
}

type Holder = Extract<Caller, { kind: 'key' | 'user' }>;

/** A JWT (RFC 7519): three parts, of which the first is a JSON object. API keys have no dot. */
const jwtPattern = /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/;

/** Returns the holder of the key, the token of the identity provider, or the session of a request. @throws {Problem} `unauthenticated`, `provider-unavailable`. */
async function authenticate(request: FastifyRequest, { keys, users }: Authentication): Promise<Holder> {
  const token = bearerToken(request);
  if (token !== null && jwtPattern.test(token)) return { kind: 'user', ...(await users.authenticateToken(token, request.id)) };
  const session = token === null ? sessionSecret(request) : null;
  if (session === null) return { kind: 'key', ...(await keys.authenticate(token)) };
  // A browser adds the cookie to requests of any page.
  rejectCrossOrigin(request);
  return { kind: 'user', ...(await users.authenticateSession(session)) };
}

/** Returns the roles of a key or user. */
export function rolesOf(holder: Holder): readonly Role[] {
  return holder.kind === 'key' ? [holder.role] : holder.roles;
}

async function checkRole(request: FastifyRequest, authentication: Authentication, holder: Holder, needed: Role): Promise<Caller> {
  const roles = rolesOf(holder);
  if (grantRole(roles, needed)) return checkScope(request, authentication, holder);
  await recordDenial(request, authentication, holder, { needed });
  const { kind } = holder;
  const has = roles.length === 0 ? 'no role' : `the role ${roles.join(' and ')}`;
  throw new Problem(
    'forbidden',
    kind === 'key'
      ? `the API key has ${has}, but the operation requires ${rolesGranting(needed).join(' or ')}: ask an administrator for such a key`
      : `you have ${has}, but the operation requires ${rolesGranting(needed).join(' or ')}: ask an administrator for the role`,
  );
}

/** @throws {Problem} `out-of-scope` if the key or user has a scope that the route does not honour. */
async function checkScope(request: FastifyRequest, authentication: Authentication, holder: Holder): Promise<Caller> {
  const { kind, scope } = holder;
  if (scope === null || request.routeOptions.config.scope !== undefined) return holder;
  const text = formatLabelSelector(scope);
  await recordDenial(request, authentication, holder, { scope: text });
  throw new Problem(
    'out-of-scope',
    kind === 'key'
      ? `the operation is for the whole fleet, but the scope of the API key ${holder.id} is ${text}: ask an administrator for a key without a scope`
      : `the operation is for the whole fleet, but your scope is ${text}: ask an administrator for access to all devices`,
  );
}

/** Records a denied request in the audit trail. The request is denied even if that fails. */
async function recordDenial(request: FastifyRequest, { denials }: Authentication, holder: Holder, cause: DenialCause): Promise<void> {
  const { kind, id } = holder;
  const operation = `${request.method} ${request.routeOptions.url}`;
  await denials
    .record({ kind, id, roles: rolesOf(holder) }, cause, operation, { actor: id, requestId: request.id })
    .catch((error: unknown) => {
      request.log.error({ err: error }, 'could not record a denied request in the audit trail');
    });
}

/** Rejects requests for another host name: a web page whose name resolves to this machine could act for its visitor (DNS rebinding). */
function checkIsLocal({ headers }: FastifyRequest): void {
  // X-Forwarded-Host is not read: such a page could set it.
  const { host = '' } = headers;
  if (!loopbackHost.test(host))
    throw new Problem(
      'forbidden',
      `authentication is disabled, so the service accepts requests to 127.0.0.1 and localhost only, received Host "${host.slice(0, 100)}"`,
    );
}
