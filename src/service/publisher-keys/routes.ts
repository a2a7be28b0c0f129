// /v1/publisher-keys: registers, lists and revokes publishers' public keys.

import type { z } from 'zod';
import { Digest } from '../../protocol/identifiers.ts';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { parsePageByTime, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import type { PublisherKeys } from './publisher-keys.ts';
import type { PublisherKeyRecord } from './repository.ts';
import { NewPublisherKey, PublisherKey, PublisherKeyPage, publisherKeyParameter, publisherKeyQuery } from './schemas.ts';

const tags = ['publisher keys'];

type Uses = { readonly publisherKeys: PublisherKeys; readonly damagedRows: DamagedRows };

export function addPublisherKeyRoutes(app: Api, uses: Uses): void {
  addCreationRoute(app, uses);
  addReadingRoutes(app, uses);
  addRevocationRoute(app, uses);
}

function addCreationRoute(app: Api, { publisherKeys }: Uses): void {
  app.post(
    '/v1/publisher-keys',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'createPublisherKey',
        tags,
        summary: 'Register a publisher key',
        description:
          'Registers the public key of a publisher. Its signatures can then be added to builds, and signature policies can require them. A revoked key cannot be registered again.',
        body: NewPublisherKey,
        response: { 201: PublisherKey.describe('The key is registered.'), ...postProblems('name-taken', 'too-many-keys') },
      },
    },
    async (request, reply) => {
      const created = await publisherKeys.create(request.body, getRequester(request), (created) => toStoredResponse(toCreated(created)));
      const { status, location, body } = toCreated(created);
      return reply.status(status).header('location', location).send(body);
    },
  );
}

function addReadingRoutes(app: Api, { publisherKeys, damagedRows }: Uses): void {
  app.get(
    '/v1/publisher-keys',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'listPublisherKeys',
        tags,
        summary: 'List publisher keys',
        querystring: publisherKeyQuery,
        response: { 200: PublisherKeyPage.describe('A page of publisher keys, sorted by `createdAt`.'), ...problems() },
      },
    },
    async (request, reply) => {
      const { revoked } = request.query;
      const filter = { isRevoked: revoked === undefined ? undefined : revoked === 'true' };
      const page = await publisherKeys.list(filter, parsePageByTime(request));
      return sendPage(request, reply, page, {
        kind: 'publisher key',
        schema: PublisherKey,
        idOf: ({ id }) => id,
        toItem: toPublisherKey,
        damagedRows,
      });
    },
  );

  app.get(
    '/v1/publisher-keys/:publisherKey',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'getPublisherKey',
        tags,
        summary: 'Get a publisher key',
        params: publisherKeyParameter,
        response: { 200: PublisherKey.describe('The key.'), ...problems('not-found') },
      },
    },
    async ({ params }) => toPublisherKey(await publisherKeys.find(params.publisherKey)),
  );
}

function addRevocationRoute(app: Api, { publisherKeys }: Uses): void {
  app.post(
    '/v1/publisher-keys/:publisherKey/revoke',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'revokePublisherKey',
        tags,
        summary: 'Revoke a publisher key',
        description:
          'Its signatures do not count for loads that are requested from then on. The key cannot be registered again. Revoking a key again has no effect.',
        params: publisherKeyParameter,
        response: { 200: PublisherKey.describe('The revoked key.'), ...postProblems('not-found') },
      },
    },
    async (request) => toPublisherKey(await publisherKeys.revoke(request.params.publisherKey, getRequester(request))),
  );
}

function toCreated(key: PublisherKeyRecord): CreatedResponse<201, z.infer<typeof PublisherKey>> {
  return { status: 201, location: `/v1/publisher-keys/${key.id}`, body: toPublisherKey(key) };
}

function toPublisherKey({ keyId, createdAt, revokedAt, ...key }: PublisherKeyRecord): z.infer<typeof PublisherKey> {
  return { ...key, keyId: Digest.parse(keyId), createdAt: createdAt.toISOString(), revokedAt: revokedAt?.toISOString() ?? null };
}
