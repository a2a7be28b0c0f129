// /v1/keys: creates, lists and revokes API keys.

import type { z } from 'zod';
import { formatLabelSelector, type LabelSelector } from '../../protocol/label-selector.ts';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { getCaller, rolesOf, scopeOf } from '../http/access.ts';
import { parsePageByTime, parseTimeRange, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import { includedRoles } from '../roles.ts';
import { type Keys, type CreatedKey as KeyWithSecret, toRole } from './keys.ts';
import type { KeyRecord } from './repository.ts';
import { CreatedKey, CurrentKey, Key, KeyPage, keyParameter, keyQuery, NewKey } from './schemas.ts';

const tags = ['keys'];

type Uses = {
  readonly keys: Keys;
  /** Finds the user of a request. */
  readonly users: { find(id: string): Promise<{ readonly name: string | null }> };
  readonly damagedRows: DamagedRows;
};

export function addKeyRoutes(app: Api, uses: Uses): void {
  addCreationRoute(app, uses);
  addReadingRoutes(app, uses);
  addRevocationRoute(app, uses);
}

function addCreationRoute(app: Api, { keys }: Uses): void {
  app.post(
    '/v1/keys',
    {
      config: { access: 'admin', respondsWithSecret: true },
      schema: {
        operationId: 'createKey',
        tags,
        summary: 'Create an API key',
        description: 'The response contains the secret, which is shown only once: the service stores a digest of it.',
        body: NewKey,
        response: {
          201: CreatedKey.describe('The key was created.'),
          ...postProblems('name-taken', 'too-many-keys'),
        },
      },
    },
    async (request, reply) => {
      const { host = null, expiresAt, ...rest } = request.body;
      const terms = { ...rest, host, expiresAt: expiresAt === null ? null : new Date(expiresAt) };
      const created = await keys.create(terms, getRequester(request), (created) => toStoredResponse(toCreated(created)));
      const { status, location, body } = toCreated(created);
      return reply.status(status).header('location', location).header('cache-control', 'no-store').send(body);
    },
  );
}

function addReadingRoutes(app: Api, { keys, users, damagedRows }: Uses): void {
  app.get(
    '/v1/keys',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'listKeys',
        tags,
        summary: 'List API keys',
        querystring: keyQuery,
        response: { 200: KeyPage.describe('A page of keys, without their secrets.'), ...problems() },
      },
    },
    async (request, reply) => {
      const { role, revoked } = request.query;
      const filter = { role, isRevoked: revoked === undefined ? undefined : revoked === 'true', ...parseTimeRange(request.query) };
      const page = await keys.list(filter, parsePageByTime(request));
      return sendPage(request, reply, page, { kind: 'key', schema: Key, idOf: ({ id }) => id, toItem: toKey, damagedRows });
    },
  );

  app.get(
    '/v1/keys/current',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'getCurrentKey',
        tags,
        summary: 'Get the current API key or user',
        description:
          'Returns the API key of the request, or the user who signed in, with their roles. If authentication is disabled, the role is `admin`.',
        response: { 200: CurrentKey.describe('The key or user of the request.'), ...problems() },
      },
    },
    async (request) => {
      const caller = getCaller(request);
      if (caller.kind !== 'key' && caller.kind !== 'user')
        return { id: null, name: null, role: 'admin' as const, expiresAt: null, grantedRoles: includedRoles(['admin']), scope: null };
      const { name } = await (caller.kind === 'key' ? keys.find(caller.id) : users.find(caller.id));
      const granted = rolesOf(caller);
      const { id, expiresAt } = caller;
      return {
        id,
        name,
        role: granted[0] ?? ('viewer' as const),
        expiresAt: expiresAt?.toISOString() ?? null,
        grantedRoles: includedRoles(granted),
        scope: textOf(scopeOf(request)),
      };
    },
  );

  app.get(
    '/v1/keys/:key',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'getKey',
        tags,
        summary: 'Get an API key',
        params: keyParameter,
        response: { 200: Key.describe('The key, without its secret.'), ...problems('not-found') },
      },
    },
    async ({ params }) => toKey(await keys.find(params.key)),
  );
}

function addRevocationRoute(app: Api, { keys }: Uses): void {
  app.post(
    '/v1/keys/:key/revoke',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'revokeKey',
        tags,
        summary: 'Revoke an API key',
        description:
          'The key stops working immediately. Revoking a key again has no effect. The last key with the role `admin` cannot be revoked.',
        params: keyParameter,
        response: { 200: Key.describe('The revoked key.'), ...postProblems('not-found', 'last-admin') },
      },
    },
    async (request) => toKey(await keys.revoke(request.params.key, getRequester(request))),
  );
}

function toCreated({ key, secret }: KeyWithSecret): CreatedResponse<201, z.infer<typeof CreatedKey>> {
  return { status: 201, location: `/v1/keys/${key.id}`, body: { ...toKey(key), secret } };
}

const textOf = (scope: LabelSelector | null) => (scope === null ? null : formatLabelSelector(scope));

function toKey(key: KeyRecord): z.infer<typeof Key> {
  const { id, name, role, host, requestsPerMinute, scope, createdAt, createdBy, expiresAt, lastUsedAt, revokedAt } = key;
  return {
    id,
    name,
    role: toRole(role),
    host,
    expiresAt: expiresAt?.toISOString() ?? null,
    requestsPerMinute,
    scope,
    createdAt: createdAt.toISOString(),
    createdBy,
    lastUsedAt: lastUsedAt?.toISOString() ?? null,
    revokedAt: revokedAt?.toISOString() ?? null,
  };
}
