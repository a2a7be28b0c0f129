// Who may use which route: each says which access it needs, and is not added if it does not; who makes a request is known before it is read.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { grantsRole, type KeyHolder, keyPrefix, type Role, rolesGranting } from '../roles.ts';
import { rejectCrossOrigin } from './browser-protection.ts';

/**
 * What a route needs: a key that may act in a role; what a host registers with (the join token, or a key of the role `agent`);
 * the token that a host got when it registered; or nothing.
 */
type Access = Exclude<Role, 'agent'> | 'registration' | 'host' | 'public';

/** Whether anybody is asked for a key. */
export type KeyPolicy = 'required' | 'off';

/** Who makes a request: nobody that is known, or anyone where no keys are asked for. */
export type Caller =
  | { readonly kind: 'unknown' | 'anyone' }
  | ({ readonly kind: 'key' } & KeyHolder)
  | { readonly kind: 'join-token' }
  | { readonly kind: 'host'; readonly id: string };

/** What tells who makes a request. */
export type Authentication = {
  readonly keys: {
    /** Who shows a key. @throws {Problem} `unauthenticated`. */
    authenticate(key: string | null): Promise<KeyHolder>;
  };
  readonly hosts: {
    /** The host whose token this is. @throws {Problem} `unauthenticated`. */
    authenticate(token: string | null): Promise<string>;
    /** @throws {Problem} `unauthenticated`. */
    checkJoinToken(token: string | null): void;
  };
  readonly denials: {
    /** Notes an attempt of a key at what its role does not allow. */
    record(holder: KeyHolder, needed: Role, operation: string, requester: Requester): Promise<void>;
  };
};

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
  }
}

/** What a route says of its access in the document. */
const securityOf: Readonly<Record<Access, readonly { readonly [scheme: string]: string[] }[]>> = {
  viewer: [{ apiKey: ['viewer'] }],
  operator: [{ apiKey: ['operator'] }],
  publisher: [{ apiKey: ['publisher'] }],
  admin: [{ apiKey: ['admin'] }],
  registration: [{ joinToken: [] }, { apiKey: ['agent'] }],
  host: [{ agentToken: [] }],
  public: [],
};

/** What a route of an access says of it to a reader. */
function needOf(access: Access): string | undefined {
  switch (access) {
    case 'public':
      return undefined;
    case 'registration':
      return 'Needs the join token, or a key of the role `agent`.';
    case 'host':
      return 'Needs the token that the host got when it registered.';
    default:
      return `Needs a key of the role ${rolesGranting(access)
        .map((role) => `\`${role}\``)
        .join(' or ')}.`;
  }
}

/** The pages of the documentation are no routes of ours, and say nothing that is not in a public file. */
const documentationPath = /^\/documentation(\/|$)/;
const loopbackHost = /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:\d+)?$/;
const hostParameter = z.object({ host: z.string() });

const callers = new WeakMap<FastifyRequest, Caller>();

/** Who makes a request, once that is known. */
export function getCaller(request: FastifyRequest): Caller {
  return callers.get(request) ?? { kind: 'unknown' };
}

/** A caller as the audit trail names them. */
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

/** The token of `Authorization: Bearer TOKEN` (RFC 6750); null where there is none. */
export function bearerToken({ headers }: Pick<FastifyRequest, 'headers'>): string | null {
  return /^Bearer +([^ ]+) *$/i.exec(headers.authorization ?? '')?.[1] ?? null;
}

/**
 * Has every request to a route checked; to be called before routes are added.
 * @param count Counts a request when it is known who makes it, or that nobody knows; it may refuse the request.
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
    if (access === undefined) throw new Error(`${String(route.method)} ${route.url} does not say who may use it: give it config.access`);
    const description = [route.schema?.description, needOf(access)].filter((text) => text !== undefined).join('\n\n');
    route.schema = { ...route.schema, ...(description === '' ? {} : { description }), security: [...securityOf[access]] };
  });
  app.addHook('onRequest', async (request, reply) => {
    try {
      callers.set(request, await identify(request, authentication, keys));
    } finally {
      await count(request, reply);
    }
  });
}

/** @throws {Problem} `unauthenticated` where nobody is known, `forbidden` where they may not. */
async function identify(request: FastifyRequest, authentication: Authentication, policy: KeyPolicy): Promise<Caller> {
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
      return checkRole(request, authentication, await authentication.keys.authenticate(token), 'agent');
    }
    case 'host': {
      const id = await authentication.hosts.authenticate(token);
      const parameters = hostParameter.safeParse(request.params);
      if (parameters.success && parameters.data.host !== id)
        throw new Problem('forbidden', `the token is of the host ${id}, which may not speak for another`);
      return { kind: 'host', id };
    }
    default:
      if (policy === 'required') return checkRole(request, authentication, await authentication.keys.authenticate(token), access);
      checkIsLocal(request);
      // Without keys, another origin must not even start what is costly, such as an export. Following a link is allowed.
      if (request.headers['sec-fetch-mode'] !== 'navigate') rejectCrossOrigin(request);
      return { kind: 'anyone' };
  }
}

async function checkRole(request: FastifyRequest, { denials }: Authentication, holder: KeyHolder, needed: Role): Promise<Caller> {
  if (grantsRole(holder.role, needed)) return { kind: 'key', ...holder };
  const operation = `${request.method} ${request.routeOptions.url}`;
  // That it cannot be told does not open the door.
  await denials.record(holder, needed, operation, { actor: holder.id, requestId: request.id }).catch((error: unknown) => {
    request.log.error({ err: error }, 'could not tell of an attempt in the audit trail');
  });
  throw new Problem(
    'forbidden',
    `the key is of the role ${holder.role}, and this needs ${rolesGranting(needed).join(' or ')}: ask an administrator for such a key`,
  );
}

/** A page of the web whose name somebody lets point here would speak for whoever looks at it (DNS rebinding). */
function checkIsLocal({ headers }: FastifyRequest): void {
  // Not what a proxy forwards: that page could set such a header.
  const { host = '' } = headers;
  if (!loopbackHost.test(host))
    throw new Problem(
      'forbidden',
      `the service asks nobody for a key, so it answers to 127.0.0.1 and localhost only, not to "${host.slice(0, 100)}"`,
    );
}
