// Yanks, unyanks and deletes builds: under /v1/modules/{module}/builds/{version}.

import { z } from 'zod';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, getRequester } from '../http/route.ts';
import { toBuild } from '../modules/routes.ts';
import { Build, buildParameters } from '../modules/schemas.ts';
import type { BuildDeletion } from './deletion.ts';
import { YankRequest } from './schemas.ts';
import type { Yanking } from './yanking.ts';

const tags = ['builds'];

type Uses = { readonly yanking: Yanking; readonly buildDeletion: BuildDeletion };

export function addBuildLifecycleRoutes(app: Api, uses: Uses): void {
  addYankRoutes(app, uses);
  addDeletionRoute(app, uses);
}

function addYankRoutes(app: Api, { yanking }: Uses): void {
  app.post(
    '/v1/modules/:module/builds/:version/yank',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'yankBuild',
        tags,
        summary: 'Yank a build',
        description:
          'Nothing new can use the build: loads, rollouts, patch sets and rollbacks to it are `build-yanked` problems, and automatic choices of a version pass over it. ' +
          'Open rollouts that load it pause, and its loads that were not sent to a host yet end as `cancelled`, up to 500 in one transaction. Copies in the memory of devices stay, also after a restart of their host. ' +
          'Yanking a build again keeps its first reason. If the request fails midway, repeat it to continue.',
        params: buildParameters,
        body: YankRequest,
        response: { 200: Build.describe('The yanked build.'), ...postProblems('not-found') },
      },
    },
    async (request) => {
      const { module, version } = request.params;
      return toBuild(await yanking.yank(module, version, request.body.reason, getRequester(request)));
    },
  );

  app.post(
    '/v1/modules/:module/builds/:version/unyank',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'unyankBuild',
        tags,
        summary: 'Unyank a build',
        description:
          'Makes a yanked build usable again. Rollouts that paused because of it remain paused until they are resumed. Unyanking a build that is not yanked has no effect.',
        params: buildParameters,
        response: { 200: Build.describe('The build.'), ...postProblems('not-found') },
      },
    },
    async (request) => toBuild(await yanking.unyank(request.params.module, request.params.version, getRequester(request))),
  );
}

function addDeletionRoute(app: Api, { buildDeletion }: Uses): void {
  app.delete(
    '/v1/modules/:module/builds/:version',
    {
      config: { access: 'publisher' },
      schema: {
        operationId: 'deleteBuild',
        tags,
        summary: 'Delete a build',
        description:
          'Deletes a build that no device ever had and that no load, rollout or patch set names. Otherwise it is a `build-in-use` problem, which says what uses the build: yank it instead. ' +
          'The image is deleted too, unless another build has the same. The version is free again.',
        params: buildParameters,
        response: { 204: z.null().describe('The build was deleted.'), ...problems('not-found', 'build-in-use') },
      },
    },
    async (request, reply) => {
      await buildDeletion.delete(request.params.module, request.params.version, getRequester(request));
      return reply.status(204).send(null);
    },
  );
}
