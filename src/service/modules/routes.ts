// Routes under /v1/modules: push, list and download builds.

import { z } from 'zod';
import { readEnvelope } from '../../proof/envelope.ts';
import { Interface } from '../../protocol/interface.ts';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { computeEntityTag, entityTag, ifNoneMatchHeaders, matchesIfNoneMatch } from '../http/entity-tags.ts';
import { parsePageByName, parsePageByTime, parseTimeRange, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, sendRaw, toStoredResponse } from '../http/route.ts';
import { Problem } from '../problem.ts';
import { readBuildOptions } from './build-provenance.ts';
import type { Builds, PushedBuild } from './builds.ts';
import { type Dependent, dependenciesOf } from './dependencies.ts';
import { dependencyQuery } from './dependency-schemas.ts';
import { toLinkedModule } from './linked-module.ts';
import { checkHasImage } from './pruned-image.ts';
import type { ModuleSummary } from './queries.ts';
import type { BuildRecord } from './repository.ts';
import {
  Build,
  BuildDetail,
  BuildPage,
  buildParameters,
  buildQuery,
  Concurrency,
  CreatedBuild,
  Module,
  ModulePage,
  moduleParameter,
  moduleQuery,
  NewBuild,
} from './schemas.ts';

/** Maximum size of a prebuilt module, and of a JSON body with an escaped source, in bytes. */
const bodyLimit = 4 * 1024 * 1024;

const tags = ['builds'];

type Uses = { readonly builds: Builds; readonly damagedRows: DamagedRows };

/** Adds the routes. Call it in a scope of its own, because it registers a parser for WebAssembly bodies. */
export function addBuildRoutes(app: Api, uses: Uses): void {
  app.addContentTypeParser('application/wasm', { parseAs: 'buffer', bodyLimit }, (_request, body, done) => done(null, body));
  addPushRoute(app, uses);
  addListRoutes(app, uses);
  addSingleBuildRoutes(app, uses);
}

function addPushRoute(app: Api, { builds }: Uses): void {
  app.post(
    '/v1/modules/:module/builds',
    {
      bodyLimit,
      config: { access: 'publisher', scope: 'unrelated' },
      schema: {
        operationId: 'createBuild',
        tags,
        summary: 'Push a build',
        description:
          'Compiles a source (JSON) or takes a prebuilt module (`application/wasm`, with `version` in the query). ' +
          'Pushing the same source with the same version again returns the existing build with 200. A version is immutable.',
        params: moduleParameter,
        querystring: z.strictObject({
          version: z
            .string()
            .max(256)
            .optional()
            .describe('Version of a prebuilt module.')
            .meta({ examples: ['1.1.0'] }),
          concurrency: Concurrency.optional().meta({ examples: ['exclusive'] }),
          dependency: dependencyQuery
            .optional()
            .describe('A dependency of a prebuilt module, as `module=range`. Repeat it for each module.')
            .meta({ 'x-examples': { udp: { value: ['udp=^1.2.0'] } } }),
        }),
        body: NewBuild,
        response: {
          200: CreatedBuild.describe('The build already exists.'),
          201: CreatedBuild.describe('The build was created.'),
          ...postProblems('version-exists', 'malformed-source', 'not-webassembly', 'unsupported-module', 'too-costly'),
        },
      },
    },
    async (request, reply) => {
      const { module } = request.params;
      const body: unknown = request.body;
      const pushed = await builds.push(
        body instanceof Uint8Array
          ? {
              module,
              version: versionInQuery(request.query.version),
              language: 'wasm',
              source: body,
              concurrency: request.query.concurrency,
              dependencies: request.query.dependency,
            }
          : { module, ...request.body },
        getRequester(request),
        (created) => toStoredResponse(toPushed(created)),
      );
      const { status, location, body: build } = toPushed(pushed);
      return reply.status(status).header('location', location).send(build);
    },
  );
}

function addListRoutes(app: Api, { builds, damagedRows }: Uses): void {
  app.get(
    '/v1/modules',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'listModules',
        tags,
        summary: 'List modules',
        querystring: moduleQuery,
        response: { 200: ModulePage.describe('A page of modules.'), ...problems() },
      },
    },
    async (request, reply) => {
      const page = await builds.listModules(request.query.sort === 'name' ? parsePageByName(request) : parsePageByTime(request));
      return sendPage(request, reply, page, {
        kind: 'module',
        schema: Module,
        idOf: ({ module }) => module,
        toItem: toModule,
        damagedRows,
      });
    },
  );

  app.get(
    '/v1/modules/:module/builds',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'listBuilds',
        tags,
        summary: 'List the builds of a module',
        params: moduleParameter,
        querystring: buildQuery,
        response: { 200: BuildPage.describe('A page of builds.'), ...problems() },
      },
    },
    async (request, reply) => {
      const { module } = request.params;
      const { language, yanked } = request.query;
      const isYanked = yanked === undefined ? undefined : yanked === 'true';
      const page = await builds.list({ module, language, isYanked, ...parseTimeRange(request.query) }, parsePageByTime(request));
      return sendPage(request, reply, page, { kind: 'build', schema: Build, idOf: ({ id }) => id, toItem: toBuild, damagedRows });
    },
  );
}

function addSingleBuildRoutes(app: Api, { builds }: Uses): void {
  app.get(
    '/v1/modules/:module/builds/:version',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'getBuild',
        tags,
        summary: 'Get a build',
        description:
          'A build is immutable, except that publishers can add signatures, and that it can be yanked. The response also lists the modules that depend on its module, which changes with new builds.',
        params: buildParameters,
        headers: ifNoneMatchHeaders,
        response: {
          200: BuildDetail.describe('The build with its imports and dependents, and an `ETag`.'),
          304: z.null().describe('The build has not changed: its `ETag` is in `If-None-Match`.'),
          ...problems('not-found'),
        },
      },
    },
    async ({ params, headers }, reply) => {
      const { build: record, dependents } = await builds.findWithDependents(params.module, params.version);
      const build = toBuildDetail(record, dependents);
      const etag = computeEntityTag(build);
      reply.header('etag', etag);
      return matchesIfNoneMatch(headers, etag) ? reply.status(304).send(null) : reply.send(build);
    },
  );

  app.get(
    '/v1/modules/:module/builds/:version/image',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'getImage',
        tags,
        summary: 'Download the image of a build',
        description: 'Returns the image that devices load. It is immutable; its `ETag` is its digest.',
        params: buildParameters,
        headers: ifNoneMatchHeaders,
        response: {
          200: { description: 'The image.', content: { 'application/wasm': { schema: z.string().meta({ format: 'binary' }) } } },
          304: z.null().describe('The image has not changed: its `ETag` is in `If-None-Match`.'),
          ...problems('not-found', 'image-pruned'),
        },
      },
    },
    async ({ params, headers }, reply) => {
      const build = await builds.find(params.module, params.version);
      checkHasImage(build);
      const { imageDigest } = build;
      const etag = entityTag(imageDigest);
      reply.header('etag', etag).header('cache-control', 'public, max-age=31536000, immutable');
      if (matchesIfNoneMatch(headers, etag)) return reply.status(304).send(null);
      return sendRaw(reply.status(200).type('application/wasm'), await builds.image(imageDigest));
    },
  );
}

function versionInQuery(version: string | undefined): string {
  if (version !== undefined) return version;
  const detail = 'the version is missing: push a prebuilt module with its version in the query, such as ?version=1.0.0';
  throw new Problem('invalid-value', detail, { invalidValues: [{ pointer: 'query:version', detail }] });
}

function toModule({ module, builds, lastBuildAt }: ModuleSummary): z.infer<typeof Module> {
  return { name: module, builds, lastBuildAt: lastBuildAt.toISOString() };
}

/** Returns the compile options, without options that this version of the API does not know. */
function toOptions(build: BuildRecord): z.infer<typeof Build>['options'] {
  const { concurrency, features, dependencies } = Build.shape.options.shape;
  const stated = readBuildOptions(build);
  return {
    concurrency: concurrency.safeParse(stated.concurrency).data ?? null,
    features: features.safeParse(stated.features).data ?? [],
    dependencies: dependencies.safeParse(stated.dependencies).data ?? {},
  };
}

/** Returns the representation of a build in the API. */
export function toBuild(build: BuildRecord): z.infer<typeof Build> {
  const { id, module, version, compiler, sourceDigest, imageDigest, imageBytes, imagePrunedAt, hasState, createdAt, pushedBy, envelope } =
    build;
  return {
    id,
    module,
    version,
    language: Build.shape.language.parse(build.language),
    compiler,
    sourceDigest,
    options: toOptions(build),
    image: { digest: imageDigest, bytes: imageBytes, prunedAt: imagePrunedAt?.toISOString() ?? null },
    interface: Interface.parse(build.interface),
    hasState,
    createdAt: createdAt.toISOString(),
    pushedBy,
    yanked: toYanked(build),
    signedBy: (envelope === null ? null : readEnvelope(envelope))?.signatures.map(({ keyid }) => keyid) ?? [],
  };
}

function toYanked({ yankedAt, yankReason, yankedBy }: BuildRecord): z.infer<typeof Build>['yanked'] {
  return yankedAt === null ? null : { reason: yankReason ?? '', at: yankedAt.toISOString(), by: yankedBy ?? '' };
}

function toBuildDetail(record: BuildRecord, dependents: readonly Dependent[]): z.infer<typeof BuildDetail> {
  const imports = dependenciesOf(toLinkedModule(record)).map((dependency) => ({ ...dependency, exports: [...dependency.exports] }));
  return { ...toBuild(record), imports, dependents: [...dependents] };
}

function toPushed(pushed: PushedBuild): CreatedResponse<200 | 201, z.infer<typeof CreatedBuild>> {
  const { module, version } = pushed.build;
  const location = `/v1/modules/${module}/builds/${encodeURIComponent(version)}`;
  return { status: pushed.isNew ? 201 : 200, location, body: toCreatedBuild(pushed) };
}

function toCreatedBuild({ build, warnings }: PushedBuild): z.infer<typeof CreatedBuild> {
  return { ...toBuild(build), warnings: [...warnings] };
}
