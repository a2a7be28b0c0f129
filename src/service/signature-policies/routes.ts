// Routes under /v1/signature-policies: administrators define the publisher signatures that devices require of builds.

import { z } from 'zod';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { computeEntityTag, ifMatchHeaders, ifNoneMatchHeaders, matchesIfMatch, matchesIfNoneMatch } from '../http/entity-tags.ts';
import { parsePageByTime, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import type { SignaturePolicyRecord } from './repository.ts';
import { NewSignaturePolicy, SignaturePolicy, SignaturePolicyPage, signaturePolicyParameter, signaturePolicyQuery } from './schemas.ts';
import type { SignaturePolicies, SignaturePolicyRequest } from './signature-policies.ts';

const tags = ['signature policies'];

type Uses = { readonly signaturePolicies: SignaturePolicies; readonly damagedRows: DamagedRows };

export function addSignaturePolicyRoutes(app: Api, uses: Uses): void {
  addCreationRoute(app, uses);
  addReadingRoutes(app, uses);
  addChangingRoutes(app, uses);
}

function addCreationRoute(app: Api, { signaturePolicies }: Uses): void {
  app.post(
    '/v1/signature-policies',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'createSignaturePolicy',
        tags,
        summary: 'Create a signature policy',
        description:
          'Devices that the policy applies to refuse builds without the required signatures: the load ends as `refused-image`. ' +
          'A policy applies to loads that are requested after its creation. If several policies apply to a device, a build must meet all of them.',
        body: NewSignaturePolicy,
        response: {
          201: SignaturePolicy.describe('The policy was created.'),
          ...postProblems('name-taken', 'too-many-policies'),
        },
      },
    },
    async (request, reply) => {
      const created = await signaturePolicies.create(toRequest(request.body), getRequester(request), (created) =>
        toStoredResponse(toCreated(created)),
      );
      const { status, location, body } = toCreated(created);
      return reply.status(status).header('location', location).send(body);
    },
  );
}

function addReadingRoutes(app: Api, { signaturePolicies, damagedRows }: Uses): void {
  app.get(
    '/v1/signature-policies',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'listSignaturePolicies',
        tags,
        summary: 'List signature policies',
        querystring: signaturePolicyQuery,
        response: { 200: SignaturePolicyPage.describe('A page of signature policies, sorted by `createdAt`.'), ...problems() },
      },
    },
    async (request, reply) => {
      const page = await signaturePolicies.list(parsePageByTime(request));
      return sendPage(request, reply, page, {
        kind: 'signature policy',
        schema: SignaturePolicy,
        idOf: ({ id }) => id,
        toItem: toPolicy,
        damagedRows,
      });
    },
  );

  app.get(
    '/v1/signature-policies/:signaturePolicy',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'getSignaturePolicy',
        tags,
        summary: 'Get a signature policy',
        description: 'The response has an `ETag`. Send it as `If-Match` to replace or delete the policy only if it has not changed.',
        params: signaturePolicyParameter,
        headers: ifNoneMatchHeaders,
        response: {
          200: SignaturePolicy.describe('The policy.'),
          304: z.null().describe('The policy has not changed: its `ETag` is in `If-None-Match`.'),
          ...problems('not-found'),
        },
      },
    },
    async ({ params, headers }, reply) => {
      const policy = toPolicy(await signaturePolicies.find(params.signaturePolicy));
      const etag = computeEntityTag(policy);
      reply.header('etag', etag);
      return matchesIfNoneMatch(headers, etag) ? reply.status(304).send(null) : reply.send(policy);
    },
  );
}

function addChangingRoutes(app: Api, { signaturePolicies }: Uses): void {
  app.put(
    '/v1/signature-policies/:signaturePolicy',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'replaceSignaturePolicy',
        tags,
        summary: 'Replace a signature policy',
        description:
          'Replaces the policy atomically. ' + 'With `If-Match`, the request fails with 412 if the policy has changed since it was read.',
        params: signaturePolicyParameter,
        headers: ifMatchHeaders,
        body: NewSignaturePolicy,
        response: {
          200: SignaturePolicy.describe('The new policy, with its `ETag`.'),
          ...problems('not-found', 'precondition-failed', 'name-taken', 'too-large', 'unsupported-media-type'),
        },
      },
    },
    async (request, reply) => {
      const isExpected = (current: SignaturePolicyRecord) => matchesIfMatch(request.headers, computeEntityTag(toPolicy(current)));
      const replaced = await signaturePolicies.replace(
        request.params.signaturePolicy,
        toRequest(request.body),
        isExpected,
        getRequester(request),
      );
      const policy = toPolicy(replaced);
      return reply.header('etag', computeEntityTag(policy)).send(policy);
    },
  );

  app.delete(
    '/v1/signature-policies/:signaturePolicy',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'deleteSignaturePolicy',
        tags,
        summary: 'Delete a signature policy',
        description:
          'The policy does not apply to loads that are requested from then on. With `If-Match`, the request fails with 412 if the policy has changed since it was read.',
        params: signaturePolicyParameter,
        headers: ifMatchHeaders,
        response: { 204: z.null().describe('The policy was deleted.'), ...problems('not-found', 'precondition-failed') },
      },
    },
    async (request, reply) => {
      const isExpected = (current: SignaturePolicyRecord) => matchesIfMatch(request.headers, computeEntityTag(toPolicy(current)));
      await signaturePolicies.remove(request.params.signaturePolicy, isExpected, getRequester(request));
      return reply.status(204).send(null);
    },
  );
}

function toRequest(body: z.infer<typeof NewSignaturePolicy>): SignaturePolicyRequest {
  const { device = null, labels = null, selector = null, group = null, module = null, threshold = null, ...rest } = body;
  return { ...rest, module, threshold, scope: { device, labels, selector, group } };
}

function toCreated(policy: SignaturePolicyRecord): CreatedResponse<201, z.infer<typeof SignaturePolicy>> {
  return { status: 201, location: `/v1/signature-policies/${policy.id}`, body: toPolicy(policy) };
}

function toPolicy(policy: SignaturePolicyRecord): z.infer<typeof SignaturePolicy> {
  const { id, name, deviceId, labels, selector, groupId, module, publisherKeys, threshold, createdAt } = policy;
  return {
    id,
    name,
    device: deviceId,
    labels: labels && { ...labels },
    selector,
    group: groupId,
    module,
    publisherKeys: [...publisherKeys],
    threshold,
    createdAt: createdAt.toISOString(),
  };
}
