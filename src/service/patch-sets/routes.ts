// /v1/patch-sets: creates and lists patch sets, and returns their provenance.

import { z } from 'zod';
import { readEnvelope } from '../../proof/envelope.ts';
import { SignedStatement } from '../../protocol/signed-statement.ts';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { computeEntityTag, ifNoneMatchHeaders, matchesIfNoneMatch } from '../http/entity-tags.ts';
import { parsePageByTime, parseTimeRange, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import { readBuildOptions } from '../modules/build-provenance.ts';
import type { CreatedPatchSet, PatchSets } from './patch-sets.ts';
import type { PatchSetMemberRecord, PatchSetRecord } from './repository.ts';
import { NewPatchSet, PatchSet, PatchSetPage, patchSetParameter, patchSetQuery } from './schemas.ts';

const tags = ['patch sets'];

type Uses = { readonly patchSets: PatchSets; readonly damagedRows: DamagedRows };

export function addPatchSetRoutes(app: Api, uses: Uses): void {
  addCreationRoute(app, uses);
  addListRoute(app, uses);
  addSinglePatchSetRoutes(app, uses);
}

function addCreationRoute(app: Api, { patchSets }: Uses): void {
  app.post(
    '/v1/patch-sets',
    {
      config: { access: 'publisher', scope: 'unrelated' },
      schema: {
        operationId: 'createPatchSet',
        tags,
        summary: 'Create a patch set',
        description:
          'Creates a set of 2 to 16 builds of different modules. Builds whose imports or declared dependencies other builds of the set do not meet are rejected. ' +
          'Creating the same set again returns the existing set with 200. A version is immutable, and the images of its builds are not pruned.',
        body: NewPatchSet,
        response: {
          200: PatchSet.describe('The patch set already exists.'),
          201: PatchSet.describe('The patch set was created.'),
          ...postProblems('version-exists', 'image-pruned', 'build-yanked'),
        },
      },
    },
    async (request, reply) => {
      const created = await patchSets.create(request.body, getRequester(request), (patchSet) => toStoredResponse(toCreated(patchSet)));
      const { status, location, body } = toCreated(created);
      return reply.status(status).header('location', location).send(body);
    },
  );
}

function addListRoute(app: Api, { patchSets, damagedRows }: Uses): void {
  app.get(
    '/v1/patch-sets',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'listPatchSets',
        tags,
        summary: 'List patch sets',
        querystring: patchSetQuery,
        response: { 200: PatchSetPage.describe('A page of patch sets, sorted by `createdAt`.'), ...problems() },
      },
    },
    async (request, reply) => {
      const { name, version, module } = request.query;
      const page = await patchSets.list({ name, version, module, ...parseTimeRange(request.query) }, parsePageByTime(request));
      return sendPage(request, reply, page, {
        kind: 'patch set',
        schema: PatchSet,
        idOf: ({ id }) => id,
        toItem: toPatchSet,
        damagedRows,
      });
    },
  );
}

function addSinglePatchSetRoutes(app: Api, { patchSets }: Uses): void {
  app.get(
    '/v1/patch-sets/:patchSet',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'getPatchSet',
        tags,
        summary: 'Get a patch set',
        description: 'A patch set is immutable.',
        params: patchSetParameter,
        headers: ifNoneMatchHeaders,
        response: {
          200: PatchSet.describe('The patch set, with an `ETag`.'),
          304: z.null().describe('The patch set has not changed: its `ETag` is in `If-None-Match`.'),
          ...problems('not-found'),
        },
      },
    },
    async ({ params, headers }, reply) => {
      const patchSet = toPatchSet(await patchSets.find(params.patchSet));
      const etag = computeEntityTag(patchSet);
      reply.header('etag', etag);
      return matchesIfNoneMatch(headers, etag) ? reply.status(304).send(null) : reply.send(patchSet);
    },
  );

  app.get(
    '/v1/patch-sets/:patchSet/provenance',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'getPatchSetProvenance',
        tags,
        summary: 'Get the provenance of a patch set',
        description:
          'Returns a DSSE envelope, signed by the service. Its payload is an in-toto Statement (`https://in-toto.io/Statement/v1`) about the images of the members, with SLSA provenance ' +
          '(`https://slsa.dev/provenance/v1`): the name and version of the set, its builds, the API key, the time and the request. Each build also has a provenance of its own.',
        params: patchSetParameter,
        headers: ifNoneMatchHeaders,
        response: {
          200: SignedStatement.describe('The envelope, with an `ETag`.'),
          304: z.null().describe('The envelope has not changed: its `ETag` is in `If-None-Match`.'),
          ...problems('not-found'),
        },
      },
    },
    async ({ params, headers }, reply) => {
      const envelope = await patchSets.findProvenance(params.patchSet);
      const etag = computeEntityTag(envelope);
      reply.header('etag', etag);
      return matchesIfNoneMatch(headers, etag) ? reply.status(304).send(null) : reply.send(envelope);
    },
  );
}

function toCreated({ patchSet, isNew }: CreatedPatchSet): CreatedResponse<200 | 201, z.infer<typeof PatchSet>> {
  return { status: isNew ? 201 : 200, location: `/v1/patch-sets/${patchSet.id}`, body: toPatchSet(patchSet) };
}

/** Returns the representation of a patch set in the API. */
function toPatchSet({ id, name, version, members, createdAt, createdBy, envelope }: PatchSetRecord): z.infer<typeof PatchSet> {
  return {
    id,
    name,
    version,
    members: members.map(toMember),
    createdAt: createdAt.toISOString(),
    createdBy,
    signedBy: readEnvelope(envelope)?.signatures.map(({ keyid }) => keyid) ?? [],
  };
}

function toMember(member: PatchSetMemberRecord): z.infer<typeof PatchSet>['members'][number] {
  const { module, version, buildId, imageDigest } = member;
  // Dependencies that this version of the API does not accept are omitted, as those of a build.
  const { dependencies } = PatchSet.shape.members.element.shape;
  return {
    module,
    version,
    build: buildId,
    imageDigest,
    dependencies: dependencies.safeParse(readBuildOptions(member).dependencies).data ?? {},
  };
}
